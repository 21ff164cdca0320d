using DeepSeek.Backends;
using DeepSeek.Formats;
using DeepSeek.Models.Layers;
using DeepSeek.Tensors;

namespace DeepSeek.Models;

/// <summary>
/// DeepSeek-V2, V2.5, V2-Lite and Coder-V2 (https://arxiv.org/abs/2405.04434; reference: transformers' DeepseekV2ForCausalLM): multi-head latent attention, whose cache
/// holds one compressed latent a token; experts chosen by softmax, in the full models within the best groups; shared experts; YaRN. The chosen experts' weights are scaled,
/// never normalised (norm_topk_prob is ignored, as in the reference).
/// </summary>
internal sealed class DeepSeekV2 : Decoder
{
    private readonly Layer[] layers;
    private readonly RotarySettings rotary;

    private DeepSeekV2(ModelSource source, Config config) : base(source, config.Decoder)
    {
        var bound = new List<Layer>();
        for (int i = 0; i < config.Decoder.NumHiddenLayers; i++)
        {
            string name = $"model.layers.{i}.";
            int layer = i;
            var attention = new MultiHeadLatentAttention(source, name, config.Decoder, config.Heads, (kind, width) => AddStream(layer, kind, width));
            bound.Add(new Layer(attention, FeedForward.Bind(source, name, config.Decoder, config.Router)));
        }
        layers = [.. bound];
        rotary = RotaryEmbedding.Read(source.Checkpoint, config.Heads.QkRopeHeadDim, RotaryPairs.Interleaved);
    }

    public static Architecture Registration { get; } = new(["deepseek_v2"], "DeepseekV2ForCausalLM", source => new DeepSeekV2(source, Config.Read(source.Checkpoint)));

    public override Tensor Forward(StepLayout step, CacheStorage cache)
    {
        Tensor h = Embed(step);                                                    // [T, D]
        Tensor factors = Backend.Rent(step.TokenCount, rotary.Size);               // [T, R]
        Backend.RotaryFactors(factors, rotary, step);
        foreach (Layer layer in layers)
        {
            step.Checkpoint();
            layer.Attention.Forward(h, factors, rotary, step, cache);              // h += LatentAttention(norm(h))
            layer.Mlp.Forward(h);                                                  // h += Σ g·E(norm(h)) + Shared(norm(h))
        }
        return Normalise(h);
    }

    private sealed record Layer(MultiHeadLatentAttention Attention, FeedForward Mlp);

    private sealed record Config(DecoderConfig Decoder, LatentConfig Heads, RouterSettings? Router)
    {
        public static Config Read(Checkpoint checkpoint)
        {
            ModelConfig c = checkpoint.Config;
            MixtureOfExperts.Expect(c, "scoring_func", "softmax");
            MixtureOfExperts.Expect(c, "topk_method", "greedy", "group_limited_greedy");
            bool grouped = c.Text("topk_method") != "greedy";
            return new Config(DecoderConfig.Read(checkpoint), LatentConfig.Read(c), !c.Has("n_routed_experts") ? null
                : MixtureOfExperts.Router(c, "n_routed_experts", RouterScoring.Softmax, grouped, normalise: false, c.Number("routed_scaling_factor", 1)));
        }
    }
}
