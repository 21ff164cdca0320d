using DeepSeek.Backends;
using DeepSeek.Gpu.Kernels;
using DeepSeek.Tensors;

namespace DeepSeek.Gpu;

/// <summary>The cache and attention over it. Latent attention runs in its absorbed form: queries go to the latent space, values come back from it.</summary>
internal sealed partial class GpuBackend<TThread, TMemory>
{
    /// <summary>Cache rows of a chunk where results must not depend on how many chunks there are.</summary>
    private const int ReproducibleChunk = 256;

    private readonly Dictionary<LatentAttentionSettings, PlacedHeads?> latentGroups = new(ReferenceEqualityComparer.Instance);

    private sealed record PlacedHeads(PlacedMatrices<TMemory> KeyUp, PlacedMatrices<TMemory> ValueUp);

    public override void PrepareLatent(LatentAttentionSettings attention)
    {
        if (!latentGroups.TryAdd(attention, null)) return;
        foreach (DeviceWeight[] side in (ReadOnlySpan<DeviceWeight[]>)[attention.KeyUp, attention.ValueUp])
            foreach (DeviceWeight head in side) ((GpuWeight<TMemory>)head).IsPart = true;
    }

    public override void Append(CacheStorage cache, int stream, Tensor rows, StepLayout step) => Append(cache, stream, rows, stream, default, step);

    public override void Attend(Tensor output, Tensor q, Tensor k, Tensor v, AttentionSettings attention, StepLayout step, CacheStorage cache)
    {
        Append(cache, attention.KeyStream, k, attention.ValueStream, v, step);
        AttendCached(output, q, attention, step, cache);
    }

    /// <summary>Stores rows in one stream, or in two where there are second rows.</summary>
    private void Append(CacheStorage cache, int stream, Tensor rows, int secondStream, Tensor secondRows, StepLayout step)
    {
        if (rows.Rows == 0) return;
        StepTables at = tables.Of(step);
        var storage = (GpuCache<TThread, TMemory>)cache;
        switch (cache.Format)
        {
            case CacheFormat.F32: Append<CacheF32<TThread, TMemory>>(); break;
            case CacheFormat.F16: Append<CacheF16<TThread, TMemory>>(); break;
            case CacheFormat.BF16: Append<CacheBF16<TThread, TMemory>>(); break;
            default: Append<CacheQ8<TThread, TMemory>>(); break;
        }

        void Append<TCache>() where TCache : struct, ICacheRows<TThread, TMemory> => Launch(new Append<TThread, TMemory, TCache>
        {
            Scratch = scratch.Memory, First = storage.Memory(stream), Second = storage.Memory(secondStream), Tables = tables.Memory, X = Place(rows), Y = Place(secondRows), Step = at, Rows = rows.Rows,
        }, rows.Rows + secondRows.Rows);
    }

    public override void AttendCached(Tensor output, Tensor q, AttentionSettings attention, StepLayout step, CacheStorage cache)
    {
        int width = attention.KeyHeads * attention.HeadSize;
        Attend(output, q, new AttentionShape
        {
            QueryHeads = attention.QueryHeads, KeyHeads = attention.KeyHeads, KeySize = attention.HeadSize, ValueSize = attention.HeadSize, KeyWidth = width, ValueWidth = width, Scale = attention.Scale,
        }, step, cache, attention.KeyStream, attention.ValueStream);
    }

    public override void AttendLatentCached(Tensor output, Tensor q, LatentAttentionSettings attention, StepLayout step, CacheStorage cache)
    {
        (int heads, int n, int r, int v, int c) = (attention.Heads, attention.NopeSize, attention.RopeSize, attention.ValueSize, attention.LatentSize);
        PlacedHeads placed = HeadsOf(attention);
        int slice = Math.Max(1, latentScratchBytes / (heads * (2 * c + r) * sizeof(float)));
        for (int first = 0; first < q.Rows; first += slice)
        {
            int count = Math.Min(slice, q.Rows - first);
            Tensor rows = q.TakeRows(first, count);
            long mark = Mark();
            Tensor absorbed = Rent(count, heads * (c + r)), z = Rent(count, heads * c); // [T, H·(C+R)], [T, H·C]
            MultiplyHeads(placed.KeyUp, heads, rows, n + r, absorbed, c + r);
            Launch(new CopyParts<TThread, TMemory> { Scratch = scratch.Memory, Y = Place(absorbed), X = Place(rows), Parts = heads, Width = r, YFirst = c, YStep = c + r, XFirst = n, XStep = n + r }, count);
            Attend(z, absorbed, new AttentionShape
            {
                QueryHeads = heads, KeyHeads = 1, KeySize = c + r, ValueSize = c, KeyWidth = c + r, ValueWidth = c + r, Scale = attention.Scale, FirstPosition = attention.FirstPosition,
            }, step, cache, attention.Stream, attention.Stream, first);
            MultiplyHeads(placed.ValueUp, heads, z, c, output.TakeRows(first, count), v);
            Release(mark);
        }
    }

    /// <summary>For each head the product of its matrix with its part of every row.</summary>
    private void MultiplyHeads(PlacedMatrices<TMemory> w, int heads, Tensor x, int xPart, Tensor y, int yPart)
    {
        if (!ByTiles(x.Rows))
        {
            MultiplyBatch(w, null, new Batch(heads, -1, x.Stride, xPart, y.Stride, yPart), x, y, default, x.Rows * heads);
            return;
        }
        var tiles = new PartTiles<TMemory>(new Tiles<TMemory>(Edge, w.Rows, x.Rows), heads, xPart, yPart);
        MultiplyTiles(w.Format, block: false, FactorOf(w, y), x, default, tiles, tiles.Groups);
    }

    /// <summary>Attention of the step's rows from <paramref name="firstRow"/> on, as many as there are queries.</summary>
    private void Attend(Tensor output, Tensor q, AttentionShape shape, StepLayout step, CacheStorage cache, int keyStream, int valueStream, int firstRow = 0)
    {
        if (q.Rows == 0) return;
        StepTables at = tables.Of(step).From(firstRow);
        Divide(ref shape, q.Rows, step);
        var storage = (GpuCache<TThread, TMemory>)cache;
        long mark = Mark();
        Tensor parts = shape.Chunks == 1 ? default : Rent(q.Rows * shape.QueryHeads, shape.Chunks * shape.PartWords);
        switch (cache.Format)
        {
            case CacheFormat.F32: Attend<CacheF32<TThread, TMemory>>(); break;
            case CacheFormat.F16: Attend<CacheF16<TThread, TMemory>>(); break;
            case CacheFormat.BF16: Attend<CacheBF16<TThread, TMemory>>(); break;
            default: Attend<CacheQ8<TThread, TMemory>>(); break;
        }
        if (shape.Chunks > 1)
            Launch(new MergeAttention<TThread, TMemory> { Scratch = scratch.Memory, Shape = shape, Output = Place(output), Parts = parts.Address / sizeof(float) }, q.Rows * shape.QueryHeads);
        Release(mark);

        void Attend<TCache>() where TCache : struct, ICacheRows<TThread, TMemory> => Launch(new Attention<TThread, TMemory, TCache>
        {
            Scratch = scratch.Memory, Keys = storage.Memory(keyStream), Values = storage.Memory(valueStream), Tables = tables.Memory, Shape = shape, Step = at, Q = Place(q), Output = Place(output), Parts = parts.Address / sizeof(float),
        }, q.Rows * shape.HeadGroups * shape.Chunks, shape.SharedWords);
    }

    /// <summary>How many heads a group does at once, as shared memory allows, and into how many chunks the cache is cut, so that few queries keep the device busy too.</summary>
    private void Divide(ref AttentionShape shape, int rows, StepLayout step)
    {
        shape.Tile = runtime.GroupItems == 1 ? 32 : 64;
        shape.Together = Math.Min(shape.HeadsOfKey, 8);
        while (shape.Together > 1 && shape.SharedWords > runtime.SharedWords) shape.Together = (shape.Together + 1) / 2;
        while (shape.Tile > 8 && shape.SharedWords > runtime.SharedWords) shape.Tile /= 2;
        int length = 0;
        foreach (SequenceSlice s in step.Sequences) length = Math.Max(length, s.FirstPosition + s.RowCount);
        int wanted = Math.Max(1, runtime.BusyGroups / (rows * shape.HeadGroups));
        shape.ChunkRows = reproducible ? ReproducibleChunk : ((length + wanted - 1) / wanted + shape.Tile - 1) / shape.Tile * shape.Tile;
        shape.Chunks = (length + shape.ChunkRows - 1) / shape.ChunkRows;
    }

    private PlacedHeads HeadsOf(LatentAttentionSettings attention)
    {
        if (latentGroups.GetValueOrDefault(attention) is { } placed) return placed;
        PrepareLatent(attention);
        return latentGroups[attention] = placed = new PlacedHeads(
            weights.Heads([.. attention.KeyUp.Select(w => w.Source)], turn: !attention.KeyUpTransposed), weights.Heads([.. attention.ValueUp.Select(w => w.Source)], turn: false));
    }
}
