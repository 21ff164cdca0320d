using System.Globalization;

namespace DeepSeek.Backends;

/// <summary>
/// Which part of a model lies on a device; the processor has the rest. Layers go to the device from the last one backwards, so that activations cross the border once a step:
/// the embedding is a row of a table, and logits are read from where the head is.
/// </summary>
/// <param name="HasEmbedding">Whether the embedding is on the device.</param>
/// <param name="FirstLayer">The device has this layer and those behind it, draft modules too.</param>
/// <param name="FirstExpertLayer">The device has the experts of this layer and those behind it; not below <paramref name="FirstLayer"/>.</param>
internal sealed record Placement(bool HasEmbedding, int FirstLayer, int FirstExpertLayer)
{
    /// <summary>Everything on the device.</summary>
    public static Placement Whole { get; } = new(true, 0, 0);

    /// <summary>Whether the device has all.</summary>
    public bool IsWhole => this == Whole;

    /// <summary>Whether a layer's attention, norms and cache are on the device.</summary>
    public bool HasLayer(int layer) => layer >= FirstLayer;

    /// <summary>Whether a weight is on the device. What is of no layer (final norm, head) always is.</summary>
    public bool Has(string name, WeightRole role)
        => role == WeightRole.Embedding ? HasEmbedding : LayerOf(name) is not { } layer || layer >= (role is WeightRole.Expert ? FirstExpertLayer : FirstLayer);

    /// <summary>The layer in a tensor's name, Hugging Face's or GGUF's; null where it names none.</summary>
    public static int? LayerOf(string name)
    {
        foreach (string prefix in (ReadOnlySpan<string>)["model.layers.", "blk."])
        {
            if (!name.StartsWith(prefix, StringComparison.Ordinal)) continue;
            int end = name.IndexOf('.', prefix.Length);
            if (end > 0 && int.TryParse(name.AsSpan(prefix.Length, end - prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int layer)) return layer;
        }
        return null;
    }
}
