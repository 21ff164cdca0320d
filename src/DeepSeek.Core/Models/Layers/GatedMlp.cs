using DeepSeek.Backends;
using DeepSeek.Tensors;

namespace DeepSeek.Models.Layers;

/// <summary>The dense feed-forward network: down·(silu(gate·x) ⊙ up·x), x = norm(h).</summary>
internal sealed class GatedMlp : FeedForward
{
    private readonly Backend backend;
    private readonly float epsilon;
    private readonly DeviceWeight norm;
    private readonly GatedMlpWeights weights;
    private readonly DeviceWeight? gateBias, upBias, downBias;

    public GatedMlp(ModelSource source, string layer, DecoderConfig config)
    {
        (backend, epsilon) = (source.Backend, config.RmsNormEps);
        int d = config.HiddenSize, f = source.Config.Int("intermediate_size");
        bool biased = source.Config.Bool("mlp_bias", false);
        norm = source.Vector(layer + "post_attention_layernorm.weight", d);
        weights = Weights(source, layer + "mlp.", d, f, WeightRole.Matrix);
        gateBias = source.Bias(layer + "mlp.gate_proj.bias", f, biased);
        upBias = source.Bias(layer + "mlp.up_proj.bias", f, biased);
        downBias = source.Bias(layer + "mlp.down_proj.bias", d, biased);
    }

    /// <summary>Binds the three matrices under a prefix.</summary>
    public static GatedMlpWeights Weights(ModelSource source, string prefix, int hidden, int width, WeightRole role)
    {
        DeviceWeight Bind(string name, int rows, int columns) => source.Backend.Prepare(source.Checkpoint.Get(prefix + name, rows, columns), role);
        return new(Bind("gate_proj.weight", width, hidden), Bind("up_proj.weight", width, hidden), Bind("down_proj.weight", hidden, width));
    }

    public override void Forward(Tensor h)
    {
        if (gateBias is null && upBias is null && downBias is null)
        {
            backend.GatedMlp(h, norm, epsilon, weights);
            return;
        }
        long mark = backend.Mark();
        Tensor gate = backend.Rent(h.Rows, weights.Gate.Rows), up = backend.Rent(h.Rows, weights.Up.Rows); // [T, F]
        backend.Project(h, norm, epsilon, new Projection(gate, weights.Gate, gateBias), new Projection(up, weights.Up, upBias));
        backend.SiluMultiply(gate, up);
        backend.MatMul(h, gate, weights.Down, downBias, accumulate: true);
        backend.Release(mark);
    }
}
