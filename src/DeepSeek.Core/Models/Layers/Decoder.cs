using DeepSeek.Backends;
using DeepSeek.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Models.Layers;

/// <summary>The keys of config.json that every decoder has.</summary>
internal sealed record DecoderConfig(int VocabSize, int HiddenSize, int NumHiddenLayers, int MaxPositionEmbeddings, float RmsNormEps, bool TieWordEmbeddings)
{
    /// <exception cref="InvalidModelFileException">A key is missing or impossible.</exception>
    /// <exception cref="UnsupportedModelException">Another activation than SiLU.</exception>
    public static DecoderConfig Read(Checkpoint checkpoint)
    {
        ModelConfig c = checkpoint.Config;
        if (c.Text("hidden_act") is { } act && act is not ("silu" or "swish"))
            throw new UnsupportedModelException($"'{c.Source}': 'hidden_act' is '{act}'; this architecture is implemented with 'silu' only.");
        return new DecoderConfig(c.Int("vocab_size"), c.Int("hidden_size"), c.Int("num_hidden_layers"), c.Int("max_position_embeddings", max: 1 << 30),
            (float)c.Number("rms_norm_eps", 1e-6, 0, 1), c.Bool("tie_word_embeddings", !checkpoint.Contains("lm_head.weight")));
    }

    /// <summary>A dimension that is a product of configured numbers.</summary>
    /// <exception cref="InvalidModelFileException">It is absurd.</exception>
    public static int Product(ModelConfig config, string meaning, int a, int b)
        => (long)a * b <= 1 << 28 ? a * b : throw new InvalidModelFileException($"'{config.Source}': {meaning} is {a} · {b}, more than any model has. The configuration is damaged.");
}

/// <summary>What every decoder-only model has round its layers: embedding, final norm, head, and the list of cache streams.</summary>
internal abstract class Decoder : Model
{
    private readonly List<CacheStream> streams = [];
    private readonly DeviceWeight embedding, norm, head;

    protected Decoder(ModelSource source, DecoderConfig config)
    {
        (Backend, Shape) = (source.Backend, config);
        string behind = $"model.layers.{config.NumHiddenLayers}.";
        // The published V3 has its draft module there; converters that do not know it say num_nextn_predict_layers 0 and leave it in.
        if (source.Checkpoint.Contains(behind + "input_layernorm.weight") && !source.Checkpoint.Contains(behind + "eh_proj.weight"))
            throw new InvalidModelFileException($"'{source.Config.Source}': 'num_hidden_layers' is {config.NumHiddenLayers}, but the tensor '{behind}input_layernorm.weight' says that there are more. Configuration and weights are of different models.");
        Weight table = source.Checkpoint.Get("model.embed_tokens.weight", config.VocabSize, config.HiddenSize);
        embedding = Backend.Prepare(table, WeightRole.Embedding);
        norm = source.Vector("model.norm.weight", config.HiddenSize);
        head = Backend.Prepare(config.TieWordEmbeddings ? table : source.Checkpoint.Get("lm_head.weight", config.VocabSize, config.HiddenSize), WeightRole.Head);
    }

    public sealed override int VocabularySize => Shape.VocabSize;

    public sealed override int HiddenSize => Shape.HiddenSize;

    public sealed override int LayerCount => Shape.NumHiddenLayers;

    public sealed override int MaxPositions => Shape.MaxPositionEmbeddings;

    public sealed override IReadOnlyList<CacheStream> Streams => streams;

    protected Backend Backend { get; }

    protected DecoderConfig Shape { get; }

    public sealed override void Logits(Tensor logits, Tensor hidden, ReadOnlySpan<int> rows) => Backend.Head(logits, hidden, rows, head);

    /// <summary>Declares a cache stream and returns its index.</summary>
    protected int AddStream(int layer, string kind, int width)
    {
        streams.Add(new CacheStream(layer, kind, width));
        return streams.Count - 1;
    }

    /// <summary>Writes the embeddings of the step's tokens, from another table than the model's where one is given. [T, D]</summary>
    protected void Embed(Tensor h, StepLayout step, DeviceWeight? table = null) => Backend.Embed(h, table ?? embedding, step.Tokens);

    /// <summary>The embeddings of the step's tokens, in scratch memory. [T, D]</summary>
    protected Tensor Embed(StepLayout step)
    {
        Tensor h = Backend.Rent(step.TokenCount, HiddenSize);
        Embed(h, step);
        return h;
    }

    /// <summary>The final norm, in place. [T, D]</summary>
    protected Tensor Normalise(Tensor h)
    {
        Backend.RmsNorm(h, h, norm, Shape.RmsNormEps);
        return h;
    }
}

/// <summary>Ways to bind a weight: find it by its Hugging Face name and the shape it must have, and hand it to the backend.</summary>
internal static class Binding
{
    /// <summary>A projection y = W·x. [rows, columns]</summary>
    public static DeviceWeight Matrix(this ModelSource source, string name, int rows, int columns)
        => source.Backend.Prepare(source.Checkpoint.Get(name, rows, columns), WeightRole.Matrix);

    /// <summary>A gain or bias. [length]</summary>
    public static DeviceWeight Vector(this ModelSource source, string name, int length)
        => source.Backend.Prepare(source.Checkpoint.GetVector(name, length), WeightRole.Vector);

    /// <summary>A bias that the file may have, and must have where the configuration says so. [length]</summary>
    public static DeviceWeight? Bias(this ModelSource source, string name, int length, bool required)
        => required || source.Checkpoint.Contains(name) ? source.Vector(name, length) : null;
}
