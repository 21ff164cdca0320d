namespace DeepSeek.Gpu.Kernels.Formats;

/// <summary>float32; a row is filled up with zeros to a multiple of 16 bytes, as every row is.</summary>
internal readonly struct F32<TThread, TMemory> : IFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i)
    {
        Quad q = w.Quad((row >> 4) + i);
        return new Four(t.AsFloat(q.A), t.AsFloat(q.B), t.AsFloat(q.C), t.AsFloat(q.D));
    }
}

/// <summary>IEEE binary16.</summary>
internal readonly struct F16<TThread, TMemory> : IFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i)
    {
        uint a = w.Word((row >> 2) + 2 * i), b = w.Word((row >> 2) + 2 * i + 1);
        return new Four(Numbers<TThread>.FromF16(t, a & 0xFFFF), Numbers<TThread>.FromF16(t, a >> 16), Numbers<TThread>.FromF16(t, b & 0xFFFF), Numbers<TThread>.FromF16(t, b >> 16));
    }
}

/// <summary>bfloat16.</summary>
internal readonly struct BF16<TThread, TMemory> : IFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i)
    {
        uint a = w.Word((row >> 2) + 2 * i), b = w.Word((row >> 2) + 2 * i + 1);
        return new Four(t.AsFloat(a << 16), t.AsFloat(a & 0xFFFF0000), t.AsFloat(b << 16), t.AsFloat(b & 0xFFFF0000));
    }
}

/// <summary>OCP FP8 e4m3fn with a float32 scale for every 2^<see cref="MatrixPlace.ScaleShift"/> columns behind the row's bytes.</summary>
internal readonly struct F8<TThread, TMemory> : IFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i)
    {
        uint q = w.Word((row >> 2) + i);
        float s = w.Float((row >> 2) + (place.Columns + 3) / 4 + (4 * i >> place.ScaleShift));
        return new Four(s * Numbers<TThread>.FromE4M3(t, q & 255), s * Numbers<TThread>.FromE4M3(t, q >> 8 & 255),
            s * Numbers<TThread>.FromE4M3(t, q >> 16 & 255), s * Numbers<TThread>.FromE4M3(t, q >> 24));
    }
}
