using DeepSeek.Tensors;

namespace DeepSeek.Formats;

/// <summary>
/// A Hugging Face checkpoint in GGUF's terms: architecture keys (the reverse of <see cref="GgufConfig"/>), tensors renamed, experts stacked, q and k of the llama family permuted to
/// interleaved pairs, the latent up-projection split into a transposed key part and a value part a head.
/// </summary>
internal sealed class HuggingFaceExport
{
    private const string Layers = "model.layers.";
    private readonly Checkpoint source;
    private readonly ModelConfig config;
    private readonly string arch;
    private readonly int layers, drafts, heads, kvHeads, headDim;
    private readonly bool latent;

    /// <param name="source">A Hugging Face folder.</param>
    /// <param name="keepDraftModules">Whether multi-token prediction layers are written.</param>
    public HuggingFaceExport(Checkpoint source, bool keepDraftModules)
    {
        (this.source, config) = (source, source.Config);
        arch = config.Text("model_type") switch
        {
            "llama" => "llama",
            "qwen2" => "qwen2",
            "qwen3" => "qwen3",
            "qwen3_moe" => "qwen3moe",
            "deepseek" => "deepseek",
            "deepseek_v2" or "deepseek_v3" or "kimi_k2" => "deepseek2",
            "deepseek_v32" => "deepseek32",
            var other => throw new UnsupportedModelException($"'{config.Source}' is of the architecture '{other}', which cannot be converted to GGUF; llama, qwen2, qwen3, qwen3_moe, deepseek, deepseek_v2, deepseek_v3 and deepseek_v32 can."),
        };
        latent = arch is "deepseek2" or "deepseek32";
        layers = config.Int("num_hidden_layers");
        drafts = keepDraftModules || arch == "deepseek32" ? config.Int("num_nextn_predict_layers", 0, 0, layers) : 0;
        heads = config.Int("num_attention_heads");
        kvHeads = config.Int("num_key_value_heads", heads, 1, heads);
        headDim = latent ? 0 : config.Int("head_dim", config.Int("hidden_size") / heads, 1, 1 << 16);
    }

    /// <summary>What the file is and the architecture's keys.</summary>
    public void AddMetadata(GgufWriter w)
    {
        w.Add("general.architecture", arch);
        w.Add("general.type", "model");
        w.Add("general.name", Path.GetFileName(Path.GetFullPath(source.Path).TrimEnd(Path.DirectorySeparatorChar)));
        w.Add($"{arch}.block_count", layers + drafts);
        if (drafts > 0) w.Add($"{arch}.nextn_predict_layers", drafts);
        w.Add($"{arch}.context_length", config.Int("max_position_embeddings", 2048, 1, int.MaxValue));
        w.Add($"{arch}.embedding_length", config.Int("hidden_size"));
        w.Add($"{arch}.feed_forward_length", config.Int("intermediate_size"));
        w.Add($"{arch}.vocab_size", config.Int("vocab_size"));
        w.Add($"{arch}.attention.head_count", heads);
        w.Add($"{arch}.attention.layer_norm_rms_epsilon", (float)config.Number("rms_norm_eps", 1e-6));
        w.Add($"{arch}.rope.freq_base", (float)config.Number("rope_theta", 10000));
        if (latent) AddLatent(w);
        else
        {
            w.Add($"{arch}.attention.head_count_kv", kvHeads);
            w.Add($"{arch}.attention.key_length", headDim);
            w.Add($"{arch}.attention.value_length", headDim);
            w.Add($"{arch}.rope.dimension_count", (long)(headDim * config.Number("partial_rotary_factor", 1, 0, 1)));
        }
        AddExperts(w);
        if (arch == "deepseek32")
        {
            w.Add($"{arch}.attention.indexer.head_count", config.Int("index_n_heads"));
            w.Add($"{arch}.attention.indexer.key_length", config.Int("index_head_dim"));
            w.Add($"{arch}.attention.indexer.top_k", config.Int("index_topk"));
        }
        AddRopeScaling(w);
        AddSampling(w);
    }

    /// <summary>All tensors, in the order of the layers.</summary>
    public IReadOnlyList<ExportTensor> Tensors()
    {
        var tensors = new List<ExportTensor>();
        var stacks = new SortedDictionary<string, int>(StringComparer.Ordinal); // name with {e}: experts
        bool tied = config.Bool("tie_word_embeddings", false);
        Dictionary<string, TensorInfo> listed = source.Tensors.ToDictionary(t => t.Name, StringComparer.Ordinal);
        foreach (TensorInfo tensor in listed.Values.OrderBy(t => Layer(t.Name)).ThenBy(t => t.Name, StringComparer.Ordinal))
        {
            string name = tensor.Name;
            int layer = Layer(name);
            if (name.EndsWith(".weight_scale_inv", StringComparison.Ordinal) || name.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal) || tied && name == "lm_head.weight" || layer >= layers + drafts) continue;
            int at = name.IndexOf(".mlp.experts.", StringComparison.Ordinal);
            if (at >= 0)
            {
                int from = at + ".mlp.experts.".Length, to = name.IndexOf('.', from);
                if (to > from && int.TryParse(name.AsSpan(from, to - from), out int expert))
                {
                    string stacked = $"{name[..from]}{GgufNames.Expert}{name[to..]}";
                    stacks[stacked] = Math.Max(stacks.GetValueOrDefault(stacked), expert + 1);
                    continue;
                }
            }
            if (name.EndsWith(".self_attn.kv_b_proj.weight", StringComparison.Ordinal)) tensors.AddRange(SplitLatent(name, layer));
            else tensors.Add(Renamed(tensor));
        }
        foreach ((string name, int count) in stacks)
        {
            string first = name.Replace(GgufNames.Expert, "0", StringComparison.Ordinal);
            (int rows, int columns) = Matrix(listed.GetValueOrDefault(first) ?? throw new InvalidModelFileException($"'{source.Path}' holds {count} experts of '{name}', but not '{first}'."));
            tensors.Add(ExportTensor.Stack(GgufNames.ToGguf(name) ?? throw Unknown(name), [count, rows, columns], source.GetExperts(name, count, rows, columns)));
        }
        if (RopeFactors() is { } factors)
            tensors.Insert(0, ExportTensor.Computed("rope_freqs.weight", [factors.Length], (_, y) => factors.CopyTo(y), DType.F32));
        return [.. tensors.OrderBy(t => t.Name.StartsWith("blk.", StringComparison.Ordinal) ? int.Parse(t.Name.AsSpan(4, t.Name.IndexOf('.', 4) - 4), System.Globalization.CultureInfo.InvariantCulture) : -1)];
    }

    private ExportTensor Renamed(TensorInfo tensor)
    {
        string name = tensor.Name, gguf = GgufNames.ToGguf(name) ?? throw Unknown(name);
        (int rows, int columns) = Matrix(tensor);
        Weight weight = source.Get(name, rows, columns);
        Func<long, long>? permutation = null;
        if (arch is "llama" or "deepseek" && (name.Contains(".self_attn.q_proj.", StringComparison.Ordinal) || name.Contains(".self_attn.k_proj.", StringComparison.Ordinal)))
        {
            // Halves (i, i + D/2) become neighbours (2i, 2i + 1).
            long half = headDim / 2;
            permutation = row => row / headDim * headDim + row % headDim % 2 * half + row % headDim / 2;
            if (tensor.Shape.Count == 1)
                return ExportTensor.Computed(gguf, [.. tensor.Shape], (_, y) =>
                {
                    var bias = new float[y.Length];
                    Dequantise.Row(weight, 0, bias);
                    for (int i = 0; i < y.Length; i++) y[i] = bias[permutation(i)];
                });
        }
        return ExportTensor.Stack(gguf, tensor.Shape.Count == 0 ? [1] : [.. tensor.Shape], [weight], permutation);
    }

    /// <summary>kv_b_proj [H·(N + V), C] → k_b [H, C, N] and v_b [H, V, C].</summary>
    private IEnumerable<ExportTensor> SplitLatent(string name, int layer)
    {
        int nope = config.Int("qk_nope_head_dim"), value = config.Int("v_head_dim"), rank = config.Int("kv_lora_rank"), head = nope + value;
        Weight weight = source.Get(name, checked(heads * head), rank);
        // Each head's key part is needed column by column: it is read when its first row is asked for. Rows of one head may be asked for on several threads.
        var keys = new Lazy<float[]>[heads];
        for (int i = 0; i < heads; i++)
        {
            int h = i;
            keys[h] = new Lazy<float[]>(() =>
            {
                var rows = new float[nope * rank];
                for (int n = 0; n < nope; n++) Dequantise.Row(weight, h * head + n, rows.AsSpan(n * rank, rank));
                return rows;
            });
        }
        yield return ExportTensor.Computed($"blk.{layer}.attn_k_b.weight", [heads, rank, nope], (row, y) =>
        {
            float[] rows = keys[row / rank].Value;
            int c = (int)(row % rank);
            for (int n = 0; n < nope; n++) y[n] = rows[n * rank + c];
        });
        yield return ExportTensor.Computed($"blk.{layer}.attn_v_b.weight", [heads, value, rank], (row, y) => Dequantise.Row(weight, (int)(row / value * head + nope + row % value), y));
    }

    private void AddLatent(GgufWriter w)
    {
        int rope = config.Int("qk_rope_head_dim"), rank = config.Int("kv_lora_rank");
        w.Add($"{arch}.attention.head_count_kv", 1);
        if (config.Has("q_lora_rank")) w.Add($"{arch}.attention.q_lora_rank", config.Int("q_lora_rank"));
        w.Add($"{arch}.attention.kv_lora_rank", rank);
        w.Add($"{arch}.attention.key_length", rank + rope);
        w.Add($"{arch}.attention.value_length", rank);
        w.Add($"{arch}.attention.key_length_mla", config.Int("qk_nope_head_dim") + rope);
        w.Add($"{arch}.attention.value_length_mla", config.Int("v_head_dim"));
        w.Add($"{arch}.rope.dimension_count", rope);
    }

    private void AddExperts(GgufWriter w)
    {
        string count = arch == "qwen3moe" ? "num_experts" : "n_routed_experts";
        if (!config.Has(count)) return;
        w.Add($"{arch}.expert_count", config.Int(count));
        w.Add($"{arch}.expert_used_count", config.Int("num_experts_per_tok"));
        w.Add($"{arch}.expert_feed_forward_length", config.Int("moe_intermediate_size"));
        w.Add($"{arch}.expert_weights_norm", config.Bool("norm_topk_prob", false));
        if (arch == "qwen3moe") return;
        w.Add($"{arch}.expert_shared_count", config.Int("n_shared_experts", 0, 0, 1024));
        w.Add($"{arch}.expert_weights_scale", (float)config.Number("routed_scaling_factor", 1));
        w.Add($"{arch}.expert_gating_func", config.Text("scoring_func") == "sigmoid" || config.Text("model_type") is "deepseek_v3" or "deepseek_v32" or "kimi_k2" && !config.Has("scoring_func") ? 2 : 1);
        w.Add($"{arch}.leading_dense_block_count", config.Int("first_k_dense_replace", 0, 0, layers));
        if (!config.Has("n_group")) return;
        w.Add($"{arch}.expert_group_count", config.Int("n_group"));
        w.Add($"{arch}.expert_group_used_count", config.Int("topk_group", 1, 1, 1024));
    }

    private void AddRopeScaling(GgufWriter w)
    {
        if (config.Section("rope_scaling") is not { } scaling) return;
        string type = scaling.Text("rope_type") ?? scaling.Text("type") ?? "default";
        if (type is "default" or "llama3") return; // llama3's factors become a tensor
        if (type is not ("linear" or "yarn")) throw new UnsupportedModelException($"'{config.Source}' scales positions by '{type}'; linear, llama3 and yarn can be converted.");
        w.Add($"{arch}.rope.scaling.type", type);
        w.Add($"{arch}.rope.scaling.factor", (float)scaling.Number("factor"));
        if (type == "linear") return;
        w.Add($"{arch}.rope.scaling.original_context_length", scaling.Int("original_max_position_embeddings", config.Int("max_position_embeddings"), 1, int.MaxValue));
        w.Add($"{arch}.rope.scaling.yarn_beta_fast", (float)scaling.Number("beta_fast", 32));
        w.Add($"{arch}.rope.scaling.yarn_beta_slow", (float)scaling.Number("beta_slow", 1));
        if (latent) w.Add($"{arch}.rope.scaling.yarn_log_multiplier", (float)(0.1 * scaling.Number("mscale_all_dim", 0)));
    }

    private void AddSampling(GgufWriter w)
    {
        ModelConfig defaults = source.GenerationConfig;
        if (defaults.Has("temperature")) w.Add("general.sampling.temp", (float)defaults.Number("temperature"));
        if (defaults.Has("top_k")) w.Add("general.sampling.top_k", defaults.Int("top_k", 0, 0, int.MaxValue));
        if (defaults.Has("top_p")) w.Add("general.sampling.top_p", (float)defaults.Number("top_p"));
        if (defaults.Has("min_p")) w.Add("general.sampling.min_p", (float)defaults.Number("min_p"));
        if (defaults.Has("repetition_penalty")) w.Add("general.sampling.penalty_repeat", (float)defaults.Number("repetition_penalty"));
    }

    /// <summary>What llama3's scaling divides each frequency by; null for other scalings. (spec 2.2)</summary>
    private float[]? RopeFactors()
    {
        if (config.Section("rope_scaling") is not { } scaling || (scaling.Text("rope_type") ?? scaling.Text("type")) != "llama3") return null;
        double theta = config.Number("rope_theta", 10000), factor = scaling.Number("factor", 8), low = scaling.Number("low_freq_factor", 1), high = scaling.Number("high_freq_factor", 4);
        double original = scaling.Int("original_max_position_embeddings", 8192, 1, int.MaxValue);
        var factors = new float[headDim / 2];
        for (int i = 0; i < factors.Length; i++)
        {
            double wavelength = 2 * Math.PI * Math.Pow(theta, 2.0 * i / headDim), smooth = (original / wavelength - low) / (high - low);
            factors[i] = (float)(wavelength < original / high ? 1 : wavelength > original / low ? factor : 1 / ((1 - smooth) / factor + smooth));
        }
        return factors;
    }

    private static (int Rows, int Columns) Matrix(TensorInfo tensor)
    {
        long rows = tensor.Shape.Take(Math.Max(0, tensor.Shape.Count - 1)).Aggregate(1L, (a, b) => a * b), columns = tensor.Shape.Count == 0 ? 1 : tensor.Shape[^1];
        return rows is > 0 and <= int.MaxValue && columns is > 0 and <= int.MaxValue ? ((int)rows, (int)columns)
            : throw new InvalidModelFileException($"The tensor '{tensor.Name}' has shape [{string.Join(", ", tensor.Shape)}], which cannot be converted.");
    }

    private static int Layer(string name)
    {
        int dot = name.StartsWith(Layers, StringComparison.Ordinal) ? name.IndexOf('.', Layers.Length) : -1;
        return dot > 0 && int.TryParse(name.AsSpan(Layers.Length, dot - Layers.Length), out int layer) ? layer : -1;
    }

    private UnsupportedModelException Unknown(string name) => new($"The tensor '{name}' in '{source.Path}' has no name in GGUF that is known, so the model cannot be converted without losing it.");
}
