using DeepSeek.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Generation;

/// <summary>What a checkpoint's header tells of a model.</summary>
/// <param name="Name">From the configuration, or the file's name.</param>
/// <param name="Architecture">model_type.</param>
/// <param name="Format">File format and the number format of most bytes.</param>
/// <param name="ParameterCount">All parameters.</param>
/// <param name="ActiveParameterCount">Those that a token uses: chosen experts only, draft modules left out.</param>
/// <param name="BytesPerToken">Bytes of weights that a token reads: chosen experts only, one row of the embedding, draft modules left out.</param>
internal sealed record ModelFacts(string Name, string Architecture, string Format, long ParameterCount, long ActiveParameterCount, long BytesPerToken)
{
    public static ModelFacts Of(Checkpoint checkpoint)
    {
        ModelConfig config = checkpoint.Config;
        int experts = Math.Max(config.Int("n_routed_experts", config.Int("num_experts", config.Int("num_local_experts", 0, 0, 1 << 16), 0, 1 << 16), 0, 1 << 16), 0);
        double used = experts == 0 ? 1 : Math.Min(1, config.Int("num_experts_per_tok", experts, 1, 1 << 16) / (double)experts);
        bool tied = !checkpoint.Contains("lm_head.weight");
        string draft = $"model.layers.{config.Int("num_hidden_layers", int.MaxValue, 0, int.MaxValue)}."; // behind the last layer
        long all = 0;
        double active = 0, bytes = 0;
        var byType = new Dictionary<DType, long>();
        foreach (TensorInfo t in checkpoint.Tensors)
        {
            if (t.Name.EndsWith("_scale_inv", StringComparison.Ordinal)) continue;
            long count = t.Shape.Aggregate(1L, (a, b) => a * b);
            all += count;
            byType[t.Type] = byType.GetValueOrDefault(t.Type) + t.Bytes;
            double share = t.Name.Contains(".experts.", StringComparison.Ordinal) ? used : t.Name == "model.embed_tokens.weight" && !tied ? 0 : 1;
            if (t.Name.StartsWith(draft, StringComparison.Ordinal)) share = 0;
            active += share * count;
            bytes += share * t.Bytes;
        }
        string type = byType.Count == 0 ? "no weights" : byType.MaxBy(t => t.Value).Key.Info().Name;
        string name = config.Text("_name_or_path") is { Length: > 0 } given ? given : Path.GetFileNameWithoutExtension(checkpoint.Path.TrimEnd('/', '\\'));
        return new(name, config.Text("model_type") ?? config.Find("architectures")?[0].ToString() ?? "unknown", $"{checkpoint.Format}, {type}", all, (long)active, (long)bytes);
    }
}
