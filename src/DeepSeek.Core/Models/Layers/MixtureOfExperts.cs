using DeepSeek.Backends;
using DeepSeek.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Models.Layers;

/// <summary>A mixture of experts with its router, and the shared expert where the model has one (spec 2.6).</summary>
internal sealed class MixtureOfExperts : FeedForward
{
    private readonly Backend backend;
    private readonly float epsilon;
    private readonly DeviceWeight norm;
    private readonly ExpertWeights weights;

    public MixtureOfExperts(ModelSource source, string layer, DecoderConfig config, RouterSettings settings)
    {
        (backend, epsilon) = (source.Backend, config.RmsNormEps);
        int d = config.HiddenSize, f = source.Config.Int("moe_intermediate_size"), e = settings.ExpertCount, shared = source.Config.Int("n_shared_experts", 0, 0, 1024);
        norm = source.Vector(layer + "post_attention_layernorm.weight", d);
        DeviceWeight router = backend.Prepare(source.Checkpoint.Get(layer + "mlp.gate.weight", e, d), WeightRole.Router);
        DeviceWeight? bias = source.Bias(layer + "mlp.gate.e_score_correction_bias", e, settings.Scoring == RouterScoring.Sigmoid);
        Weight[] gate = source.Checkpoint.GetExperts(layer + "mlp.experts.{e}.gate_proj.weight", e, f, d);
        Weight[] up = source.Checkpoint.GetExperts(layer + "mlp.experts.{e}.up_proj.weight", e, f, d);
        Weight[] down = source.Checkpoint.GetExperts(layer + "mlp.experts.{e}.down_proj.weight", e, d, f);
        var experts = new GatedMlpWeights[gate.Length];
        for (int i = 0; i < experts.Length; i++) experts[i] = new(Expert(gate[i]), Expert(up[i]), Expert(down[i]));
        weights = new ExpertWeights(settings, router, bias, experts, shared == 0 ? null
            : GatedMlp.Weights(source, layer + "mlp.shared_experts.", d, DecoderConfig.Product(source.Config, "the shared expert's width", shared, f), WeightRole.Matrix));
        backend.PrepareExperts(weights);

        DeviceWeight Expert(Weight w) => backend.Prepare(w, WeightRole.Expert);
    }

    public override void Forward(Tensor h) => backend.Experts(h, norm, epsilon, weights);

    /// <summary>Checks that the routing can be: groups divide the experts, and those kept hold enough of them.</summary>
    /// <exception cref="InvalidModelFileException">It cannot.</exception>
    public static RouterSettings Router(ModelConfig c, string expertsKey, RouterScoring scoring, bool grouped, bool normalise, double scale)
    {
        int experts = c.Int(expertsKey), top = c.Int("num_experts_per_tok"), groups = grouped ? c.Int("n_group", 1, 1, experts) : 1, kept = grouped ? c.Int("topk_group", groups, 1, groups) : 1;
        if (experts % groups != 0) throw new InvalidModelFileException($"'{c.Source}': 'n_group' is {groups}, which does not divide '{expertsKey}' {experts}.");
        if (top > experts / groups * kept)
            throw new InvalidModelFileException($"'{c.Source}': 'num_experts_per_tok' is {top}, but the {kept} group(s) kept of {groups} ('topk_group', 'n_group') hold {experts / groups * kept} of {experts} experts.");
        return new RouterSettings(experts, top, scoring, groups, kept, normalise, (float)scale);
    }

    /// <summary>Checks a key that names a way of routing.</summary>
    /// <exception cref="UnsupportedModelException">Another way.</exception>
    public static void Expect(ModelConfig c, string key, params ReadOnlySpan<string> known)
    {
        if (c.Text(key) is { } seen && !known.Contains(seen))
            throw new UnsupportedModelException($"'{c.Source}': '{key}' is '{seen}'; this architecture is implemented with {string.Join(" or ", known!)}.");
    }
}
