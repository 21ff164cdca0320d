using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>Operations on rows that are no products: cut into rows for the pool where there is enough to do.</summary>
internal static unsafe class Elementwise
{
    /// <summary>Numbers of a work item: below it, waking other threads costs more than they save.</summary>
    private const int ItemNumbers = 16 * 1024;

    public static void RmsNorm(WorkerPool pool, Tensor y, Tensor x, float* gain, int size, float epsilon)
        => ForRows(pool, new NormRows(y, x, (nint)gain, size, epsilon), x.Rows, x.Columns);

    public static void Add(WorkerPool pool, Tensor y, Tensor x) => ForRows(pool, new AddRows(y, x), x.Rows, x.Columns);

    public static void SiluMultiply(WorkerPool pool, Tensor gate, Tensor up) => ForRows(pool, new SiluRows(gate, up), gate.Rows, 4 * gate.Columns);

    public static void Rotate(WorkerPool pool, Tensor x, Tensor factors, RotarySettings rotary, int headSize, int offset)
        => ForRows(pool, new RotateRows(x, factors, rotary, headSize, offset), x.Rows, x.Columns);

    public static void RotaryFactors(WorkerPool pool, Tensor factors, RotarySettings rotary, StepLayout step)
        => ForRows(pool, new FactorRows(factors, rotary, step), factors.Rows, 32 * factors.Columns); // sines in float64 are slow

    public static void Append(WorkerPool pool, CpuCache cache, int stream, Tensor rows, StepLayout step)
    {
        foreach (SequenceSlice s in step.Sequences) ForRows(pool, new StoreRows(cache, stream, rows, step, s), s.RowCount, rows.Columns);
    }

    public static float* Row(Tensor x, int row) => (float*)x.Address + (long)row * x.Stride;

    /// <summary>Work that can be done row by row.</summary>
    private interface IRowWork
    {
        void Execute(int row);
    }

    private static void ForRows<TRows>(WorkerPool pool, TRows work, int rows, int costOfRow) where TRows : struct, IRowWork
    {
        int perItem = Math.Max(1, ItemNumbers / Math.Max(1, costOfRow));
        if (pool.ThreadCount == 1 || rows <= perItem)
        {
            for (int r = 0; r < rows; r++) work.Execute(r);
            return;
        }
        pool.Run(new Stretches<TRows>(work, rows, perItem), (rows + perItem - 1) / perItem);
    }

    private readonly struct Stretches<TRows>(TRows work, int rows, int perItem) : IParallelWork where TRows : struct, IRowWork
    {
        public void Execute(int item, int worker)
        {
            for (int r = item * perItem, end = Math.Min(r + perItem, rows); r < end; r++) work.Execute(r);
        }
    }

    private readonly struct NormRows(Tensor y, Tensor x, nint gain, int size, float epsilon) : IRowWork
    {
        public void Execute(int row)
        {
            for (int c = 0; c < x.Columns; c += size) VectorMath.RmsNorm(Row(y, row) + c, Row(x, row) + c, (float*)gain, size, epsilon);
        }
    }

    private readonly struct AddRows(Tensor y, Tensor x) : IRowWork
    {
        public void Execute(int row) => VectorMath.Add(Row(y, row), Row(x, row), x.Columns);
    }

    private readonly struct SiluRows(Tensor gate, Tensor up) : IRowWork
    {
        public void Execute(int row) => VectorMath.SiluMultiply(Row(gate, row), Row(up, row), gate.Columns);
    }

    private readonly struct RotateRows(Tensor x, Tensor factors, RotarySettings rotary, int headSize, int offset) : IRowWork
    {
        public void Execute(int row)
        {
            for (int c = offset; c < x.Columns; c += headSize) VectorMath.Rotate(Row(x, row) + c, Row(factors, row), rotary.Frequencies.Length, rotary.Pairs);
        }
    }

    private readonly struct FactorRows(Tensor factors, RotarySettings rotary, StepLayout step) : IRowWork
    {
        public void Execute(int row) => VectorMath.RotaryFactors(Row(factors, row), rotary, step.Positions[row]);
    }

    private readonly struct StoreRows(CpuCache cache, int stream, Tensor rows, StepLayout step, SequenceSlice sequence) : IRowWork
    {
        public void Execute(int row)
        {
            int position = sequence.FirstPosition + row, block = step.BlockTables[sequence.TableStart + position / step.BlockTokens];
            CacheRows.Store(cache.Format, Row(rows, sequence.FirstRow + row), cache.Row(stream, block, position % step.BlockTokens), rows.Columns);
        }
    }
}
