namespace DeepSeek.Gpu.Kernels.Formats;

/// <summary>Where a matrix lies in a buffer, and how its rows are cut. Rows begin at multiples of 16 bytes.</summary>
/// <param name="start">Byte address of the first row.</param>
/// <param name="rowBytes">Bytes from row to row.</param>
/// <param name="columns">Elements of a row.</param>
/// <param name="scaleShift">Logarithm of the columns that share a scale, in formats that keep scales behind the row; at least 2.</param>
internal readonly struct MatrixPlace(long start, long rowBytes, int columns, int scaleShift)
{
    public readonly long Start = start, RowBytes = rowBytes;
    public readonly int Columns = columns, ScaleShift = scaleShift;

    /// <summary>Groups of 32 elements.</summary>
    public readonly int Groups => (Columns + 31) / 32;
}

/// <summary>How a kernel reads a matrix: four elements at a time.</summary>
internal interface IFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    /// <summary>Elements [4i, 4i + 4) of the row at a byte address; what lies behind the last column reads as zero or as any number.</summary>
    Four Four(TThread t, TMemory w, MatrixPlace place, long row, int i);
}

/// <summary>
/// A format of small integers in groups of 32: element = Scale·(q − <see cref="Offset"/>) + Minimum, with a scale and a minimum for each half of a group.
/// The quants of a group come as eight words of four signed bytes, so that products are dp4a.
/// </summary>
internal interface IBlockFormat<TThread, TMemory> : IFormat<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    /// <summary>What is taken from every quant.</summary>
    int Offset { get; }

    /// <summary>Group g of the row at a byte address that has <paramref name="groups"/> of them.</summary>
    Quants Quants(TThread t, TMemory w, long row, int groups, int g);

    /// <summary>Its scales and minima.</summary>
    Factors Factors(TThread t, TMemory w, long row, int groups, int g);
}

/// <summary>32 signed bytes: elements 4k to 4k + 3 are the bytes of the k-th word.</summary>
internal readonly struct Quants(Quad low, Quad high)
{
    public readonly Quad Low = low, High = high;
}

/// <summary>Scale and minimum of each half of a group.</summary>
internal readonly struct Factors(float scale0, float scale1, float minimum0, float minimum1)
{
    public readonly float Scale0 = scale0, Scale1 = scale1, Minimum0 = minimum0, Minimum1 = minimum1;
}
