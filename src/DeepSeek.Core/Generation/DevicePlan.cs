using System.Globalization;
using DeepSeek.Backends;
using DeepSeek.Formats;
using DeepSeek.Models;

namespace DeepSeek.Generation;

/// <summary>Where the parts of a model go, decided from the file's header before anything is loaded.</summary>
/// <param name="Placement">What the device has.</param>
/// <param name="Cache">The attention cache.</param>
/// <param name="DeviceWeightBytes">Bytes of weights that go to the device, as it keeps them.</param>
/// <param name="DeviceCacheBytes">Bytes of cache that go to the device.</param>
/// <param name="Text">The same for people.</param>
/// <param name="Share">The part of the model's weights that goes to the device.</param>
internal sealed record DevicePlan(Placement Placement, CachePlan Cache, long DeviceWeightBytes, long DeviceCacheBytes, string Text, double Share)
{
    /// <summary>Of a device's free memory, what a model may take where nobody says: activations and the driver want some too.</summary>
    private const double FreeShare = 0.9;

    /// <summary>Bytes of weights and cache that go to the device.</summary>
    public long Bytes => DeviceWeightBytes + DeviceCacheBytes;

    /// <summary>What the machine's memory has to hold then.</summary>
    public MemoryBudget OnHost(MemoryBudget memory) => memory with { WeightBytes = (long)(memory.WeightBytes * (1 - Share)) };

    /// <summary>Plans for a device's memory; null where the model runs on the processor.</summary>
    /// <param name="options">Device and budget.</param>
    /// <param name="checkpoint">The file.</param>
    /// <param name="format">How the cache is stored.</param>
    /// <param name="memory">The machine's memory.</param>
    /// <exception cref="ModelMemoryException">There is no room for the cache, or the device has none for the head and one layer.</exception>
    public static DevicePlan? Of(LanguageModelOptions options, Checkpoint checkpoint, CacheFormat format, MemoryBudget memory)
    {
        if (options.Device is not IBackendDevice device) return null;
        using var headers = new ReferenceBackend(); // binding reads headers only: it tells the streams
        Model model = Architectures.Bind(new ModelSource(checkpoint, headers));
        var parts = new Parts(checkpoint, model.LayerCount, device);
        long budget = options.DeviceBytes ?? (device.AvailableBytes is { } free ? (long)(free * FreeShare) : long.MaxValue);
        // A device without a bound of its own shares the machine's memory.
        long room = budget == long.MaxValue ? memory.CacheRoom : budget;
        if (budget > parts.Total && WholeCache(options, model, format, budget == long.MaxValue ? room : budget - parts.Total) is { } all && all.Bytes <= budget - parts.Total)
            return new(Placement.Whole, all, parts.Total, all.Bytes, Describe(options.Device.Name, Placement.Whole, parts, model.LayerCount, parts.Total, all.Bytes), 1);
        return Split(options, model, format, parts, budget, Math.Min(room, (memory with { WeightBytes = (long)(memory.WeightBytes * Math.Max(1 - budget / (double)parts.Total, 0)) }).CacheRoom));
    }

    /// <summary>The cache beside a whole model on the device; null where what is left is too little for it.</summary>
    private static CachePlan? WholeCache(LanguageModelOptions options, Model model, CacheFormat format, long room)
    {
        try { return CachePlan.For(options, model.Streams, format, model.MaxPositions, room) is { IsShortened: false } plan ? plan : null; }
        catch (ModelMemoryException) { return null; }
    }

    private static DevicePlan Split(LanguageModelOptions options, Model model, CacheFormat format, Parts parts, long budget, long cacheRoom)
    {
        CachePlan cache;
        try { cache = CachePlan.For(options, model.Streams, format, model.MaxPositions, cacheRoom); }
        catch (ModelMemoryException e)
        {
            throw new ModelMemoryException(string.Create(CultureInfo.InvariantCulture, $"A model may take {budget / 1e6:0.###} MB of the device '{options.Device.Name}'. {e.Message}"), e.RequiredBytes, budget);
        }
        long[] rows = [.. Enumerable.Range(0, parts.Count).Select(layer => CacheStorage.BytesOfBlock([.. model.Streams.Where(s => s.Layer == layer)], format, CachePlan.BlockTokens) * cache.BlockCount)];
        long weights = parts.Head, cached = 0;
        bool Take(long bytes, long cacheBytes)
        {
            if (weights + cached + bytes + cacheBytes > budget) return false;
            (weights, cached) = (weights + bytes, cached + cacheBytes);
            return true;
        }
        // Experts are most of a mixture's bytes and the least read of them: everything else goes to the device first, where that fits.
        bool apart = parts.Experts.Sum() > 0 && parts.Head + parts.Layers.Sum() + rows.Sum() <= budget;
        int firstLayer = parts.Count, firstExperts = parts.Count;
        while (firstLayer > 0 && Take(parts.Layers[firstLayer - 1] + (apart ? 0 : parts.Experts[firstLayer - 1]), rows[firstLayer - 1])) firstLayer--;
        if (!apart) firstExperts = firstLayer;
        else while (firstExperts > 0 && Take(parts.Experts[firstExperts - 1], 0)) firstExperts--;
        if (firstLayer == parts.Count)
        {
            long least = parts.Head + parts.Layers[^1] + parts.Experts[^1] + rows[^1];
            throw new ModelMemoryException(string.Create(CultureInfo.InvariantCulture,
                $"A model may take {budget / 1e6:0.###} MB of the device '{options.Device.Name}'; this one's head and last layer with its cache take {least / 1e6:0.###} MB. Raise {nameof(options.DeviceBytes)}, ask for a shorter {nameof(options.ContextLength)} or a smaller {nameof(options.CacheType)}, or run it on {nameof(ComputeDevice)}.{nameof(ComputeDevice.Cpu)}."),
                least, budget);
        }
        var placement = new Placement(firstLayer == 0 && firstExperts == 0 && Take(parts.Embedding, 0), firstLayer, firstExperts);
        return new(placement, cache, weights, cached, Describe(options.Device.Name, placement, parts, model.LayerCount, weights, cached), weights / (double)parts.Total);
    }

    private static string Describe(string device, Placement p, Parts parts, int layers, long weights, long cache)
    {
        string held = string.Create(CultureInfo.InvariantCulture, $"({weights / 1e6:0.#} MB of weights, {cache / 1e6:0.#} MB of cache)");
        if (p.IsWhole) return $"all on {device} {held}";
        string what = p.FirstLayer > 0 ? $"{layers - Math.Min(p.FirstLayer, layers)} of {layers} layers (the last ones) and the head"
            : p.FirstExpertLayer > 0 ? $"everything but the experts of {parts.Experts.Take(p.FirstExpertLayer).Count(e => e > 0)} of {parts.Experts.Count(e => e > 0)} layers{(p.HasEmbedding ? "" : " and the embedding")}"
            : "everything but the embedding";
        return $"{device}: {what} {held}; cpu: the rest";
    }

    /// <summary>Bytes of a model's parts as the device keeps them.</summary>
    private sealed class Parts
    {
        public Parts(Checkpoint checkpoint, int layers, IBackendDevice device)
        {
            int count = checkpoint.Tensors.Select(t => Placement.LayerOf(t.Name) + 1 ?? 0).Append(layers).Max();
            (Layers, Experts) = (new long[count], new long[count]);
            foreach (TensorInfo t in checkpoint.Tensors)
            {
                int columns = t.Shape.Count == 0 ? 1 : checked((int)t.Shape[^1]);
                long rows = t.Shape.Aggregate(1L, (product, d) => product * d) / Math.Max(columns, 1), bytes = device.BytesOf(t.Type, rows, columns);
                if (Placement.LayerOf(t.Name) is { } layer) (t.Name.Contains(".experts.", StringComparison.Ordinal) ? Experts : Layers)[layer] += bytes;
                else if (t.Name == "model.embed_tokens.weight") Embedding += bytes;
                else Head += bytes;
            }
            // A tied head is the embedding's table once more; on a device that has both it lies there once.
            if (!checkpoint.Contains("lm_head.weight")) (Head, Embedding) = (Head + Embedding, 0);
            Total = Layers.Sum() + Experts.Sum() + Embedding + Head;
        }

        public int Count => Layers.Length;

        /// <summary>Without experts.</summary>
        public long[] Layers { get; }

        public long[] Experts { get; }

        public long Embedding { get; }

        /// <summary>Head, final norm, and what else is of no layer.</summary>
        public long Head { get; }

        public long Total { get; }
    }
}
