using System.Numerics;
using System.Runtime.CompilerServices;
using DeepSeek.Backends.Cpu.Assembly;

namespace DeepSeek.Backends.Cpu;

/// <summary>What tiled attention works on: query row m of a sequence is head m % Group of its token m / Group, for each key head.</summary>
/// <param name="Queries">Address of the queries' float32.</param>
/// <param name="QueryRow">Numbers from one token's queries to the next one's; heads lie <paramref name="KeySize"/> apart.</param>
/// <param name="Output">Address of the results' float32.</param>
/// <param name="OutputRow">Numbers from one token's results to the next one's; heads lie <paramref name="ValueSize"/> apart.</param>
/// <param name="KeyHeads">G: cache rows hold that many keys and values, one after the other.</param>
/// <param name="Group">Query heads for each key head.</param>
/// <param name="KeySize">Numbers of a query and a key.</param>
/// <param name="ValueSize">Numbers of a value.</param>
/// <param name="Scale">Multiplies the products before softmax.</param>
/// <param name="KeyStream">The cache stream of keys.</param>
/// <param name="ValueStream">The cache stream of values; may be that of keys, then values are beginnings of keys.</param>
/// <param name="FirstPosition">Position of the first cache row that counts.</param>
internal readonly record struct AttentionShape(nint Queries, int QueryRow, nint Output, int OutputRow, int KeyHeads, int Group, int KeySize, int ValueSize,
    float Scale, int KeyStream, int ValueStream, int FirstPosition);

/// <summary>
/// Attention over the paged cache with a running softmax. The unit of arithmetic is a chunk of 256 keys at absolute positions: within a chunk scores, softmax and
/// weighted sum stand alone; chunks are merged in their order. A long context of few queries is cut into chunks for the threads, everything else into tiles of
/// query rows, whose threads merge as they go: the numbers are the same either way, so results do not depend on the batch, the threads, or how a prompt was cut.
/// </summary>
internal static unsafe class TiledAttention
{
    private const int Chunk = AttentionKernels.ChunkKeys, Panel = AttentionKernels.PanelKeys;

    /// <summary>Memory that a tile's queries, scores and sums may take: half of a typical second-level cache.</summary>
    private const int TileBytes = 384 * 1024;

    /// <summary>A piece of work: rows of a sequence, for some heads, over some chunks. A single chunk of several leaves its result to be merged.</summary>
    private record struct Tile(int Sequence, int FirstRow, int Rows, int FirstHead, int Heads, int FirstChunk, int Chunks, long Partial);

    /// <summary>Attention of the step's sequences.</summary>
    /// <param name="pool">Threads.</param>
    /// <param name="scratch">Memory.</param>
    /// <param name="shape">Sizes and places.</param>
    /// <param name="step">The step.</param>
    /// <param name="cache">The cache.</param>
    /// <param name="brains">The product that may be used for many queries, whose sums run in another order and whose factors are bfloat16; null: none.</param>
    /// <param name="leftOut">For each sequence whether somebody else attends to it; empty: none.</param>
    public static void Run(WorkerPool pool, ScratchArena scratch, in AttentionShape shape, StepLayout step, CpuCache cache, PanelKernel? brains = null, ReadOnlySpan<bool> leftOut = default)
    {
        long mark = scratch.Mark();
        int sums = (shape.ValueSize + 31) & -32;
        int tileRows = Math.Clamp(TileBytes / sizeof(float) / (shape.KeySize + sums + Chunk) & -8, 8, 128);
        Plan plan = new(shape, tileRows, 4 * pool.ThreadCount);

        // How many heads of a cut sequence go together decides how many pieces there are.
        int pieces = 0, tiles = 0;
        for (int i = 0; i < step.Sequences.Length; i++)
        {
            SequenceSlice s = step.Sequences[i];
            if (IsLeftOut(leftOut, i)) continue;
            if (plan.IsCut(s)) pieces += plan.TileCount(s) * ChunkCount(s);
            else tiles += plan.TileCount(s);
        }
        int parts = pieces == 0 ? 1 : Math.Clamp((4 * pool.ThreadCount + pieces - 1) / pieces, 1, shape.KeyHeads), headsTogether = (shape.KeyHeads + parts - 1) / parts;

        Tile* work = (Tile*)scratch.Rent((long)sizeof(Tile) * (pieces + tiles) * shape.KeyHeads);
        Tile* merges = (Tile*)scratch.Rent((long)sizeof(Tile) * step.Sequences.Length * shape.KeyHeads);
        int count = 0, mergeCount = 0;
        long partials = 0;
        for (int i = 0; i < step.Sequences.Length; i++)
        {
            SequenceSlice s = step.Sequences[i];
            int rows = s.RowCount * shape.Group, most = plan.RowsOfTile(s);
            if (IsLeftOut(leftOut, i) || plan.IsCut(s)) continue;
            // The last rows see most keys: they go first, so that small pieces are left for the end.
            for (int first = (rows - 1) / most * most; first >= 0; first -= most)
                for (int h = 0; h < shape.KeyHeads; h++) work[count++] = new Tile(i, first, Math.Min(most, rows - first), h, 1, 0, ChunkCount(s), -1);
        }
        for (int i = 0; i < step.Sequences.Length; i++)
        {
            SequenceSlice s = step.Sequences[i];
            int rows = s.RowCount * shape.Group, most = plan.RowsOfTile(s);
            if (IsLeftOut(leftOut, i) || !plan.IsCut(s)) continue;
            for (int h = 0; h < shape.KeyHeads; h++) merges[mergeCount++] = new Tile(i, 0, rows, h, 1, 0, ChunkCount(s), partials);
            for (int c = 0; c < ChunkCount(s); c++)
                for (int first = 0; first < rows; first += most)
                    for (int h = 0; h < shape.KeyHeads; h += headsTogether)
                        work[count++] = new Tile(i, first, Math.Min(most, rows - first), h, Math.Min(headsTogether, shape.KeyHeads - h), c, 1, partials);
            partials += (long)ChunkCount(s) * shape.KeyHeads * PartialLength(rows, sums);
        }
        float* results = (float*)scratch.Rent(partials * sizeof(float));
        if (cache.Format is not (CacheFormat.BF16 or CacheFormat.Q8) || shape.KeySize % 32 != 0) brains = null;
        bool narrows = brains is not null && cache.Format == CacheFormat.Q8;
        long buffer = BufferLength(shape, tileRows, sums) + (narrows ? Chunk * (shape.KeySize + sums) / 2 : 0);
        float* buffers = (float*)scratch.Rent(buffer * pool.ThreadCount * sizeof(float));

        pool.Run(new TileWork(shape, step, cache, brains, (nint)work, (nint)results, (nint)buffers, buffer, tileRows, sums), count);
        if (mergeCount > 0) pool.Run(new MergeWork(shape, step, (nint)merges, (nint)results, sums), mergeCount);
        scratch.Release(mark);
    }

    private static bool IsLeftOut(ReadOnlySpan<bool> leftOut, int sequence) => !leftOut.IsEmpty && leftOut[sequence];

    /// <summary>How sequences are cut.</summary>
    private readonly struct Plan(AttentionShape shape, int tileRows, int enough)
    {
        /// <summary>Most query rows of a sequence whose chunks are results of their own before they are merged.</summary>
        private const int MostCutRows = 256;

        public int TileCount(SequenceSlice s) => (s.RowCount * shape.Group + tileRows - 1) / tileRows;

        /// <summary>Rows of its tiles but the last, about the same in all of them.</summary>
        public int RowsOfTile(SequenceSlice s) => (s.RowCount * shape.Group + TileCount(s) - 1) / TileCount(s) + 7 & -8;

        /// <summary>Whether it is cut into chunks: where there is one tile of rows, or too few pieces for the threads otherwise.</summary>
        public bool IsCut(SequenceSlice s)
            => ChunkCount(s) > 1 && (TileCount(s) == 1 || s.RowCount * shape.Group <= MostCutRows && TileCount(s) * shape.KeyHeads < enough);
    }

    private static int ChunkCount(SequenceSlice s) => (s.FirstPosition + s.RowCount + Chunk - 1) / Chunk;

    /// <summary>Sums, largest scores and sums of exponentials of a piece's rows for one head.</summary>
    private static long PartialLength(int rows, int sums) => (long)rows * (sums + 2);

    /// <summary>Rows more than a tile has, for the last tile of an assembled product.</summary>
    private const int TileSlack = 16;

    /// <summary>A thread's numbers: queries, a panel of keys, scores, sums, four numbers a row, addresses of keys and values; weights and values in bfloat16, products.</summary>
    private static long BufferLength(in AttentionShape shape, int tileRows, int sums)
        => ((tileRows + TileSlack) * (shape.KeySize + Chunk + Chunk / 2 + sums + Panel + 4L) + (long)Panel * (shape.KeySize + 16) + Chunk / 2 * Panel + 4 * Chunk + 15) & -16;

    private readonly struct TileWork(AttentionShape shape, StepLayout step, CpuCache cache, PanelKernel? brains, nint tiles, nint results, nint buffers, long buffer, int tileRows,
        int sums) : IParallelWork
    {
        public void Execute(int item, int worker)
        {
            switch (cache.Format)
            {
                case CacheFormat.F32: Execute<F32Rows>(((Tile*)tiles)[item], worker); break;
                case CacheFormat.F16: Execute<F16Rows>(((Tile*)tiles)[item], worker); break;
                case CacheFormat.BF16: Execute<BF16Rows>(((Tile*)tiles)[item], worker); break;
                case CacheFormat.Q8: Execute<Q8Rows>(((Tile*)tiles)[item], worker); break;
            }
        }

        private void Execute<TFormat>(Tile tile, int worker) where TFormat : struct, IRowFormat
        {
            SequenceSlice sequence = step.Sequences[tile.Sequence];
            Memory memory = new((float*)buffers + buffer * worker, shape, tileRows, sums);
            for (int h = tile.FirstHead; h < tile.FirstHead + tile.Heads; h++)
            {
                bool useBrains = brains is not null && sequence.RowCount >= BrainAttention.FewestTokens;
                PackQueries(tile, sequence, h, useBrains, memory.Queries);
                new Span<float>(memory.Largest, tile.Rows).Fill(float.NegativeInfinity);
                new Span<float>(memory.Total, tile.Rows).Clear();
                new Span<float>(memory.Sums, tile.Rows * sums).Clear();
                int lastPosition = sequence.FirstPosition + (tile.FirstRow + tile.Rows - 1) / shape.Group;
                int end = Math.Min(tile.FirstChunk + tile.Chunks, lastPosition / Chunk + 1);
                for (int c = Math.Max(tile.FirstChunk, shape.FirstPosition / Chunk); c < end; c++)
                {
                    if (useBrains) ExecuteChunk(tile, sequence, h, c, memory);
                    else ExecuteChunk<TFormat>(tile, sequence, h, c, memory);
                }
                if (tile.Partial < 0)
                {
                    for (int r = 0; r < tile.Rows; r++)
                        Finish(shape, sequence, tile.FirstRow + r, h, memory.Sums + r * sums, memory.Total[r]);
                    continue;
                }
                int rows = sequence.RowCount * shape.Group;
                float* partial = (float*)results + tile.Partial + ((long)tile.FirstChunk * shape.KeyHeads + h) * PartialLength(rows, sums);
                Copy(memory.Sums, partial + tile.FirstRow * sums, tile.Rows * sums);
                Copy(memory.Largest, partial + rows * sums + tile.FirstRow, tile.Rows);
                Copy(memory.Total, partial + rows * (sums + 1) + tile.FirstRow, tile.Rows);
            }
        }

        /// <summary>Takes one chunk of keys into the tile's sums.</summary>
        private void ExecuteChunk<TFormat>(in Tile tile, in SequenceSlice sequence, int head, int chunk, in Memory memory) where TFormat : struct, IRowFormat
        {
            int start = chunk * Chunk, from = Math.Max(0, shape.FirstPosition - start);
            int keys = Limit(tile, sequence, tile.Rows - 1, start), padded = (keys + Panel - 1) & -Panel;
            Locate(sequence, start, keys, padded, from, memory.Keys, memory.Values);
            int keyWidth = cache.Width(shape.KeyStream), valueWidth = cache.Width(shape.ValueStream);
            int lines = (int)(cache.Bytes(shape.KeySize) + 63) / 64, shift = lines <= 1 ? 0 : BitOperations.Log2((uint)lines - 1) + 1;
            for (int k = 0; k < padded; k += Panel)
            {
                AttentionKernels.Pack<TFormat>(cache.Capabilities, memory.Keys + k, keyWidth, head * shape.KeySize, shape.KeySize, memory.Packed, Panel);
                if (TFormat.IsBytes)
                {
                    // Scales lie behind the numbers of all heads.
                    AttentionKernels.Fetch(memory.Values + k, (valueWidth + 3) / 4 * 4 + head * shape.ValueSize / 8);
                    if (k + Panel < padded) AttentionKernels.Fetch(memory.Keys + k + Panel, (keyWidth + 3) / 4 * 4 + head * shape.KeySize / 8);
                }
                // The values of these keys and the next keys are asked for on the way.
                AttentionKernels.Ahead ahead = new(memory.Keys + (k + Panel < padded ? k + Panel : k), cache.Bytes(head * shape.KeySize),
                    memory.Values + k, cache.Bytes(head * shape.ValueSize), shift);
                for (int r = 0, n; r < tile.Rows; r += n)
                {
                    n = AttentionKernels.BlockRows(tile.Rows - r);
                    if (Limit(tile, sequence, r + n - 1, start) > k)
                        AttentionKernels.Scores(memory.Queries + r * shape.KeySize, n, memory.Packed, shape.KeySize, memory.Scores + r * Chunk + k, Chunk, r > 0 ? default : ahead);
                }
            }
            for (int r = 0, n; r < tile.Rows; r += n)
            {
                n = AttentionKernels.BlockRows(tile.Rows - r);
                int seen = Limit(tile, sequence, r + n - 1, start);
                if (seen <= 0) continue;
                for (int i = r; i < r + n; i++)
                {
                    (float largest, float total) = AttentionKernels.Softmax(memory.Scores + i * Chunk, from, Limit(tile, sequence, i, start), seen);
                    MergeSoftmax(ref memory.Largest[i], ref memory.Total[i], largest, total, out memory.Keep[i], out memory.Take[i]);
                }
                AttentionKernels.WeightedSum<TFormat>(memory.Scores + r * Chunk, n, seen, memory.Values, valueWidth, head * shape.ValueSize, shape.ValueSize,
                    memory.Sums + r * sums, sums, memory.Keep + r, memory.Take + r);
            }
        }

        /// <summary>The same by products of bfloat16.</summary>
        private void ExecuteChunk(in Tile tile, in SequenceSlice sequence, int head, int chunk, in Memory memory)
        {
            int start = chunk * Chunk, from = Math.Max(0, shape.FirstPosition - start), tokens = brains!.Tokens;
            int keys = Limit(tile, sequence, tile.Rows - 1, start), padded = (keys + Panel - 1) & -Panel, even = (keys + 7) & -8;
            Locate(sequence, start, keys, padded, from, memory.Keys, memory.Values);
            int firstKey = head * shape.KeySize, firstValue = head * shape.ValueSize;
            if (cache.Format == CacheFormat.Q8)
            {
                // Bytes become bfloat16 beside the cache.
                BrainAttention.Narrow(memory.Keys, padded, cache.Width(shape.KeyStream), firstKey, shape.KeySize, memory.Narrowed);
                BrainAttention.Narrow(memory.Values, padded, cache.Width(shape.ValueStream), firstValue, sums, memory.Narrowed + Chunk * shape.KeySize);
                firstKey = firstValue = 0;
            }
            long queryTile = 2L * shape.KeySize * tokens, weightTile = 2L * even * tokens;
            for (int k = 0; k < padded; k += Panel)
            {
                AttentionKernels.PackPairs(memory.Keys + k, firstKey, shape.KeySize, memory.Packed);
                // Rows that see none of these keys are left out, tile by tile.
                int first = Math.Max(0, (start + k - sequence.FirstPosition) * shape.Group - tile.FirstRow) / tokens;
                brains.Run((byte*)memory.Packed, (byte*)memory.Queries + first * queryTile, queryTile, shape.KeySize / 8, Panel, tile.Rows - first * tokens,
                    memory.Scores + first * tokens * Chunk + k, Chunk);
            }
            new Span<byte>(memory.Weights + (tile.Rows - 1) / tokens * weightTile, (int)weightTile).Clear();
            for (int r = 0; r < tile.Rows; r++)
            {
                float* scores = memory.Scores + r * Chunk;
                (float largest, float total) = AttentionKernels.Softmax(scores, from, Limit(tile, sequence, r, start), even);
                MergeSoftmax(ref memory.Largest[r], ref memory.Total[r], largest, total, out memory.Keep[r], out memory.Take[r]);
                BrainAttention.PackRow(scores, even, 1, (uint*)(memory.Weights + r / tokens * weightTile), tokens, r % tokens);
            }
            for (int d = 0; d < shape.ValueSize; d += 32)
            {
                BrainAttention.PackValues(memory.Values, even, firstValue + d, (uint*)memory.ValuePanel);
                brains.Run((byte*)memory.ValuePanel, memory.Weights, weightTile, even / 8, Panel, tile.Rows, memory.Products, Panel);
                for (int r = 0; r < tile.Rows; r++) AttentionKernels.Merge(memory.Sums + r * sums + d, memory.Products + r * Panel, memory.Keep[r], memory.Take[r]);
            }
        }

        /// <summary>Keys of the chunk that a row of the tile sees.</summary>
        private int Limit(in Tile tile, in SequenceSlice sequence, int row, int start)
            => Math.Min(Chunk, sequence.FirstPosition + (tile.FirstRow + row) / shape.Group + 1 - start);

        /// <summary>Addresses of the chunk's cache rows; places before the first and behind the last key point to a row that is filled.</summary>
        private void Locate(in SequenceSlice sequence, int start, int keys, int padded, int from, nint* keyRows, nint* valueRows)
        {
            ReadOnlySpan<int> blocks = step.BlockTables[sequence.TableStart..];
            long keyBytes = cache.RowBytesOf(shape.KeyStream), valueBytes = cache.RowBytesOf(shape.ValueStream);
            for (int k = from; k < keys;)
            {
                (int block, int slot) = Math.DivRem(start + k, step.BlockTokens);
                byte* key = cache.Row(shape.KeyStream, blocks[block], slot), value = cache.Row(shape.ValueStream, blocks[block], slot);
                for (int last = Math.Min(keys, k + step.BlockTokens - slot); k < last; k++, key += keyBytes, value += valueBytes)
                    (keyRows[k], valueRows[k]) = ((nint)key, (nint)value);
            }
            if (from >= keys) return;
            for (int k = 0; k < from; k++) (keyRows[k], valueRows[k]) = (keyRows[from], valueRows[from]);
            for (int k = keys; k < padded; k++) (keyRows[k], valueRows[k]) = (keyRows[keys - 1], valueRows[keys - 1]);
        }

        /// <summary>Queries times the scale, in blocks of rows: packed[d][row].</summary>
        private void PackQueries(in Tile tile, in SequenceSlice sequence, int head, bool useBrains, float* packed)
        {
            int tokens = useBrains ? brains!.Tokens : 0;
            if (useBrains) new Span<float>(packed, ((tile.Rows + tokens - 1) / tokens * tokens * shape.KeySize + 1) / 2).Clear();
            for (int r = 0, n; r < tile.Rows; r += n)
            {
                n = AttentionKernels.BlockRows(tile.Rows - r);
                for (int i = 0; i < n; i++)
                {
                    (int token, int member) = Math.DivRem(tile.FirstRow + r + i, shape.Group);
                    float* q = (float*)shape.Queries + (long)(sequence.FirstRow + token) * shape.QueryRow + (head * shape.Group + member) * shape.KeySize;
                    if (!useBrains) AttentionKernels.PackRow(q, n, i, shape.KeySize, shape.Scale, packed + r * shape.KeySize);
                    else BrainAttention.PackRow(q, shape.KeySize, shape.Scale, (uint*)packed + (r + i) / tokens * tokens * shape.KeySize / 2, tokens, (r + i) % tokens);
                }
            }
        }
    }

    /// <summary>Merges the chunks of a sequence's rows for one head.</summary>
    private readonly struct MergeWork(AttentionShape shape, StepLayout step, nint merges, nint results, int sums) : IParallelWork
    {
        public void Execute(int item, int worker)
        {
            Tile tile = ((Tile*)merges)[item];
            SequenceSlice sequence = step.Sequences[tile.Sequence];
            long length = PartialLength(tile.Rows, sums);
            for (int r = 0; r < tile.Rows; r++)
            {
                float largest = float.NegativeInfinity, total = 0;
                // The first chunk's memory holds the sums.
                float* first = (float*)results + tile.Partial + tile.FirstHead * length, merged = first + (long)r * sums;
                for (int c = 0; c < tile.Chunks; c++)
                {
                    float* partial = first + (long)c * shape.KeyHeads * length, statistics = partial + (long)tile.Rows * sums + r;
                    MergeSoftmax(ref largest, ref total, statistics[0], statistics[tile.Rows], out float keep, out float take);
                    if (c == 0) continue;
                    for (int d = 0; d < sums; d += 32) AttentionKernels.Merge(merged + d, partial + (long)r * sums + d, keep, take);
                }
                Finish(shape, sequence, r, tile.FirstHead, merged, total);
            }
        }
    }

    /// <summary>Takes a chunk's softmax (its largest score, its sum of exponentials) into a row's; says by what the row's sums and the chunk's are to be multiplied.</summary>
    public static void MergeSoftmax(ref float largest, ref float total, float chunkLargest, float chunkTotal, out float keep, out float take)
    {
        float m = MathF.Max(largest, chunkLargest);
        (keep, take) = float.IsNegativeInfinity(m) ? (0, 1) : (MathF.Exp(largest - m), MathF.Exp(chunkLargest - m));
        total = MathF.FusedMultiplyAdd(total, keep, chunkTotal * take);
        largest = m;
    }

    /// <summary>output = sums / total; 0 for a row that saw no key.</summary>
    private static void Finish(in AttentionShape shape, in SequenceSlice sequence, int row, int head, float* sums, float total)
    {
        (int token, int member) = Math.DivRem(row, shape.Group);
        float* output = (float*)shape.Output + (long)(sequence.FirstRow + token) * shape.OutputRow + (head * shape.Group + member) * shape.ValueSize;
        float factor = total == 0 ? 0 : 1 / total;
        for (int d = 0; d < shape.ValueSize; d++) output[d] = sums[d] * factor;
    }

    private static void Copy(float* from, float* to, int count) => Unsafe.CopyBlockUnaligned(to, from, (uint)count * sizeof(float));

    /// <summary>A thread's working memory.</summary>
    private readonly struct Memory
    {
        public Memory(float* start, in AttentionShape shape, int tileRows, int sums)
        {
            int rows = tileRows + TileSlack;
            Scores = start;
            Sums = Scores + rows * Chunk;
            Packed = Sums + rows * sums;
            Keys = (nint*)(Packed + Panel * (shape.KeySize + 16));
            Values = Keys + Chunk;
            Queries = (float*)(Values + Chunk);
            Weights = (byte*)(Queries + rows * shape.KeySize);
            ValuePanel = (float*)Weights + rows * Chunk / 2;
            Products = ValuePanel + Chunk / 2 * Panel;
            Largest = Products + rows * Panel;
            Total = Largest + rows;
            Keep = Total + rows;
            Take = Keep + rows;
            Narrowed = (ushort*)(Take + rows);
        }

        public float* Queries { get; }
        public float* Packed { get; }
        public float* Scores { get; }
        public float* Sums { get; }
        public float* Largest { get; }
        public float* Total { get; }
        public float* Keep { get; }
        public float* Take { get; }
        public byte* Weights { get; }

        /// <summary>A chunk's keys, then its values, as bfloat16: where the cache is of bytes.</summary>
        public ushort* Narrowed { get; }

        public float* ValuePanel { get; }
        public float* Products { get; }
        public nint* Keys { get; }
        public nint* Values { get; }
    }
}
