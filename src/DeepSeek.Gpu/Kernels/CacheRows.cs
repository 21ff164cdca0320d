namespace DeepSeek.Gpu.Kernels;

/// <summary>How the numbers of a cache row are stored. Rows are addressed by number: block · tokens of a block + place in the block.</summary>
internal interface ICacheRows<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    /// <summary>Number i of a row of <paramref name="width"/> numbers.</summary>
    float Read(TThread t, TMemory rows, long row, int width, int i);

    /// <summary>Stores numbers [32·group, 32·group + 32) of a row, as far as there are so many.</summary>
    void Write(TThread t, TMemory rows, long row, int width, int group, TMemory source, long from);
}

/// <summary>float32.</summary>
internal readonly struct CacheF32<TThread, TMemory> : ICacheRows<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public float Read(TThread t, TMemory rows, long row, int width, int i) => rows.Float(row * width + i);

    public void Write(TThread t, TMemory rows, long row, int width, int group, TMemory source, long from)
    {
        for (int i = 32 * group; i < 32 * group + 32 && i < width; i++) rows.SetFloat(row * width + i, source.Float(from + i));
    }
}

/// <summary>IEEE binary16.</summary>
internal readonly struct CacheF16<TThread, TMemory> : ICacheRows<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public float Read(TThread t, TMemory rows, long row, int width, int i) => Numbers<TThread>.FromF16(t, rows.Half(row * width + i));

    public void Write(TThread t, TMemory rows, long row, int width, int group, TMemory source, long from)
    {
        for (int i = 32 * group; i < 32 * group + 32 && i < width; i++) rows.SetHalf(row * width + i, Numbers<TThread>.ToF16(t, source.Float(from + i)));
    }
}

/// <summary>bfloat16.</summary>
internal readonly struct CacheBF16<TThread, TMemory> : ICacheRows<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public float Read(TThread t, TMemory rows, long row, int width, int i) => Numbers<TThread>.FromBF16(t, rows.Half(row * width + i));

    public void Write(TThread t, TMemory rows, long row, int width, int group, TMemory source, long from)
    {
        for (int i = 32 * group; i < 32 * group + 32 && i < width; i++) rows.SetHalf(row * width + i, Numbers<TThread>.ToBF16(t, source.Float(from + i)));
    }
}

/// <summary>Signed bytes, and behind them a float32 scale for each 32 of them: the largest magnitude / 127.</summary>
internal readonly struct CacheQ8<TThread, TMemory> : ICacheRows<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public float Read(TThread t, TMemory rows, long row, int width, int i)
    {
        long at = row * RowBytes(width);
        return Portable.SignedByte(rows.Byte(at + i)) * rows.Float((at + (width + 3) / 4 * 4 >> 2) + i / 32);
    }

    public void Write(TThread t, TMemory rows, long row, int width, int group, TMemory source, long from)
    {
        long at = row * RowBytes(width);
        float max = 0;
        for (int i = 32 * group; i < 32 * group + 32 && i < width; i++)
        {
            float x = source.Float(from + i), magnitude = x < 0 ? -x : x;
            if (magnitude > max) max = magnitude;
        }
        rows.SetFloat((at + (width + 3) / 4 * 4 >> 2) + group, max / 127f);
        for (int i = 32 * group; i < 32 * group + 32 && i < width; i++)
        {
            float q = max == 0 ? 0 : source.Float(from + i) * 127f / max;
            rows.SetByte(at + i, (uint)(int)(q + (q < 0 ? -0.5f : 0.5f)));
        }
    }

    private static long RowBytes(int width) => (width + 3) / 4 * 4 + (width + 31) / 32 * 4;
}

/// <summary>Stores the step's rows in one or two streams of the cache. Grid: a group a row and stream, an item 32 numbers at a time; no shared memory.</summary>
internal struct Append<TThread, TMemory, TCache> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory where TCache : struct, ICacheRows<TThread, TMemory>
{
    public TMemory Scratch, First, Second, Tables;
    public RowPlace X, Y;
    public StepTables Step;
    public int Rows;

    public readonly void Run(TThread t)
    {
        if (t.Group < Rows) Store(t, First, X, t.Group);
        else Store(t, Second, Y, t.Group - Rows);
    }

    private readonly void Store(TThread t, TMemory stream, RowPlace numbers, int i)
    {
        TCache cache = default;
        long row = Step.CacheRow(Tables, i, (int)Tables.Word(Step.Positions + i)), from = numbers.Row(i);
        for (int group = t.Item; group < (numbers.Columns + 31) / 32; group += t.Items) cache.Write(t, stream, row, numbers.Columns, group, Scratch, from);
    }
}

/// <summary>Where a step's positions and block tables lie among the tables, in words.</summary>
/// <param name="positions">A position for each row.</param>
/// <param name="starts">For each row, where its sequence's block table begins.</param>
/// <param name="blocks">The block tables.</param>
/// <param name="blockTokens">Positions that a block covers.</param>
internal readonly struct StepTables(long positions, long starts, long blocks, int blockTokens)
{
    public readonly long Positions = positions, Starts = starts, Blocks = blocks;
    public readonly int BlockTokens = blockTokens;

    /// <summary>The same for the rows from one on.</summary>
    public readonly StepTables From(int row) => new(Positions + row, Starts + row, Blocks, BlockTokens);

    /// <summary>The cache row of a position, in the sequence that a row of the step belongs to.</summary>
    public readonly long CacheRow<TMemory>(TMemory tables, int row, int position) where TMemory : struct, IMemory
        => (long)tables.Word(Blocks + (int)tables.Word(Starts + row) + position / BlockTokens) * BlockTokens + position % BlockTokens;
}
