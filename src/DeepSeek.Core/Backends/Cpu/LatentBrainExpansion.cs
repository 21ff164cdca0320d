using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using DeepSeek.Backends.Cpu.Assembly;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// <see cref="LatentExpansion"/> by products of bfloat16, for a cache of bfloat16: keys and values are computed, rounded and multiplied in panels and tiles of
/// <see cref="BrainPanels"/>' product.
/// </summary>
internal static unsafe class LatentBrainExpansion
{
    private const int Chunk = AttentionKernels.ChunkKeys, Panel = AttentionKernels.PanelKeys;

    /// <summary>Whether sizes are whole steps of the product, as those of all published models are.</summary>
    public static bool Fits(LatentAttentionSettings a)
        => (a.LatentSize + a.RopeSize) % 32 == 0 && a.LatentSize % 16 == 0 && (a.NopeSize + a.RopeSize) % 16 == 0 && a.NopeSize % 2 == 0;

    public static void Run(WorkerPool pool, ScratchArena scratch, PanelKernel brains, Tensor output, Tensor q, LatentAttentionSettings a, StepLayout step, CpuCache cache,
        int* sequences, int count, int mostRows)
    {
        long buffer = Memory.Length(a, mostRows, brains.Tokens);
        nint buffers = (nint)scratch.Rent(buffer * pool.ThreadCount);
        pool.Run(new Work(brains, output, q, a, step, cache, (nint)sequences, buffers, buffer, mostRows), count * a.Heads);
    }

    private readonly struct Work(PanelKernel brains, Tensor output, Tensor q, LatentAttentionSettings a, StepLayout step, CpuCache cache, nint sequences, nint buffers, long buffer,
        int mostRows) : IParallelWork
    {
        public void Execute(int item, int worker)
        {
            (int at, int head) = Math.DivRem(item, a.Heads);
            SequenceSlice s = step.Sequences[((int*)sequences)[at]];
            Memory m = new((byte*)buffers + buffer * worker, a, mostRows, brains.Tokens);
            PackUp((CpuWeight)a.KeyUp[head], a.KeyUpTransposed, a.NopeSize, m.KeyUp, m);
            PackUp((CpuWeight)a.ValueUp[head], transposed: false, a.ValueSize, m.ValueUp, m);

            int size = a.NopeSize + a.RopeSize, end = s.FirstPosition + s.RowCount, tokens = brains.Tokens;
            new Span<byte>(m.Queries + (s.RowCount - 1) / tokens * 2L * size * tokens, 2 * size * tokens).Clear();
            for (int r = 0; r < s.RowCount; r++)
                BrainAttention.PackRow(Elementwise.Row(q, s.FirstRow + r) + head * size, size, a.Scale, (uint*)(m.Queries + r / tokens * 2L * size * tokens), tokens, r % tokens);
            new Span<float>(m.Largest, s.RowCount).Fill(float.NegativeInfinity);
            new Span<float>(m.Total, s.RowCount).Clear();
            new Span<float>(m.Sums, s.RowCount * m.SumStride).Clear();
            for (int start = a.FirstPosition / Chunk * Chunk; start < end; start += Chunk)
            {
                int from = Math.Max(0, a.FirstPosition - start), keys = Math.Min(Chunk, end - start);
                if (from >= keys) continue;
                Expand(s, start, from, keys, m);
                for (int r = 0; r < s.RowCount; r += m.GroupRows) AttendChunk(s, start, from, r, Math.Min(m.GroupRows, s.RowCount - r), m);
            }
            for (int r = 0; r < s.RowCount; r++)
            {
                float factor = m.Total[r] == 0 ? 0 : 1 / m.Total[r];
                float* to = Elementwise.Row(output, s.FirstRow + r) + head * a.ValueSize, sums = m.Sums + (long)r * m.SumStride;
                for (int d = 0; d < a.ValueSize; d++) to[d] = sums[d] * factor;
            }
        }

        /// <summary>A head's matrix as tiles, its outputs as tokens.</summary>
        private void PackUp(CpuWeight weight, bool transposed, int outputs, byte* tiles, in Memory m)
        {
            int tokens = brains.Tokens;
            long tile = 2L * a.LatentSize * tokens;
            new Span<byte>(tiles + (outputs - 1) / tokens * tile, (int)tile).Clear();
            for (int c = 0; transposed && c < a.LatentSize; c++)
            {
                weight.ReadRow(c, m.Line);
                for (int n = 0; n < outputs; n++) m.Matrix[n * a.LatentSize + c] = m.Line[n];
            }
            for (int n = 0; n < outputs; n++)
            {
                float* row = transposed ? m.Matrix + n * a.LatentSize : m.Line;
                if (!transposed) weight.ReadRow(n, row);
                BrainAttention.PackRow(row, a.LatentSize, 1, (uint*)(tiles + n / tokens * tile), tokens, n % tokens);
            }
        }

        /// <summary>Keys and values of a chunk as panels, from its cache rows.</summary>
        private void Expand(in SequenceSlice s, int start, int from, int keys, in Memory m)
        {
            ReadOnlySpan<int> blocks = step.BlockTables[s.TableStart..];
            int width = a.LatentSize + a.RopeSize, size = a.NopeSize + a.RopeSize, tokens = brains.Tokens;
            long tile = 2L * a.LatentSize * tokens;
            for (int k = 0; k < keys; k += Panel)
            {
                for (int i = 0; i < Panel; i++)
                {
                    // Places before the first and behind the last key repeat a row that is filled.
                    int position = start + Math.Clamp(k + i, from, keys - 1);
                    m.Rows[i] = (nint)cache.Row(a.Stream, blocks[position / step.BlockTokens], position % step.BlockTokens);
                }
                AttentionKernels.PackPairs(m.Rows, 0, width, m.Latents);
                float* key = m.Keys + (long)k / Panel * size / 2 * Panel;
                brains.Run((byte*)m.Latents, m.KeyUp, tile, a.LatentSize / 8, Panel, a.NopeSize, m.Turned, Panel);
                for (int n = 0; n < a.NopeSize; n += 2) Join(m.Turned + n * Panel, (uint*)key + n / 2 * Panel);
                long ropeBytes = 2L * a.RopeSize * Panel;
                Buffer.MemoryCopy(m.Latents + a.LatentSize / 2 * Panel, key + a.NopeSize / 2 * Panel, ropeBytes, ropeBytes);

                brains.Run((byte*)m.Latents, m.ValueUp, tile, a.LatentSize / 8, Panel, a.ValueSize, m.Turned, Panel);
                CacheRows.Store(CacheFormat.BF16, m.Turned, (byte*)m.Narrow, a.ValueSize * Panel);
                for (int v = 0; v < a.ValueSize; v += Panel)
                {
                    for (int i = 0; i < Panel; i++) m.Rows[i] = (nint)(m.Narrow + Math.Min(v + i, a.ValueSize - 1) * Panel);
                    AttentionKernels.PackPairs(m.Rows, 0, Panel, m.Values + v / Panel * (Chunk / 2 * Panel) + k / 2 * Panel);
                }
            }
        }

        /// <summary>Two rows of 32 numbers side by side as bfloat16.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Join(float* rows, uint* pairs)
        {
            for (int i = 0; i < Panel; i += 16)
            {
                Vector512<uint> even = CacheRows.ToBrain(Vector512.Load((uint*)rows + i)), odd = CacheRows.ToBrain(Vector512.Load((uint*)rows + Panel + i));
                (even | odd << 16).Store(pairs + i);
            }
        }

        /// <summary>Takes the chunk into the sums of some rows; first is a multiple of a tile's.</summary>
        private void AttendChunk(in SequenceSlice s, int start, int from, int first, int rows, in Memory m)
        {
            int size = a.NopeSize + a.RopeSize, tokens = brains.Tokens, seen = Math.Min(Chunk, s.FirstPosition + first + rows - start), even = (seen + 7) & -8;
            if (seen <= 0) return;
            long queryTile = 2L * size * tokens, weightTile = 2L * even * tokens;
            for (int k = 0; k < seen; k += Panel)
            {
                // Rows that see none of these keys are left out, tile by tile.
                int skipped = Math.Max(0, start + k - s.FirstPosition - first) / tokens;
                brains.Run((byte*)(m.Keys + (long)k / Panel * size / 2 * Panel), m.Queries + (first / tokens + skipped) * queryTile, queryTile, size / 8, Panel,
                    rows - skipped * tokens, m.Scores + skipped * tokens * Chunk + k, Chunk);
            }
            new Span<byte>(m.Weights + (rows - 1) / tokens * weightTile, (int)weightTile).Clear();
            for (int r = 0; r < rows; r++)
            {
                float* scores = m.Scores + r * Chunk;
                (float largest, float total) = AttentionKernels.Softmax(scores, from, Math.Min(Chunk, s.FirstPosition + first + r + 1 - start), even);
                TiledAttention.MergeSoftmax(ref m.Largest[first + r], ref m.Total[first + r], largest, total, out m.Keep[r], out m.Take[r]);
                BrainAttention.PackRow(scores, even, 1, (uint*)(m.Weights + r / tokens * weightTile), tokens, r % tokens);
            }
            for (int d = 0; d < a.ValueSize; d += Panel)
            {
                brains.Run((byte*)(m.Values + d / Panel * (Chunk / 2 * Panel)), m.Weights, weightTile, even / 8, Panel, rows, m.Products, Panel);
                for (int r = 0; r < rows; r++)
                    AttentionKernels.Merge(m.Sums + (long)(first + r) * m.SumStride + d, m.Products + r * Panel, m.Keep[r], m.Take[r]);
            }
        }
    }

    /// <summary>A thread's working memory.</summary>
    private readonly struct Memory
    {
        public Memory(byte* start, LatentAttentionSettings a, int rows, int tokens)
        {
            int size = a.NopeSize + a.RopeSize, upRows = Math.Max(a.NopeSize, a.ValueSize);
            SumStride = (a.ValueSize + 31) & -32;
            GroupRows = 8 * tokens;
            Rows = (nint*)Rent<nint>(ref start, Panel);
            Keys = (float*)Rent<float>(ref start, Chunk * size / 2);
            Values = (float*)Rent<float>(ref start, Chunk / 2 * SumStride);
            Latents = (float*)Rent<float>(ref start, (a.LatentSize + a.RopeSize) / 2 * Panel);
            Turned = (float*)Rent<float>(ref start, (upRows + tokens) * Panel);
            Narrow = (ushort*)Rent<ushort>(ref start, upRows * Panel);
            Scores = (float*)Rent<float>(ref start, GroupRows * Chunk);
            Weights = Rent<ushort>(ref start, GroupRows * Chunk);
            Products = (float*)Rent<float>(ref start, GroupRows * Panel);
            KeyUp = Rent<ushort>(ref start, (a.NopeSize + tokens) * a.LatentSize);
            ValueUp = Rent<ushort>(ref start, (a.ValueSize + tokens) * a.LatentSize);
            Line = (float*)Rent<float>(ref start, Math.Max(a.LatentSize, a.NopeSize) + 16);
            Matrix = (float*)Rent<float>(ref start, a.NopeSize * a.LatentSize + 16);
            Keep = (float*)Rent<float>(ref start, GroupRows);
            Take = (float*)Rent<float>(ref start, GroupRows);
            Sums = (float*)Rent<float>(ref start, (long)rows * SumStride);
            Queries = Rent<ushort>(ref start, (long)(rows + tokens) * size);
            Largest = (float*)Rent<float>(ref start, rows);
            Total = (float*)Rent<float>(ref start, rows);
            End = start;
        }

        public static long Length(LatentAttentionSettings a, int rows, int tokens) => new Memory(null, a, rows, tokens).End - (byte*)null;

        private static byte* Rent<T>(ref byte* start, long count) where T : unmanaged
        {
            byte* taken = start;
            start += count * sizeof(T) + 63 & -64;
            return taken;
        }

        public int SumStride { get; }
        public int GroupRows { get; }
        public nint* Rows { get; }
        public float* Keys { get; }
        public float* Values { get; }
        public float* Latents { get; }
        public float* Turned { get; }
        public ushort* Narrow { get; }
        public float* Scores { get; }
        public byte* Weights { get; }
        public float* Products { get; }
        public byte* KeyUp { get; }
        public byte* ValueUp { get; }
        public float* Line { get; }
        public float* Matrix { get; }
        public float* Keep { get; }
        public float* Take { get; }
        public float* Sums { get; }
        public byte* Queries { get; }
        public float* Largest { get; }
        public float* Total { get; }
        private byte* End { get; }
    }
}
