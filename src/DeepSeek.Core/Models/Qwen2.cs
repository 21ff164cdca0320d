using DeepSeek.Backends;
using DeepSeek.Formats;
using DeepSeek.Models.Layers;
using DeepSeek.Tensors;

namespace DeepSeek.Models;

/// <summary>
/// Qwen2 and Qwen2.5 (https://arxiv.org/abs/2407.10671; reference: transformers' Qwen2ForCausalLM), also the R1-distilled Qwens: Llama's shape with biases on queries,
/// keys and values. Windows (sliding_window, max_window_layers) count only where use_sliding_window is true, which no released model says.
/// </summary>
internal sealed class Qwen2 : Decoder
{
    private readonly Layer[] layers;
    private readonly RotarySettings rotary;

    private Qwen2(ModelSource source, Config config) : base(source, config.Decoder)
    {
        var bound = new List<Layer>();
        for (int i = 0; i < config.Decoder.NumHiddenLayers; i++)
        {
            string name = $"model.layers.{i}.";
            int layer = i;
            var attention = new GroupedQueryAttention(source, name, config.Decoder, config.Heads, biased: true, normed: false, (kind, width) => AddStream(layer, kind, width));
            bound.Add(new Layer(attention, FeedForward.Bind(source, name, config.Decoder)));
        }
        layers = [.. bound];
        rotary = RotaryEmbedding.Read(source.Checkpoint, config.Heads.RotaryDim, RotaryPairs.HalfSplit);
    }

    public static Architecture Registration { get; } = new(["qwen2"], "Qwen2ForCausalLM", source => new Qwen2(source, Config.Read(source.Checkpoint)));

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

    private sealed record Config(DecoderConfig Decoder, GroupedQueryConfig Heads)
    {
        public static Config Read(Checkpoint checkpoint)
        {
            ModelConfig c = checkpoint.Config;
            if (c.Bool("use_sliding_window", false))
                throw new UnsupportedModelException($"'{c.Source}': 'use_sliding_window' is true; attention in windows is not implemented for this architecture.");
            return new Config(DecoderConfig.Read(checkpoint), GroupedQueryConfig.Read(c));
        }
    }
}
