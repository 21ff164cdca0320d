namespace DeepSeek.Gpu.Kernels.Formats;

/// <summary>Planes: bytes, float16 d of each group. d·q.</summary>
internal readonly struct Q8_0<TThread, TMemory> : IBlockFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public int Offset => 0;

    public Quants Quants(TThread t, TMemory w, long row, int groups, int g) => Planes<TThread, TMemory>.Bytes(w, row, g);

    public Factors Factors(TThread t, TMemory w, long row, int groups, int g)
    {
        float d = Planes<TThread, TMemory>.Half(t, w, row + 32 * groups, g);
        return new Factors(d, d, 0, 0);
    }

    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i) => Planes<TThread, TMemory>.Four(t, w, this, place, row, i);
}

/// <summary>Planes: nibbles, float16 d. d·(q − 8).</summary>
internal readonly struct Q4_0<TThread, TMemory> : IBlockFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public int Offset => 8;

    public Quants Quants(TThread t, TMemory w, long row, int groups, int g) => Planes<TThread, TMemory>.Nibbles(w, row, g);

    public Factors Factors(TThread t, TMemory w, long row, int groups, int g)
    {
        float d = Planes<TThread, TMemory>.Half(t, w, row + 16 * groups, g);
        return new Factors(d, d, 0, 0);
    }

    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i) => Planes<TThread, TMemory>.Four(t, w, this, place, row, i);
}

/// <summary>Planes: nibbles, {float16 d, m}. d·q + m.</summary>
internal readonly struct Q4_1<TThread, TMemory> : IBlockFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public int Offset => 0;

    public Quants Quants(TThread t, TMemory w, long row, int groups, int g) => Planes<TThread, TMemory>.Nibbles(w, row, g);

    public Factors Factors(TThread t, TMemory w, long row, int groups, int g)
    {
        uint both = w.Word((row + 16 * groups >> 2) + g);
        float d = Numbers<TThread>.FromF16(t, both & 0xFFFF), m = Numbers<TThread>.FromF16(t, both >> 16);
        return new Factors(d, d, m, m);
    }

    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i) => Planes<TThread, TMemory>.Four(t, w, this, place, row, i);
}

/// <summary>Planes: nibbles, fifth bits, float16 d. d·(q − 16).</summary>
internal readonly struct Q5_0<TThread, TMemory> : IBlockFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public int Offset => 16;

    public Quants Quants(TThread t, TMemory w, long row, int groups, int g) => Planes<TThread, TMemory>.Bits(w, row + 16 * groups, g, 4, Planes<TThread, TMemory>.Nibbles(w, row, g));

    public Factors Factors(TThread t, TMemory w, long row, int groups, int g)
    {
        float d = Planes<TThread, TMemory>.Half(t, w, row + 20 * groups, g);
        return new Factors(d, d, 0, 0);
    }

    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i) => Planes<TThread, TMemory>.Four(t, w, this, place, row, i);
}

/// <summary>Planes: nibbles, fifth bits, {float16 d, m}. d·q + m.</summary>
internal readonly struct Q5_1<TThread, TMemory> : IBlockFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public int Offset => 0;

    public Quants Quants(TThread t, TMemory w, long row, int groups, int g) => Planes<TThread, TMemory>.Bits(w, row + 16 * groups, g, 4, Planes<TThread, TMemory>.Nibbles(w, row, g));

    public Factors Factors(TThread t, TMemory w, long row, int groups, int g)
    {
        uint both = w.Word((row + 20 * groups >> 2) + g);
        float d = Numbers<TThread>.FromF16(t, both & 0xFFFF), m = Numbers<TThread>.FromF16(t, both >> 16);
        return new Factors(d, d, m, m);
    }

    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i) => Planes<TThread, TMemory>.Four(t, w, this, place, row, i);
}
