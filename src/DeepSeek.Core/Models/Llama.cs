using DeepSeek.Backends;
using DeepSeek.Formats;
using DeepSeek.Models.Layers;
using DeepSeek.Tensors;

namespace DeepSeek.Models;

/// <summary>
/// Llama (https://arxiv.org/abs/2302.13971, https://arxiv.org/abs/2407.21783; reference: transformers' LlamaForCausalLM): pre-norm decoder, grouped-query attention, SwiGLU.
/// DeepSeek-LLM, DeepSeek-Coder and the R1-distilled Llamas are of this architecture too. GGUF converters reorder the rows of q and k so that rotated pairs are neighbours.
/// </summary>
internal sealed class Llama : Decoder
{
    private readonly Layer[] layers;
    private readonly RotarySettings rotary;

    private Llama(ModelSource source, Config config) : base(source, config.Decoder)
    {
        var bound = new List<Layer>();
        for (int i = 0; i < config.Decoder.NumHiddenLayers; i++)
        {
            string name = $"model.layers.{i}.";
            int layer = i;
            var attention = new GroupedQueryAttention(source, name, config.Decoder, config.Heads, config.AttentionBias, normed: false, (kind, width) => AddStream(layer, kind, width));
            bound.Add(new Layer(attention, FeedForward.Bind(source, name, config.Decoder)));
        }
        layers = [.. bound];
        rotary = RotaryEmbedding.Read(source.Checkpoint, config.Heads.RotaryDim, config.RopeInterleaved ? RotaryPairs.Interleaved : RotaryPairs.HalfSplit);
    }

    public static Architecture Registration { get; } = new(["llama"], "LlamaForCausalLM", source => new Llama(source, Config.Read(source.Checkpoint)));

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

    private sealed record Config(DecoderConfig Decoder, GroupedQueryConfig Heads, bool AttentionBias, bool RopeInterleaved)
    {
        public static Config Read(Checkpoint checkpoint)
        {
            ModelConfig c = checkpoint.Config;
            return new Config(DecoderConfig.Read(checkpoint), GroupedQueryConfig.Read(c), c.Bool("attention_bias", false), c.Bool("rope_interleaved", false));
        }
    }
}
