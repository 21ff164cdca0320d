using DeepSeek.Backends;
using DeepSeek.Formats;
using DeepSeek.Models.Layers;
using DeepSeek.Tensors;

namespace DeepSeek.Models;

/// <summary>
/// DeepSeek-V3, R1 and V3.1 (https://arxiv.org/abs/2412.19437; reference: transformers' DeepseekV3ForCausalLM), and Kimi K2: V2's latent attention; experts chosen by
/// sigmoid scores plus a bias that balances their load, within the groups with the best two, weights normalised over the chosen ones and scaled. Behind the layers a
/// module for multi-token prediction (section 2.2): from a position's hidden state and the token behind it, it guesses the token behind that. Its embedding and head are the
/// checkpoint's own copies, where it has them, else the model's.
/// </summary>
internal sealed class DeepSeekV3 : Decoder
{
    private readonly Layer[] layers;
    private readonly RotarySettings rotary;
    private readonly DraftModule? draft;

    private DeepSeekV3(ModelSource source, Config config) : base(source, config.Decoder)
    {
        var bound = new List<Layer>();
        for (int i = 0; i < config.Decoder.NumHiddenLayers; i++) bound.Add(BindLayer(source, config, i, 0));
        layers = [.. bound];
        if (config.NumNextnPredictLayers > 0) draft = BindDraft(source, config);
        rotary = RotaryEmbedding.Read(source.Checkpoint, config.Heads.QkRopeHeadDim, config.RopeInterleave ? RotaryPairs.Interleaved : RotaryPairs.HalfSplit);
    }

    public static Architecture Registration { get; } = new(["deepseek_v3", "kimi_k2"], "DeepseekV3ForCausalLM", source => new DeepSeekV3(source, Config.Read(source.Checkpoint)));

    public override int DraftModules => draft is null ? 0 : 1;

    public override Tensor Forward(StepLayout step, CacheStorage cache)
    {
        Tensor h = Embed(step);                                                    // [T, D]
        Tensor factors = Factors(step);                                            // [T, R]
        foreach (Layer layer in layers)
        {
            step.Checkpoint();
            Forward(layer, h, factors, step, cache);
        }
        return Normalise(h);
    }

    public override Tensor Draft(StepLayout step, Tensor hidden, CacheStorage cache)
    {
        if (draft is null) return base.Draft(step, hidden, cache);
        Tensor h = Backend.Rent(step.TokenCount, HiddenSize);                      // [T, D]
        long mark = Backend.Mark();
        Tensor pair = Backend.Rent(step.TokenCount, 2 * HiddenSize);               // [T, 2·D]
        Tensor e = pair.TakeColumns(0, HiddenSize), before = pair.TakeColumns(HiddenSize, HiddenSize);
        Embed(e, step, draft.Embedding);
        Backend.RmsNorm(e, e, draft.EmbeddingNorm, Shape.RmsNormEps);
        Backend.RmsNorm(before, hidden, draft.HiddenNorm, Shape.RmsNormEps);
        Backend.MatMul(h, pair, draft.Projection);                                 // h = W·[norm(E(t)) | norm(h′)]
        Forward(draft.Layer, h, Factors(step), step, cache);
        Backend.RmsNorm(h, h, draft.Norm, Shape.RmsNormEps);
        Backend.Release(mark);
        return h;
    }

    public override void DraftLogits(Tensor logits, Tensor hidden, ReadOnlySpan<int> rows)
    {
        if (draft?.Head is { } own) Backend.Head(logits, hidden, rows, own);
        else Logits(logits, hidden, rows);
    }

    private void Forward(Layer layer, Tensor h, Tensor factors, StepLayout step, CacheStorage cache)
    {
        layer.Attention.Forward(h, factors, rotary, step, cache);                  // h += LatentAttention(norm(h))
        layer.Mlp.Forward(h);                                                      // h += Σ g·E(norm(h)) + Shared(norm(h))
    }

    private Tensor Factors(StepLayout step)
    {
        Tensor factors = Backend.Rent(step.TokenCount, rotary.Size);
        Backend.RotaryFactors(factors, rotary, step);
        return factors;
    }

    private Layer BindLayer(ModelSource source, Config config, int layer, int firstPosition)
    {
        string name = $"model.layers.{layer}.";
        return new Layer(new MultiHeadLatentAttention(source, name, config.Decoder, config.Heads, (kind, width) => AddStream(layer, kind, width), firstPosition),
            FeedForward.Bind(source, name, config.Decoder, config.Router));
    }

    private DraftModule BindDraft(ModelSource source, Config config)
    {
        int layer = config.Decoder.NumHiddenLayers, d = config.Decoder.HiddenSize;
        string name = $"model.layers.{layer}.";
        DeviceWeight? Copy(string part, WeightRole role)
            => source.Checkpoint.Contains(name + part) ? source.Backend.Prepare(source.Checkpoint.Get(name + part, config.Decoder.VocabSize, d), role) : null;
        return new DraftModule(Copy("embed_tokens.weight", WeightRole.Embedding), source.Vector(name + "enorm.weight", d), source.Vector(name + "hnorm.weight", d), source.Matrix(name + "eh_proj.weight", d, 2 * d),
            BindLayer(source, config, layer, 1), source.Vector(name + "shared_head.norm.weight", d), Copy("shared_head.head.weight", WeightRole.Head));
    }

    private sealed record Layer(MultiHeadLatentAttention Attention, FeedForward Mlp);

    private sealed record DraftModule(DeviceWeight? Embedding, DeviceWeight EmbeddingNorm, DeviceWeight HiddenNorm, DeviceWeight Projection, Layer Layer, DeviceWeight Norm, DeviceWeight? Head);

    private sealed record Config(DecoderConfig Decoder, LatentConfig Heads, RouterSettings? Router, int NumNextnPredictLayers, bool RopeInterleave)
    {
        public static Config Read(Checkpoint checkpoint)
        {
            ModelConfig c = checkpoint.Config;
            MixtureOfExperts.Expect(c, "scoring_func", "sigmoid");
            MixtureOfExperts.Expect(c, "topk_method", "noaux_tc");
            return new Config(DecoderConfig.Read(checkpoint), LatentConfig.Read(c), !c.Has("n_routed_experts") ? null
                : MixtureOfExperts.Router(c, "n_routed_experts", RouterScoring.Sigmoid, grouped: true, c.Bool("norm_topk_prob", true), c.Number("routed_scaling_factor", 1)),
                c.Int("num_nextn_predict_layers", 0, 0, 64), c.Bool("rope_interleave", true));
        }
    }
}
