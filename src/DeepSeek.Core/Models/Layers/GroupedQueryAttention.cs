using DeepSeek.Backends;
using DeepSeek.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Models.Layers;

/// <summary>The keys of config.json of grouped-query attention.</summary>
internal sealed record GroupedQueryConfig(int NumAttentionHeads, int NumKeyValueHeads, int HeadDim, int RotaryDim)
{
    /// <exception cref="InvalidModelFileException">Heads that cannot be.</exception>
    public static GroupedQueryConfig Read(ModelConfig c)
    {
        int heads = c.Int("num_attention_heads"), keyHeads = c.Int("num_key_value_heads", heads, 1, heads), hidden = c.Int("hidden_size");
        if (heads % keyHeads != 0) throw new InvalidModelFileException($"'{c.Source}': 'num_key_value_heads' is {keyHeads}, which does not divide 'num_attention_heads' {heads}.");
        if (!c.Has("head_dim") && hidden % heads != 0)
            throw new InvalidModelFileException($"'{c.Source}': 'num_attention_heads' is {heads}, which does not divide 'hidden_size' {hidden}, and there is no 'head_dim'.");
        int size = c.Int("head_dim", hidden / heads, 1, 1 << 16);
        int rotated = (int)(size * c.Number("partial_rotary_factor", 1, 0, 1));
        if (rotated < 2 || rotated % 2 != 0) throw new InvalidModelFileException($"'{c.Source}': {rotated} of a head's {size} dimensions ('head_dim') are to be rotated, expected an even number.");
        return new GroupedQueryConfig(heads, keyHeads, size, rotated);
    }
}

/// <summary>h += Wo·Attention(q, k, v), with biases and with norms of each head's queries and keys where the model has them (spec 2.3).</summary>
internal sealed class GroupedQueryAttention
{
    private readonly Backend backend;
    private readonly float epsilon;
    private readonly DeviceWeight norm, query, key, value, output;
    private readonly DeviceWeight? queryBias, keyBias, valueBias, outputBias, queryNorm, keyNorm;
    private readonly AttentionSettings settings;

    /// <param name="source">The file.</param>
    /// <param name="layer">Prefix of the layer's names, up to and with the dot.</param>
    /// <param name="config">The model's common numbers.</param>
    /// <param name="heads">The heads.</param>
    /// <param name="biased">Whether q, k and v must have a bias.</param>
    /// <param name="normed">Whether each head's queries and keys are normalised.</param>
    /// <param name="addStream">Declares a cache stream (kind, width) and returns its index.</param>
    public GroupedQueryAttention(ModelSource source, string layer, DecoderConfig config, GroupedQueryConfig heads, bool biased, bool normed, Func<string, int, int> addStream)
    {
        (backend, epsilon) = (source.Backend, config.RmsNormEps);
        int d = config.HiddenSize, size = heads.HeadDim;
        int q = DecoderConfig.Product(source.Config, "the width of all queries", heads.NumAttentionHeads, size);
        int kv = DecoderConfig.Product(source.Config, "the width of all keys", heads.NumKeyValueHeads, size);
        string attention = layer + "self_attn.";
        norm = source.Vector(layer + "input_layernorm.weight", d);
        query = source.Matrix(attention + "q_proj.weight", q, d);
        key = source.Matrix(attention + "k_proj.weight", kv, d);
        value = source.Matrix(attention + "v_proj.weight", kv, d);
        output = source.Matrix(attention + "o_proj.weight", d, q);
        queryBias = source.Bias(attention + "q_proj.bias", q, biased);
        keyBias = source.Bias(attention + "k_proj.bias", kv, biased);
        valueBias = source.Bias(attention + "v_proj.bias", kv, biased);
        outputBias = source.Bias(attention + "o_proj.bias", d, required: false);
        if (normed)
        {
            queryNorm = source.Vector(attention + "q_norm.weight", size);
            keyNorm = source.Vector(attention + "k_norm.weight", size);
        }
        settings = new AttentionSettings(heads.NumAttentionHeads, heads.NumKeyValueHeads, size, (float)(1 / Math.Sqrt(size)), addStream("key", kv), addStream("value", kv));
    }

    public void Forward(Tensor h, Tensor factors, RotarySettings rotary, StepLayout step, CacheStorage cache)
    {
        long mark = backend.Mark();
        int size = settings.HeadSize;
        Tensor q = backend.Rent(h.Rows, query.Rows), k = backend.Rent(h.Rows, key.Rows), v = backend.Rent(h.Rows, value.Rows); // [T, H·D], [T, G·D], [T, G·D]
        backend.Project(h, norm, epsilon, new Projection(q, query, queryBias), new Projection(k, key, keyBias), new Projection(v, value, valueBias));
        if (queryNorm is not null) backend.RmsNorm(q, q, queryNorm, epsilon);
        if (keyNorm is not null) backend.RmsNorm(k, k, keyNorm, epsilon);
        backend.Rotate(q, factors, rotary, size, 0);
        backend.Rotate(k, factors, rotary, size, 0);
        Tensor o = backend.Rent(h.Rows, query.Rows); // [T, H·D]
        backend.Attend(o, q, k, v, settings, step, cache);
        backend.MatMul(h, o, output, outputBias, accumulate: true);
        backend.Release(mark);
    }
}
