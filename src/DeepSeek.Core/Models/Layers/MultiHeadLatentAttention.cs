using DeepSeek.Backends;
using DeepSeek.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Models.Layers;

/// <summary>The keys of config.json of latent attention. Files saved by transformers 5 carry a head_dim too, which means nothing here.</summary>
internal sealed record LatentConfig(int NumAttentionHeads, int? QLoraRank, int KvLoraRank, int QkNopeHeadDim, int QkRopeHeadDim, int VHeadDim, bool AttentionBias)
{
    /// <exception cref="InvalidModelFileException">A key is missing or impossible.</exception>
    public static LatentConfig Read(ModelConfig c)
    {
        int rope = c.Int("qk_rope_head_dim", 2, 1 << 16);
        if (rope % 2 != 0) throw new InvalidModelFileException($"'{c.Source}': 'qk_rope_head_dim' is {rope}, expected an even number.");
        return new LatentConfig(c.Int("num_attention_heads"), c.Has("q_lora_rank") && c.Int("q_lora_rank", 0, 0, 1 << 24) is > 0 and var rank ? rank : null, c.Int("kv_lora_rank"),
            c.Int("qk_nope_head_dim", 1, 1 << 16), rope, c.Int("v_head_dim", 1, 1 << 16), c.Bool("attention_bias", false));
    }
}

/// <summary>
/// h += Wo·LatentAttention(q, c̃ | k_pe) (DeepSeek-V2, https://arxiv.org/abs/2405.04434, section 2.1; spec 2.4): the cache holds one normalised latent and one rotated key a
/// token, from which every head's keys and values are made.
/// </summary>
internal sealed class MultiHeadLatentAttention
{
    /// <summary>Epsilon of the latents' norms, whatever rms_norm_eps says (addition 11).</summary>
    private const float LatentEpsilon = 1e-6f;

    private readonly Backend backend;
    private readonly float epsilon;
    private readonly DeviceWeight norm, query, latent, latentNorm, output;
    private readonly DeviceWeight? queryDown, queryDownBias, queryDownNorm, latentBias, outputBias;
    private readonly LatentAttentionSettings settings;

    /// <param name="source">The file.</param>
    /// <param name="layer">Prefix of the layer's names, up to and with the dot.</param>
    /// <param name="config">The model's common numbers.</param>
    /// <param name="heads">The heads.</param>
    /// <param name="addStream">Declares a cache stream (kind, width) and returns its index.</param>
    /// <param name="firstPosition">Position of the stream's first row.</param>
    public MultiHeadLatentAttention(ModelSource source, string layer, DecoderConfig config, LatentConfig heads, Func<string, int, int> addStream, int firstPosition = 0)
    {
        (backend, epsilon) = (source.Backend, config.RmsNormEps);
        (int h, int n, int r, int v, int c, int d) = (heads.NumAttentionHeads, heads.QkNopeHeadDim, heads.QkRopeHeadDim, heads.VHeadDim, heads.KvLoraRank, config.HiddenSize);
        int q = DecoderConfig.Product(source.Config, "the width of all queries", h, n + r), o = DecoderConfig.Product(source.Config, "the width of all values", h, v);
        string attention = layer + "self_attn.";
        norm = source.Vector(layer + "input_layernorm.weight", d);
        if (heads.QLoraRank is { } rank)
        {
            queryDown = source.Matrix(attention + "q_a_proj.weight", rank, d);
            queryDownBias = source.Bias(attention + "q_a_proj.bias", rank, heads.AttentionBias);
            queryDownNorm = source.Vector(attention + "q_a_layernorm.weight", rank);
            query = source.Matrix(attention + "q_b_proj.weight", q, rank);
        }
        else query = source.Matrix(attention + "q_proj.weight", q, d);
        latent = source.Matrix(attention + "kv_a_proj_with_mqa.weight", c + r, d);
        latentBias = source.Bias(attention + "kv_a_proj_with_mqa.bias", c + r, heads.AttentionBias);
        latentNorm = source.Vector(attention + "kv_a_layernorm.weight", c);
        output = source.Matrix(attention + "o_proj.weight", d, o);
        outputBias = source.Bias(attention + "o_proj.bias", d, heads.AttentionBias);
        (DeviceWeight[] keyUp, bool transposed, DeviceWeight[] valueUp) = Up(source, attention, heads);
        float scale = (float)(RotaryEmbedding.LatentScale(source.Config) / Math.Sqrt(n + r));
        settings = new LatentAttentionSettings(h, n, r, v, c, scale, addStream("latent", c + r), keyUp, transposed, valueUp, firstPosition);
        backend.PrepareLatent(settings);
    }

    public void Forward(Tensor h, Tensor factors, RotarySettings rotary, StepLayout step, CacheStorage cache)
    {
        long mark = backend.Mark();
        (int n, int r, int c) = (settings.NopeSize, settings.RopeSize, settings.LatentSize);
        Tensor q = backend.Rent(h.Rows, query.Rows), cKv = backend.Rent(h.Rows, c + r); // [T, H·(N+R)], [T, C+R]
        if (queryDown is null) backend.Project(h, norm, epsilon, new Projection(q, query), new Projection(cKv, latent, latentBias));
        else
        {
            Tensor cQ = backend.Rent(h.Rows, queryDown.Rows); // [T, Q]
            backend.Project(h, norm, epsilon, new Projection(cQ, queryDown, queryDownBias), new Projection(cKv, latent, latentBias));
            backend.Project(cQ, queryDownNorm, LatentEpsilon, new Projection(q, query));
        }
        backend.RmsNorm(cKv.TakeColumns(0, c), cKv.TakeColumns(0, c), latentNorm, LatentEpsilon);
        backend.Rotate(q, factors, rotary, n + r, n);
        backend.Rotate(cKv, factors, rotary, c + r, c);
        Tensor o = backend.Rent(h.Rows, output.Columns); // [T, H·V]
        backend.AttendLatent(o, q, cKv, settings, step, cache);
        backend.MatMul(h, o, output, outputBias, accumulate: true);
        backend.Release(mark);
    }

    /// <summary>The matrices that make keys and values of latents, head by head: whole (kv_b_proj), or apart with the keys' transposed (GGUF since April 2025).</summary>
    private static (DeviceWeight[] KeyUp, bool Transposed, DeviceWeight[] ValueUp) Up(ModelSource source, string attention, LatentConfig heads)
    {
        (int h, int n, int v, int c) = (heads.NumAttentionHeads, heads.QkNopeHeadDim, heads.VHeadDim, heads.KvLoraRank);
        bool apart = source.Checkpoint.Contains(attention + "k_b_proj.weight");
        if (apart)
            return (Slices(source.Checkpoint.Get(attention + "k_b_proj.weight", DecoderConfig.Product(source.Config, "the height of k_b", h, c), n), 0, c, c), true,
                Slices(source.Checkpoint.Get(attention + "v_b_proj.weight", h * v, c), 0, v, v));
        Weight whole = source.Checkpoint.Get(attention + "kv_b_proj.weight", DecoderConfig.Product(source.Config, "the height of kv_b", h, n + v), c);
        return (Slices(whole, 0, n, n + v), false, Slices(whole, n, v, n + v));

        DeviceWeight[] Slices(Weight stack, int first, int rows, int stride)
        {
            var slices = new DeviceWeight[h];
            for (int i = 0; i < h; i++) slices[i] = source.Backend.Prepare(stack.Slice(first + i * stride, rows), WeightRole.Matrix);
            return slices;
        }
    }
}
