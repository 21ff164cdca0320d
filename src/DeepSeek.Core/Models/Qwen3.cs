using DeepSeek.Backends;
using DeepSeek.Formats;
using DeepSeek.Models.Layers;
using DeepSeek.Tensors;

namespace DeepSeek.Models;

/// <summary>
/// Qwen3 (https://arxiv.org/abs/2505.09388; reference: transformers' Qwen3ForCausalLM), also R1-0528's distilled Qwen3: Llama's shape with an RMS norm over each head's
/// queries and keys before they are rotated, and a head size that does not follow from the hidden size.
/// </summary>
internal sealed class Qwen3 : Decoder
{
    private readonly Layer[] layers;
    private readonly RotarySettings rotary;

    private Qwen3(ModelSource source, Config config) : base(source, config.Decoder)
    {
        var bound = new List<Layer>();
        for (int i = 0; i < config.Decoder.NumHiddenLayers; i++)
        {
            string name = $"model.layers.{i}.";
            int layer = i;
            var attention = new GroupedQueryAttention(source, name, config.Decoder, config.Heads, config.AttentionBias, normed: true, (kind, width) => AddStream(layer, kind, width));
            bound.Add(new Layer(attention, FeedForward.Bind(source, name, config.Decoder)));
        }
        layers = [.. bound];
        rotary = RotaryEmbedding.Read(source.Checkpoint, config.Heads.RotaryDim, RotaryPairs.HalfSplit);
    }

    public static Architecture Registration { get; } = new(["qwen3"], "Qwen3ForCausalLM", source => new Qwen3(source, Config.Read(source.Checkpoint)));

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

    private sealed record Config(DecoderConfig Decoder, GroupedQueryConfig Heads, bool AttentionBias)
    {
        public static Config Read(Checkpoint checkpoint)
        {
            ModelConfig c = checkpoint.Config;
            if (c.Bool("use_sliding_window", false))
                throw new UnsupportedModelException($"'{c.Source}': 'use_sliding_window' is true; attention in windows is not implemented for this architecture.");
            return new Config(DecoderConfig.Read(checkpoint), GroupedQueryConfig.Read(c), c.Bool("attention_bias", false));
        }
    }
}
