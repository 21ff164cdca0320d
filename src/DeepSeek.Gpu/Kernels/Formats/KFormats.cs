namespace DeepSeek.Gpu.Kernels.Formats;

/// <summary>Planes: pairs, {4-bit s, 4-bit m} of each half, {float16 d, dmin} of 8 groups. d·s·q − dmin·m.</summary>
internal readonly struct Q2_K<TThread, TMemory> : IBlockFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public int Offset => 0;

    public Quants Quants(TThread t, TMemory w, long row, int groups, int g) => Planes<TThread, TMemory>.Pairs(w, row, g, 0, default);

    public Factors Factors(TThread t, TMemory w, long row, int groups, int g)
    {
        uint small = w.Half((row + 8 * groups >> 1) + g), both = w.Word((row + 10 * groups >> 2) + g / 8);
        float d = Numbers<TThread>.FromF16(t, both & 0xFFFF), m = -Numbers<TThread>.FromF16(t, both >> 16);
        return new Factors(d * (int)(small & 15), d * (int)(small >> 8 & 15), m * (int)(small >> 4 & 15), m * (int)(small >> 12));
    }

    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i) => Planes<TThread, TMemory>.Four(t, w, this, place, row, i);
}

/// <summary>Planes: pairs, third bits, signed 8-bit s of each half, float16 d of 8 groups. d·s·(q − 4).</summary>
internal readonly struct Q3_K<TThread, TMemory> : IBlockFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public int Offset => 4;

    public Quants Quants(TThread t, TMemory w, long row, int groups, int g) => Planes<TThread, TMemory>.Bits(w, row + 8 * groups, g, 2, Planes<TThread, TMemory>.Pairs(w, row, g, 0, default));

    public Factors Factors(TThread t, TMemory w, long row, int groups, int g)
    {
        uint small = w.Half((row + 12 * groups >> 1) + g);
        float d = Planes<TThread, TMemory>.Half(t, w, row + 14 * groups, g / 8);
        return new Factors(d * Portable.SignedByte(small), d * Portable.SignedByte(small >> 8), 0, 0);
    }

    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i) => Planes<TThread, TMemory>.Four(t, w, this, place, row, i);
}

/// <summary>Planes: nibbles, {8-bit s, m} of each group, {float16 d, dmin} of 8 groups. d·s·q − dmin·m.</summary>
internal readonly struct Q4_K<TThread, TMemory> : IBlockFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public int Offset => 0;

    public Quants Quants(TThread t, TMemory w, long row, int groups, int g) => Planes<TThread, TMemory>.Nibbles(w, row, g);

    public Factors Factors(TThread t, TMemory w, long row, int groups, int g)
    {
        uint small = w.Half((row + 16 * groups >> 1) + g), both = w.Word((row + 18 * groups >> 2) + g / 8);
        float d = Numbers<TThread>.FromF16(t, both & 0xFFFF) * (int)(small & 255), m = -Numbers<TThread>.FromF16(t, both >> 16) * (int)(small >> 8);
        return new Factors(d, d, m, m);
    }

    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i) => Planes<TThread, TMemory>.Four(t, w, this, place, row, i);
}

/// <summary>Planes: nibbles, fifth bits, {8-bit s, m} of each group, {float16 d, dmin} of 8 groups. d·s·q − dmin·m.</summary>
internal readonly struct Q5_K<TThread, TMemory> : IBlockFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public int Offset => 0;

    public Quants Quants(TThread t, TMemory w, long row, int groups, int g) => Planes<TThread, TMemory>.Bits(w, row + 16 * groups, g, 4, Planes<TThread, TMemory>.Nibbles(w, row, g));

    public Factors Factors(TThread t, TMemory w, long row, int groups, int g)
    {
        uint small = w.Half((row + 20 * groups >> 1) + g), both = w.Word((row + 22 * groups >> 2) + g / 8);
        float d = Numbers<TThread>.FromF16(t, both & 0xFFFF) * (int)(small & 255), m = -Numbers<TThread>.FromF16(t, both >> 16) * (int)(small >> 8);
        return new Factors(d, d, m, m);
    }

    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i) => Planes<TThread, TMemory>.Four(t, w, this, place, row, i);
}

/// <summary>Planes: nibbles, pairs above, signed 8-bit s of each half, float16 d of 8 groups. d·s·(q − 32).</summary>
internal readonly struct Q6_K<TThread, TMemory> : IBlockFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public int Offset => 32;

    public Quants Quants(TThread t, TMemory w, long row, int groups, int g) => Planes<TThread, TMemory>.Pairs(w, row + 16 * groups, g, 4, Planes<TThread, TMemory>.Nibbles(w, row, g));

    public Factors Factors(TThread t, TMemory w, long row, int groups, int g)
    {
        uint small = w.Half((row + 24 * groups >> 1) + g);
        float d = Planes<TThread, TMemory>.Half(t, w, row + 26 * groups, g / 8);
        return new Factors(d * Portable.SignedByte(small), d * Portable.SignedByte(small >> 8), 0, 0);
    }

    public Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i) => Planes<TThread, TMemory>.Four(t, w, this, place, row, i);
}
