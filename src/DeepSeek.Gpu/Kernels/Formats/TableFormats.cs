namespace DeepSeek.Gpu.Kernels.Formats;

/// <summary>Planes: nibbles, float16 d. d·table[q].</summary>
internal readonly struct IQ4_NL<TThread, TMemory> : IBlockFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public int Offset => 0;

    public Quants Quants(TThread t, TMemory w, long row, int groups, int g) => Planes<TThread, TMemory>.Table(t, w, row, g, new Quad(0xBFAD9881, 0xF6EADDCF, 0x26190D01, 0x71594535));

    public Factors Factors(TThread t, TMemory w, long row, int groups, int g)
    {
        float d = Planes<TThread, TMemory>.Half(t, w, row + 16 * groups, g);
        return new Factors(d, d, 0, 0);
    }

    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i) => Planes<TThread, TMemory>.Four(t, w, this, place, row, i);
}

/// <summary>Planes: nibbles, signed 8-bit s of each group, float16 d of 8 groups. d·s·table[q].</summary>
internal readonly struct IQ4_XS<TThread, TMemory> : IBlockFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public int Offset => 0;

    public Quants Quants(TThread t, TMemory w, long row, int groups, int g) => Planes<TThread, TMemory>.Table(t, w, row, g, new Quad(0xBFAD9881, 0xF6EADDCF, 0x26190D01, 0x71594535));

    public Factors Factors(TThread t, TMemory w, long row, int groups, int g)
    {
        float d = Planes<TThread, TMemory>.Half(t, w, row + 17 * groups, g / 8) * Portable.SignedByte(w.Byte(row + 16 * groups + g));
        return new Factors(d, d, 0, 0);
    }

    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i) => Planes<TThread, TMemory>.Four(t, w, this, place, row, i);
}

/// <summary>Planes: nibbles, e8m0 exponent of each group. 2^(e − 127)·e2m1[q], as 2^(e − 128) times doubled values.</summary>
internal readonly struct MXFP4<TThread, TMemory> : IBlockFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public int Offset => 0;

    public Quants Quants(TThread t, TMemory w, long row, int groups, int g) => Planes<TThread, TMemory>.Table(t, w, row, g, new Quad(0x03020100, 0x0C080604, 0xFDFEFF00, 0xF4F8FAFC));

    public Factors Factors(TThread t, TMemory w, long row, int groups, int g)
    {
        float d = Numbers<TThread>.FromHalfE8M0(t, w.Byte(row + 16 * groups + g));
        return new Factors(d, d, 0, 0);
    }

    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i) => Planes<TThread, TMemory>.Four(t, w, this, place, row, i);
}

/// <summary>Planes: bytes, float32 scale of each half: what IQ1, IQ2, IQ3 and TQ blocks are expanded to, exactly, when they are uploaded. s·q.</summary>
internal readonly struct Lattice<TThread, TMemory> : IBlockFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public int Offset => 0;

    public Quants Quants(TThread t, TMemory w, long row, int groups, int g) => Planes<TThread, TMemory>.Bytes(w, row, g);

    public Factors Factors(TThread t, TMemory w, long row, int groups, int g)
    {
        long at = (row + 32 * groups >> 2) + 2 * g;
        return new Factors(w.Float(at), w.Float(at + 1), 0, 0);
    }

    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i) => Planes<TThread, TMemory>.Four(t, w, this, place, row, i);
}
