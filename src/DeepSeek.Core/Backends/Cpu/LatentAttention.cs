using DeepSeek.Backends.Cpu.Assembly;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// Multi-head latent attention in two forms. Absorbed (spec 2.5): queries are taken to the latent space, where cache rows are keys and values themselves; few operations
/// for few queries. Expanded: keys and values of every head are computed from the cache rows; a pair then costs a third, which pays for many queries.
/// </summary>
internal static unsafe class LatentAttention
{
    /// <summary>Rows of the step.</summary>
    private record struct Piece(int FirstRow, int Rows);

    /// <param name="pool">Threads.</param>
    /// <param name="scratch">Memory.</param>
    /// <param name="matMul">Products.</param>
    /// <param name="output">[T, H·V]</param>
    /// <param name="q">[T, H·(N+R)]</param>
    /// <param name="a">Sizes and weights.</param>
    /// <param name="step">The step.</param>
    /// <param name="cache">The cache.</param>
    /// <param name="absorbedOnly">Whether the expanded form, whose sums run in another order, is left alone.</param>
    /// <param name="brains">The product of bfloat16 for the expanded form; null: none.</param>
    public static void Run(WorkerPool pool, ScratchArena scratch, MatMul matMul, Tensor output, Tensor q, LatentAttentionSettings a, StepLayout step, CpuCache cache, bool absorbedOnly,
        PanelKernel? brains)
    {
        long mark = scratch.Mark();
        int count = step.Sequences.Length, pieces = 0, mostRows = 0;
        Span<bool> expanded = new(scratch.Rent(count), count);
        Piece* list = (Piece*)scratch.Rent((long)sizeof(Piece) * (count + step.TokenCount / TransposedProduct.MaxRows + 1));
        for (int i = 0; i < count; i++)
        {
            SequenceSlice s = step.Sequences[i];
            expanded[i] = !absorbedOnly && ExpandingPays(a, s);
            if (expanded[i])
            {
                mostRows = Math.Max(mostRows, s.RowCount);
                continue;
            }
            // Rows of neighbouring sequences share a piece, so that a batch reads the weights once.
            for (int row = s.FirstRow, end = s.FirstRow + s.RowCount; row < end;)
            {
                bool joins = pieces > 0 && list[pieces - 1].FirstRow + list[pieces - 1].Rows == row && list[pieces - 1].Rows < TransposedProduct.MaxRows;
                if (!joins) list[pieces++] = new Piece(row, 0);
                int rows = Math.Min(TransposedProduct.MaxRows - list[pieces - 1].Rows, end - row);
                list[pieces - 1].Rows += rows;
                row += rows;
            }
        }
        if (pieces > 0) Absorbed(pool, scratch, matMul, output, q, a, step, cache, expanded, list, pieces);
        if (mostRows > 0) LatentExpansion.Run(pool, scratch, output, q, a, step, cache, expanded, mostRows, brains);
        scratch.Release(mark);
    }

    /// <summary>Compares multiplications of both forms.</summary>
    private static bool ExpandingPays(LatentAttentionSettings a, SequenceSlice s)
    {
        double context = s.FirstPosition + s.RowCount, pairs = s.RowCount * (context - (s.RowCount - 1) / 2.0), ups = (double)a.LatentSize * (a.NopeSize + a.ValueSize);
        return s.RowCount >= 32 && context * ups + pairs * (a.NopeSize + a.RopeSize + a.ValueSize) < s.RowCount * ups + pairs * (2 * a.LatentSize + a.RopeSize);
    }

    private static void Absorbed(WorkerPool pool, ScratchArena scratch, MatMul matMul, Tensor output, Tensor q, LatentAttentionSettings a, StepLayout step, CpuCache cache,
        ReadOnlySpan<bool> expanded, Piece* pieces, int count)
    {
        int width = a.LatentSize + a.RopeSize, queryRow = a.Heads * width, sumRow = a.Heads * a.LatentSize, rows = step.TokenCount;
        Tensor queries = new((nint)scratch.Rent((long)rows * queryRow * sizeof(float)), rows, queryRow, queryRow);
        Tensor sums = new((nint)scratch.Rent((long)rows * sumRow * sizeof(float)), rows, sumRow, sumRow);
        long buffer = TransposedProduct.MemoryLength(a.LatentSize) + 15 & -16;
        nint buffers = (nint)scratch.Rent(buffer * pool.ThreadCount * sizeof(float));
        pool.Run(new AbsorbWork(q, a, queries.Address, queryRow, (nint)pieces, buffers, buffer), count * a.Heads);
        if (a.KeyUpTransposed) Multiply(matMul, a.KeyUp, q, a.NopeSize + a.RopeSize, queries, width, pieces, count);
        TiledAttention.Run(pool, scratch, new AttentionShape(queries.Address, queryRow, sums.Address, sumRow, KeyHeads: 1, a.Heads, width, a.LatentSize, a.Scale,
            a.Stream, a.Stream, a.FirstPosition), step, cache, leftOut: expanded);
        Multiply(matMul, a.ValueUp, sums, a.LatentSize, output, a.ValueSize, pieces, count);
    }

    /// <summary>y = W_h·x for every head's stretch of the rows, heads being xSize and ySize numbers apart.</summary>
    private static void Multiply(MatMul matMul, DeviceWeight[] weights, Tensor x, int xSize, Tensor y, int ySize, Piece* pieces, int count)
    {
        for (int p = 0; p < count;)
        {
            int first = pieces[p].FirstRow, end = first;
            while (p < count && pieces[p].FirstRow == end) end += pieces[p++].Rows;
            Tensor from = x.TakeRows(first, end - first), to = y.TakeRows(first, end - first);
            matMul.Begin();
            for (int h = 0; h < weights.Length; h++)
            {
                CpuWeight weight = (CpuWeight)weights[h];
                Tensor input = from.TakeColumns(h * xSize, weight.Columns);
                matMul.Add(weight, input, weight.Blocks is null ? default : matMul.Quantise(input), to.TakeColumns(h * ySize, weight.Rows), bias: null, accumulate: false);
            }
            matMul.Execute();
        }
    }

    /// <summary>q̂ = [KeyUpᵀ·q_nope | q_pe] of one head; of a transposed KeyUp the second part only.</summary>
    private readonly struct AbsorbWork(Tensor q, LatentAttentionSettings a, nint queries, int queryRow, nint pieces, nint buffers, long buffer) : IParallelWork
    {
        public void Execute(int item, int worker)
        {
            (int at, int head) = Math.DivRem(item, a.Heads);
            Piece piece = ((Piece*)pieces)[at];
            float* memory = (float*)buffers + buffer * worker, from = Elementwise.Row(q, piece.FirstRow) + head * (a.NopeSize + a.RopeSize);
            float* to = (float*)queries + (long)piece.FirstRow * queryRow + head * (a.LatentSize + a.RopeSize);
            if (!a.KeyUpTransposed) TransposedProduct.Run((CpuWeight)a.KeyUp[head], from, q.Stride, piece.Rows, to, queryRow, memory);
            for (int t = 0; t < piece.Rows; t++)
                Buffer.MemoryCopy(from + (long)t * q.Stride + a.NopeSize, to + (long)t * queryRow + a.LatentSize, 4L * a.RopeSize, 4L * a.RopeSize);
        }
    }
}
