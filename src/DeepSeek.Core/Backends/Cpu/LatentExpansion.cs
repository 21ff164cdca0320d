using DeepSeek.Backends.Cpu.Assembly;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// Latent attention with keys and values computed from the cache rows (spec 2.4), for sequences with many rows in the step. One item: a sequence and a head. It goes
/// through the chunks of keys; each chunk's keys and values are computed once for all the rows and forgotten.
/// </summary>
internal static unsafe class LatentExpansion
{
    private const int Chunk = AttentionKernels.ChunkKeys, Panel = AttentionKernels.PanelKeys, Block = AttentionKernels.RowBlock;

    public static void Run(WorkerPool pool, ScratchArena scratch, Tensor output, Tensor q, LatentAttentionSettings a, StepLayout step, CpuCache cache,
        ReadOnlySpan<bool> expanded, int mostRows, PanelKernel? brains)
    {
        int* sequences = (int*)scratch.Rent((long)sizeof(int) * expanded.Length);
        int count = 0;
        for (int i = 0; i < expanded.Length; i++)
            if (expanded[i]) sequences[count++] = i;
        // Cache rows of bfloat16 lose nothing in its products; queries, keys and values stay float32.
        if (cache.Format != CacheFormat.BF16 || (a.LatentSize + a.RopeSize) % 32 != 0 || a.LatentSize % 16 != 0) brains = null;
        long buffer = Memory.Length(a, mostRows);
        nint buffers = (nint)scratch.Rent(buffer * pool.ThreadCount * sizeof(float));
        pool.Run(new Work(brains, output, q, a, step, cache, (nint)sequences, buffers, buffer, mostRows), count * a.Heads);
    }

    private readonly struct Work(PanelKernel? brains, Tensor output, Tensor q, LatentAttentionSettings a, StepLayout step, CpuCache cache, nint sequences, nint buffers, long buffer,
        int mostRows) : IParallelWork
    {
        public void Execute(int item, int worker)
        {
            (int at, int head) = Math.DivRem(item, a.Heads);
            SequenceSlice s = step.Sequences[((int*)sequences)[at]];
            Memory m = new((float*)buffers + buffer * worker, a, mostRows);
            PackUp((CpuWeight)a.KeyUp[head], a.KeyUpTransposed, a.NopeSize, m.KeyUp, m.Line);
            PackUp((CpuWeight)a.ValueUp[head], transposed: false, a.ValueSize, m.ValueUp, m.Line);

            int size = a.NopeSize + a.RopeSize, end = s.FirstPosition + s.RowCount;
            for (int r = 0, n; r < s.RowCount; r += n)
            {
                n = AttentionKernels.BlockRows(s.RowCount - r);
                for (int i = 0; i < n; i++) AttentionKernels.PackRow(Elementwise.Row(q, s.FirstRow + r + i) + head * size, n, i, size, a.Scale, m.Queries + (long)r * size);
            }
            new Span<float>(m.Largest, s.RowCount).Fill(float.NegativeInfinity);
            new Span<float>(m.Total, s.RowCount).Clear();
            new Span<float>(m.Sums, s.RowCount * m.SumStride).Clear();
            for (int start = a.FirstPosition / Chunk * Chunk; start < end; start += Chunk)
            {
                int from = Math.Max(0, a.FirstPosition - start), keys = Math.Min(Chunk, end - start);
                if (from >= keys) continue;
                switch (cache.Format)
                {
                    case CacheFormat.F32: Expand<F32Rows>(s, start, from, keys, m); break;
                    case CacheFormat.F16: Expand<F16Rows>(s, start, from, keys, m); break;
                    case CacheFormat.BF16: Expand<BF16Rows>(s, start, from, keys, m); break;
                    case CacheFormat.Q8: Expand<Q8Rows>(s, start, from, keys, m); break;
                }
                AttendChunk(s, start, from, m);
            }
            for (int r = 0; r < s.RowCount; r++)
            {
                float factor = m.Total[r] == 0 ? 0 : 1 / m.Total[r];
                float* to = Elementwise.Row(output, s.FirstRow + r) + head * a.ValueSize, sums = m.Sums + (long)r * m.SumStride;
                for (int d = 0; d < a.ValueSize; d++) to[d] = sums[d] * factor;
            }
        }

        /// <summary>A head's matrix for <see cref="AttentionKernels.Scores"/>, its outputs as query rows: blocks of 8, packed[c][output].</summary>
        private void PackUp(CpuWeight weight, bool transposed, int outputs, float* packed, float* line)
        {
            if (brains is not null)
            {
                PackTiles(weight, transposed, outputs, (ushort*)packed, line);
                return;
            }
            for (int r = 0; r < weight.Rows; r++)
            {
                weight.ReadRow(r, line);
                if (!transposed)
                {
                    (int first, int rows) = BlockOf(r, outputs);
                    AttentionKernels.PackRow(line, rows, r - first, a.LatentSize, 1, packed + (long)first * a.LatentSize);
                    continue;
                }
                for (int first = 0, n; first < outputs; first += n)
                {
                    n = AttentionKernels.BlockRows(outputs - first);
                    for (int i = 0; i < n; i++) packed[(long)first * a.LatentSize + r * n + i] = line[first + i];
                }
            }
        }

        /// <summary>The same for products of bfloat16: its outputs as tokens of tiles.</summary>
        private void PackTiles(CpuWeight weight, bool transposed, int outputs, ushort* tiles, float* line)
        {
            int tokens = brains!.Tokens, tile = a.LatentSize * tokens;
            new Span<ushort>(tiles + (outputs - 1) / tokens * tile, tile).Clear();
            for (int r = 0; r < weight.Rows; r++)
            {
                weight.ReadRow(r, line);
                if (!transposed)
                {
                    BrainAttention.PackRow(line, a.LatentSize, 1, (uint*)(tiles + r / tokens * tile), tokens, r % tokens);
                    continue;
                }
                for (int n = 0; n < outputs; n++) tiles[n / tokens * tile + (r >> 1) * 2 * tokens + 2 * (n % tokens) + (r & 1)] = SmallFloats.ToBF16(line[n]);
            }
        }

        /// <summary>The block that a row belongs to when 'count' rows are cut by <see cref="AttentionKernels.BlockRows"/>.</summary>
        private static (int First, int Rows) BlockOf(int row, int count)
        {
            for (int first = 0; ;)
            {
                int n = AttentionKernels.BlockRows(count - first);
                if (row < first + n) return (first, n);
                first += n;
            }
        }

        /// <summary>Keys and values of a chunk, from its cache rows.</summary>
        private void Expand<TFormat>(in SequenceSlice s, int start, int from, int keys, in Memory m) where TFormat : struct, IRowFormat
        {
            ReadOnlySpan<int> blocks = step.BlockTables[s.TableStart..];
            int width = a.LatentSize + a.RopeSize, size = a.NopeSize + a.RopeSize;
            for (int k = 0; k < keys; k += Panel)
            {
                for (int i = 0; i < Panel; i++)
                {
                    // Places before the first and behind the last key repeat a row that is filled.
                    int position = start + Math.Clamp(k + i, from, keys - 1);
                    m.Rows[i] = (nint)cache.Row(a.Stream, blocks[position / step.BlockTokens], position % step.BlockTokens);
                }
                float* key = m.Keys + (long)k * size;
                AttentionKernels.Pack<TFormat>(cache.Capabilities, m.Rows, width, a.LatentSize, a.RopeSize, key + a.NopeSize * Panel, Panel);
                if (brains is null) AttentionKernels.Pack<TFormat>(cache.Capabilities, m.Rows, width, 0, a.LatentSize, m.Latents, Panel);
                else AttentionKernels.PackPairs(m.Rows, 0, width, m.Latents);
                Up(m.KeyUp, a.NopeSize, m.Latents, key);
                Up(m.ValueUp, a.ValueSize, m.Latents, m.Turned);
                for (int v = 0; v < a.ValueSize; v += Panel)
                {
                    for (int i = 0; i < Panel; i++) m.Rows[i] = (nint)(m.Turned + Math.Min(v + i, a.ValueSize - 1) * Panel);
                    AttentionKernels.Pack<F32Rows>(cache.Capabilities, m.Rows, Panel, 0, Panel, m.Values + (long)k * m.SumStride + v, m.SumStride);
                }
            }
            for (int k = 0; k < keys; k++) m.Rows[k] = (nint)(m.Values + (long)k * m.SumStride);
        }

        /// <summary>A head's matrix times a panel of latents: results[output][key].</summary>
        private void Up(float* matrix, int outputs, float* latents, float* results)
        {
            if (brains is not null)
            {
                brains.Run((byte*)latents, (byte*)matrix, 2L * a.LatentSize * brains.Tokens, a.LatentSize / 8, Panel, outputs, results, Panel);
                return;
            }
            for (int r = 0, n; r < outputs; r += n)
            {
                n = AttentionKernels.BlockRows(outputs - r);
                AttentionKernels.Scores(matrix + (long)r * a.LatentSize, n, latents, a.LatentSize, results + r * Panel, Panel);
            }
        }

        /// <summary>Takes the chunk into the sums of all rows.</summary>
        private void AttendChunk(in SequenceSlice s, int start, int from, in Memory m)
        {
            int size = a.NopeSize + a.RopeSize;
            for (int r = 0, n; r < s.RowCount; r += n)
            {
                n = AttentionKernels.BlockRows(s.RowCount - r);
                int seen = Math.Min(Chunk, s.FirstPosition + r + n - start);
                if (seen <= 0) continue;
                for (int k = 0; k < seen; k += Panel) AttentionKernels.Scores(m.Queries + (long)r * size, n, m.Keys + (long)k * size, size, m.Scores + k, Chunk);
                for (int i = 0; i < n; i++)
                {
                    (float largest, float total) = AttentionKernels.Softmax(m.Scores + i * Chunk, from, Math.Min(Chunk, s.FirstPosition + r + i + 1 - start), seen);
                    TiledAttention.MergeSoftmax(ref m.Largest[r + i], ref m.Total[r + i], largest, total, out m.Keep[i], out m.Take[i]);
                }
                AttentionKernels.WeightedSum<F32Rows>(m.Scores, n, seen, m.Rows, m.SumStride, 0, a.ValueSize, m.Sums + (long)r * m.SumStride, m.SumStride, m.Keep, m.Take);
            }
        }
    }

    /// <summary>Rows more than a matrix has, for the last tile of an assembled product.</summary>
    private const int TileSlack = 16;

    /// <summary>A thread's working memory.</summary>
    private readonly struct Memory
    {
        public Memory(float* start, LatentAttentionSettings a, int rows)
        {
            int size = a.NopeSize + a.RopeSize;
            SumStride = (a.ValueSize + 31) & -32;
            Rows = (nint*)start;
            Keys = start + 2 * Chunk;
            Values = Keys + Chunk * size;
            Latents = Values + (Chunk + 1) * SumStride;
            Turned = Latents + (a.LatentSize + a.RopeSize + 16) * Panel;
            Scores = Turned + (SumStride + 1) * Panel;
            KeyUp = Scores + Block * Chunk;
            ValueUp = KeyUp + (a.NopeSize + TileSlack) * a.LatentSize;
            Line = ValueUp + (a.ValueSize + TileSlack) * a.LatentSize;
            Keep = Line + Math.Max(a.LatentSize, a.NopeSize) + 32;
            Take = Keep + Block;
            Sums = Take + Block;
            Queries = Sums + (long)rows * SumStride;
            Largest = Queries + (long)rows * size;
            Total = Largest + rows;
            End = Total + rows;
        }

        public static long Length(LatentAttentionSettings a, int rows) => (new Memory(null, a, rows).End - (float*)null) + 15 & -16;

        public int SumStride { get; }
        public nint* Rows { get; }
        public float* Keys { get; }
        public float* Values { get; }
        public float* Latents { get; }
        public float* Turned { get; }
        public float* Scores { get; }
        public float* KeyUp { get; }
        public float* ValueUp { get; }
        public float* Line { get; }
        public float* Keep { get; }
        public float* Take { get; }
        public float* Sums { get; }
        public float* Queries { get; }
        public float* Largest { get; }
        public float* Total { get; }
        private float* End { get; }
    }
}
