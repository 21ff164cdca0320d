using DeepSeek.Backends;
using DeepSeek.Tensors;

namespace DeepSeek.Models.Layers;

/// <summary>The second half of a layer: h += F(norm(h)), dense or a mixture of experts.</summary>
internal abstract class FeedForward
{
    public abstract void Forward(Tensor h);

    /// <summary>A mixture where the layer has a router, else the dense network (addition 6: the tensors decide).</summary>
    /// <param name="source">The file.</param>
    /// <param name="layer">Prefix of the layer's names, up to and with the dot.</param>
    /// <param name="config">The model's common numbers.</param>
    /// <param name="router">How experts are chosen; null: the architecture has none.</param>
    public static FeedForward Bind(ModelSource source, string layer, DecoderConfig config, RouterSettings? router = null)
        => router is not null && source.Checkpoint.Contains(layer + "mlp.gate.weight") ? new MixtureOfExperts(source, layer, config, router) : new GatedMlp(source, layer, config);
}
