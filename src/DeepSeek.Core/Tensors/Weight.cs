namespace DeepSeek.Tensors;

/// <summary>Scales of a block-quantised float8 matrix: element (r, c) is multiplied by the scale at ((r + RowOffset) / BlockRows, c / BlockColumns).</summary>
/// <param name="Data">Address of the scales, row-major.</param>
/// <param name="Type">F32, BF16 or F8E8M0.</param>
/// <param name="BlockRows">Rows that share a scale.</param>
/// <param name="BlockColumns">Columns that share a scale.</param>
/// <param name="Stride">Scales in a row of scales.</param>
/// <param name="RowOffset">Rows between the start of the first block and the matrix's first row, for slices.</param>
internal sealed record BlockScales(nint Data, DType Type, int BlockRows, int BlockColumns, int Stride, int RowOffset = 0);

/// <summary>
/// A matrix (or vector: one row) of a checkpoint in its stored form: rows of <see cref="Columns"/> elements, <see cref="RowBytes"/> apart. The memory belongs
/// to the <c>Checkpoint</c> and lives as long as it does. Immutable.
/// </summary>
internal sealed class Weight(string name, DType type, int rows, int columns, nint data, BlockScales? scales = null)
{
    /// <summary>The tensor's name in the file, for messages.</summary>
    public string Name { get; } = name;

    public DType Type { get; } = type;

    /// <summary>Rows: output features of a projection, entries of an embedding; 1 for a vector.</summary>
    public int Rows { get; } = rows;

    /// <summary>Elements of a row: input features.</summary>
    public int Columns { get; } = columns;

    /// <summary>Address of the first row.</summary>
    public nint Data { get; } = data;

    /// <summary>Scales of a float8 matrix; null for every other.</summary>
    public BlockScales? Scales { get; } = scales;

    public long RowBytes { get; } = type.RowBytes(columns);

    public long Bytes => RowBytes * Rows;

    /// <summary>Address of a row.</summary>
    public nint Row(int row) => Data + (nint)(row * RowBytes);

    /// <summary>Rows [first, first + count) as a matrix of their own, over the same memory.</summary>
    public Weight Slice(int first, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)first + count, Rows);
        BlockScales? scales = null;
        if (Scales is { } s)
        {
            int row = first + s.RowOffset, block = row / s.BlockRows;
            scales = s with { Data = s.Data + (nint)((long)block * s.Stride * s.Type.Info().BlockBytes), RowOffset = row - block * s.BlockRows };
        }
        return new Weight(Name, Type, count, Columns, Row(first), scales);
    }
}
