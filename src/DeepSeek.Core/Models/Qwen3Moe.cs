using DeepSeek.Backends;
using DeepSeek.Formats;
using DeepSeek.Models.Layers;
using DeepSeek.Tensors;

namespace DeepSeek.Models;

/// <summary>
/// Qwen3's mixtures of experts (https://arxiv.org/abs/2505.09388; reference: transformers' Qwen3MoeForCausalLM): Qwen3's attention, and in every layer with a router
/// experts chosen by softmax, whose weights are normalised over the chosen ones. No shared expert.
/// </summary>
internal sealed class Qwen3Moe : Decoder
{
    private readonly Layer[] layers;
    private readonly RotarySettings rotary;

    private Qwen3Moe(ModelSource source, Config config) : base(source, config.Decoder)
    {
        var bound = new List<Layer>();
        for (int i = 0; i < config.Decoder.NumHiddenLayers; i++)
        {
            string name = $"model.layers.{i}.";
            int layer = i;
            var attention = new GroupedQueryAttention(source, name, config.Decoder, config.Heads, config.AttentionBias, normed: true, (kind, width) => AddStream(layer, kind, width));
            bound.Add(new Layer(attention, FeedForward.Bind(source, name, config.Decoder, config.Router)));
        }
        layers = [.. bound];
        rotary = RotaryEmbedding.Read(source.Checkpoint, config.Heads.RotaryDim, RotaryPairs.HalfSplit);
    }

    public static Architecture Registration { get; } = new(["qwen3_moe"], "Qwen3MoeForCausalLM", source => new Qwen3Moe(source, Config.Read(source.Checkpoint)));

    public override Tensor Forward(StepLayout step, CacheStorage cache)
    {
        Tensor h = Embed(step);                                                    // [T, D]
        Tensor factors = Backend.Rent(step.TokenCount, rotary.Size);               // [T, R]
        Backend.RotaryFactors(factors, rotary, step);
        foreach (Layer layer in layers)
        {
            step.Checkpoint();
            layer.Attention.Forward(h, factors, rotary, step, cache);              // h += Attention(norm(h))
            layer.Mlp.Forward(h);                                                  // h += MLP(norm(h))
        }
        return Normalise(h);
    }

    private sealed record Layer(GroupedQueryAttention Attention, FeedForward Mlp);

    private sealed record Config(DecoderConfig Decoder, GroupedQueryConfig Heads, bool AttentionBias, RouterSettings? Router)
    {
        public static Config Read(Checkpoint checkpoint)
        {
            ModelConfig c = checkpoint.Config;
            if (c.Bool("use_sliding_window", false))
                throw new UnsupportedModelException($"'{c.Source}': 'use_sliding_window' is true; attention in windows is not implemented for this architecture.");
            string experts = c.Has("num_experts") ? "num_experts" : "num_local_experts"; // transformers 5 saves it by the second name
            return new Config(DecoderConfig.Read(checkpoint), GroupedQueryConfig.Read(c), c.Bool("attention_bias", false),
                MixtureOfExperts.Router(c, experts, RouterScoring.Softmax, grouped: false, c.Bool("norm_topk_prob", false), 1));
        }
    }
}
