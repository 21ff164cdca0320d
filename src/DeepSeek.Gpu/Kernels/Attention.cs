namespace DeepSeek.Gpu.Kernels;

/// <summary>The numbers of an attention launch. Latent attention is the same with one key head for all, whose values are the first numbers of its keys' rows.</summary>
internal struct AttentionShape
{
    /// <summary>Query heads, key heads, and the query heads that a group does at once (of the same key head).</summary>
    public int QueryHeads, KeyHeads, Together;

    /// <summary>Numbers of a query and key, of a value.</summary>
    public int KeySize, ValueSize;

    /// <summary>Numbers of a row of the two streams.</summary>
    public int KeyWidth, ValueWidth;

    /// <summary>The first cache row that counts.</summary>
    public int FirstPosition;

    /// <summary>Cache rows of a chunk, and chunks of a row of the step. One chunk: it is as long as need be, and the output is written at once.</summary>
    public int ChunkRows, Chunks;

    /// <summary>Cache rows whose scores are in shared memory at the same time.</summary>
    public int Tile;

    public float Scale;

    public readonly int HeadsOfKey => QueryHeads / KeyHeads;

    /// <summary>Groups of heads for a row.</summary>
    public readonly int HeadGroups => KeyHeads * ((HeadsOfKey + Together - 1) / Together);

    /// <summary>Queries, sums of values, scores, for each head the maximum, the sum and the factor for what was summed before, and the cache rows of a tile.</summary>
    public readonly int SharedWords => Together * (KeySize + ValueSize + Tile + 3) + Tile;

    /// <summary>Words of a chunk's result for a head: maximum, sum, sums of values.</summary>
    public readonly int PartWords => ValueSize + 2;
}

/// <summary>
/// Causal attention over the paged cache with a running softmax: o = Σ e^(s−m)·v / Σ e^(s−m), a tile of scores at a time; when the maximum m grows, what was summed shrinks by
/// e^(old − new). Grid: rows × groups of heads × chunks of the cache (chunks fastest); shared memory: <see cref="AttentionShape.SharedWords"/>. With more than one chunk the results
/// are parts, which <see cref="MergeAttention{TThread, TMemory}"/> puts together.
/// </summary>
internal struct Attention<TThread, TMemory, TCache> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory where TCache : struct, ICacheRows<TThread, TMemory>
{
    public TMemory Scratch, Keys, Values, Tables;
    public AttentionShape Shape;
    public StepTables Step;
    public RowPlace Q, Output;

    /// <summary>Where parts go: [row, head, chunk].</summary>
    public long Parts;

    public readonly void Run(TThread t)
    {
        TCache cache = default;
        int chunk = t.Group % Shape.Chunks, headGroup = t.Group / Shape.Chunks % Shape.HeadGroups, row = t.Group / Shape.Chunks / Shape.HeadGroups;
        int perKey = Shape.HeadGroups / Shape.KeyHeads, keyHead = headGroup / perKey, inKey = headGroup % perKey * Shape.Together;
        int heads = Shape.HeadsOfKey - inKey < Shape.Together ? Shape.HeadsOfKey - inKey : Shape.Together, firstHead = keyHead * Shape.HeadsOfKey + inKey;
        int position = (int)Tables.Word(Step.Positions + row), from = chunk * Shape.ChunkRows, end = from + Shape.ChunkRows;
        if (from < Shape.FirstPosition) from = Shape.FirstPosition;
        if (end > position + 1 || Shape.Chunks == 1) end = position + 1;
        int queries = 0, sums = Shape.Together * Shape.KeySize, scores = sums + Shape.Together * Shape.ValueSize, maxima = scores + Shape.Together * Shape.Tile;
        int totals = maxima + Shape.Together, factors = totals + Shape.Together, rows = factors + Shape.Together;
        for (int i = t.Item; i < heads * Shape.KeySize; i += t.Items) t.SetShared(queries + i, Scratch.Float(Q.Row(row) + (long)firstHead * Shape.KeySize + i) * Shape.Scale);
        for (int i = t.Item; i < heads * Shape.ValueSize; i += t.Items) t.SetShared(sums + i, 0);
        for (int h = t.Item; h < heads; h += t.Items)
        {
            t.SetShared(maxima + h, float.NegativeInfinity);
            t.SetShared(totals + h, 0);
        }
        int warps = t.Items / t.Lanes, warp = t.Item / t.Lanes;
        for (int s0 = from; s0 < end; s0 += Shape.Tile)
        {
            int count = end - s0 < Shape.Tile ? end - s0 : Shape.Tile;
            for (int s = t.Item; s < count; s += t.Items) t.SetSharedWord(rows + s, (uint)Step.CacheRow(Tables, row, s0 + s));
            t.Barrier();
            for (int s = warp; s < count; s += warps)
            {
                long key = t.SharedWord(rows + s);
                for (int h = 0; h < heads; h += 4) // a key is read once for four heads
                {
                    int left = heads - h, q = queries + h * Shape.KeySize, score = scores + h * Shape.Tile + s;
                    float d0 = 0, d1 = 0, d2 = 0, d3 = 0;
                    for (int i = t.Lane; i < Shape.KeySize; i += t.Lanes)
                    {
                        float k = cache.Read(t, Keys, key, Shape.KeyWidth, keyHead * Shape.KeySize + i);
                        d0 = t.Fma(t.Shared(q + i), k, d0);
                        if (left > 1) d1 = t.Fma(t.Shared(q + Shape.KeySize + i), k, d1);
                        if (left > 2) d2 = t.Fma(t.Shared(q + 2 * Shape.KeySize + i), k, d2);
                        if (left > 3) d3 = t.Fma(t.Shared(q + 3 * Shape.KeySize + i), k, d3);
                    }
                    d0 = t.SumLanes(d0);
                    if (left > 1) d1 = t.SumLanes(d1);
                    if (left > 2) d2 = t.SumLanes(d2);
                    if (left > 3) d3 = t.SumLanes(d3);
                    if (t.Lane != 0) continue;
                    t.SetShared(score, d0);
                    if (left > 1) t.SetShared(score + Shape.Tile, d1);
                    if (left > 2) t.SetShared(score + 2 * Shape.Tile, d2);
                    if (left > 3) t.SetShared(score + 3 * Shape.Tile, d3);
                }
            }
            t.Barrier();
            for (int h = warp; h < heads; h += warps)
            {
                float old = t.Shared(maxima + h), max = old, sum = 0;
                for (int s = t.Lane; s < count; s += t.Lanes)
                {
                    float score = t.Shared(scores + h * Shape.Tile + s);
                    if (score > max) max = score;
                }
                max = t.MaxLanes(max);
                for (int s = t.Lane; s < count; s += t.Lanes)
                {
                    float p = Numbers<TThread>.Exp(t, t.Shared(scores + h * Shape.Tile + s) - max);
                    t.SetShared(scores + h * Shape.Tile + s, p);
                    sum += p;
                }
                sum = t.SumLanes(sum);
                if (t.Lane == 0)
                {
                    float factor = Numbers<TThread>.Exp(t, old - max);
                    t.SetShared(maxima + h, max);
                    t.SetShared(factors + h, factor);
                    t.SetShared(totals + h, t.Shared(totals + h) * factor + sum);
                }
            }
            t.Barrier();
            for (int i = t.Item; i < (heads + 3) / 4 * Shape.ValueSize; i += t.Items) // a value is read once for four heads
            {
                int h = i / Shape.ValueSize * 4, left = heads - h, d = i % Shape.ValueSize, sum = sums + h * Shape.ValueSize + d, p = scores + h * Shape.Tile;
                float o0 = t.Shared(sum) * t.Shared(factors + h), o1 = 0, o2 = 0, o3 = 0;
                if (left > 1) o1 = t.Shared(sum + Shape.ValueSize) * t.Shared(factors + h + 1);
                if (left > 2) o2 = t.Shared(sum + 2 * Shape.ValueSize) * t.Shared(factors + h + 2);
                if (left > 3) o3 = t.Shared(sum + 3 * Shape.ValueSize) * t.Shared(factors + h + 3);
                for (int s = 0; s < count; s++)
                {
                    float v = cache.Read(t, Values, t.SharedWord(rows + s), Shape.ValueWidth, keyHead * Shape.ValueSize + d);
                    o0 = t.Fma(t.Shared(p + s), v, o0);
                    if (left > 1) o1 = t.Fma(t.Shared(p + Shape.Tile + s), v, o1);
                    if (left > 2) o2 = t.Fma(t.Shared(p + 2 * Shape.Tile + s), v, o2);
                    if (left > 3) o3 = t.Fma(t.Shared(p + 3 * Shape.Tile + s), v, o3);
                }
                t.SetShared(sum, o0);
                if (left > 1) t.SetShared(sum + Shape.ValueSize, o1);
                if (left > 2) t.SetShared(sum + 2 * Shape.ValueSize, o2);
                if (left > 3) t.SetShared(sum + 3 * Shape.ValueSize, o3);
            }
            t.Barrier();
        }
        if (from >= end) t.Barrier(); // nothing was done: the first values are for all to see
        if (Shape.Chunks == 1)
        {
            long output = Output.Row(row) + (long)firstHead * Shape.ValueSize;
            for (int i = t.Item; i < heads * Shape.ValueSize; i += t.Items) Scratch.SetFloat(output + i, t.Shared(sums + i) / t.Shared(totals + i / Shape.ValueSize));
            return;
        }
        for (int h = 0; h < heads; h++)
        {
            long part = Parts + (((long)row * Shape.QueryHeads + firstHead + h) * Shape.Chunks + chunk) * Shape.PartWords;
            if (t.Item == 0)
            {
                Scratch.SetFloat(part, t.Shared(maxima + h));
                Scratch.SetFloat(part + 1, t.Shared(totals + h));
            }
            for (int i = t.Item; i < Shape.ValueSize; i += t.Items) Scratch.SetFloat(part + 2 + i, t.Shared(sums + h * Shape.ValueSize + i));
        }
    }
}

/// <summary>Puts the chunks of a row's head together, in ascending order. Grid: a group a row and head; no shared memory.</summary>
internal struct MergeAttention<TThread, TMemory> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public TMemory Scratch;
    public AttentionShape Shape;
    public RowPlace Output;
    public long Parts;

    public readonly void Run(TThread t)
    {
        int row = t.Group / Shape.QueryHeads, head = t.Group % Shape.QueryHeads;
        long parts = Parts + (long)t.Group * Shape.Chunks * Shape.PartWords, output = Output.Row(row) + (long)head * Shape.ValueSize;
        float max = float.NegativeInfinity, total = 0;
        for (int c = 0; c < Shape.Chunks; c++)
        {
            float m = Scratch.Float(parts + (long)c * Shape.PartWords);
            if (m > max) max = m;
        }
        for (int c = 0; c < Shape.Chunks; c++) total += Numbers<TThread>.Exp(t, Scratch.Float(parts + (long)c * Shape.PartWords) - max) * Scratch.Float(parts + (long)c * Shape.PartWords + 1);
        for (int i = t.Item; i < Shape.ValueSize; i += t.Items)
        {
            float sum = 0;
            for (int c = 0; c < Shape.Chunks; c++)
            {
                long part = parts + (long)c * Shape.PartWords;
                sum = t.Fma(Numbers<TThread>.Exp(t, Scratch.Float(part) - max), Scratch.Float(part + 2 + i), sum);
            }
            Scratch.SetFloat(output + i, sum / total);
        }
    }
}
