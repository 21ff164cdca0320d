using System.Buffers;
using System.Text.Json;

namespace DeepSeek.Formats;

/// <summary>Translates GGUF metadata to the keys of Hugging Face's config.json and generation_config.json (spec 3.3). Stateless but for the warnings it adds.</summary>
internal sealed class GgufConfig(GgufFile file, List<string> warnings)
{
    private readonly string arch = file.Text("general.architecture")
        ?? throw new InvalidModelFileException($"'{file.Path}' has no general.architecture. It may be no language model (a projector, an adapter, a vocabulary).");

    /// <summary>GGUF's name of the architecture.</summary>
    public string Architecture => arch;

    /// <summary>config.json.</summary>
    public ModelConfig Config() => Write(w =>
    {
        bool latent = arch is "deepseek2" or "deepseek32", v4 = arch == "deepseek4";
        long drafts = Integer("nextn_predict_layers") ?? 0, blocks = Integer("block_count") ?? throw Lacks("block_count");
        if (drafts < 0 || drafts > blocks) throw new InvalidModelFileException($"In '{file.Path}', {arch}.nextn_predict_layers is {drafts}, expected 0 to {arch}.block_count, {blocks}.");
        w.WriteString("model_type", ModelType());
        w.WriteNumber("num_hidden_layers", blocks - drafts);
        w.WriteNumber("num_nextn_predict_layers", drafts);
        long heads = PerLayer("attention.head_count") ?? throw Lacks("attention.head_count");
        w.WriteNumber("num_attention_heads", heads);
        w.WriteNumber("num_key_value_heads", latent ? heads : PerLayer("attention.head_count_kv") ?? heads);
        Copy(w, "hidden_size", Integer("embedding_length"));
        Copy(w, "intermediate_size", PerLayer("feed_forward_length"));
        Copy(w, "max_position_embeddings", Integer("context_length"));
        Copy(w, "vocab_size", file.Tensor("token_embd.weight")?.Shape[0] ?? Integer("vocab_size"));
        w.WriteBoolean("tie_word_embeddings", file.Tensor("output.weight") is null);
        Copy(w, "rms_norm_eps", "attention.layer_norm_rms_epsilon");
        Copy(w, "rope_theta", "rope.freq_base");
        Copy(w, "bos_token_id", file.Integer("tokenizer.ggml.bos_token_id"));
        EndTokens(w);
        if (latent) Latent(w);
        else Grouped(w, heads);
        if (Integer("expert_count") > 0) Experts(w);
        if (arch == "deepseek32" || v4) Indexer(w);
        if (v4) V4(w);
        RopeScaling(w, latent, v4);
    });

    /// <summary>generation_config.json.</summary>
    public ModelConfig GenerationConfig() => Write(w =>
    {
        Copy(w, "bos_token_id", file.Integer("tokenizer.ggml.bos_token_id"));
        EndTokens(w);
        Copy(w, "temperature", "general.sampling.temp", whole: true);
        Copy(w, "top_k", file.Integer("general.sampling.top_k"));
        Copy(w, "top_p", "general.sampling.top_p", whole: true);
        Copy(w, "min_p", "general.sampling.min_p", whole: true);
        Copy(w, "repetition_penalty", "general.sampling.penalty_repeat", whole: true);
    });

    private string ModelType() => arch switch
    {
        "llama" => Integer("expert_count") > 0 ? "mixtral" : "llama",
        "qwen3moe" => "qwen3_moe",
        "deepseek2" => Softmax() ? "deepseek_v2" : "deepseek_v3",
        "deepseek32" => "deepseek_v32",
        "deepseek4" => "deepseek_v4",
        _ => arch,
    };

    /// <summary>The oldest deepseek2 files say nothing: they are V2, whose gate is a softmax.</summary>
    private bool Softmax() => (Integer("expert_gating_func") ?? 1) == 1;

    private void Grouped(Utf8JsonWriter w, long heads)
    {
        // Rows of q and k of these two are permuted to interleaved pairs by the converter; every other architecture keeps halves.
        if (arch is "llama" or "deepseek") w.WriteBoolean("rope_interleaved", true);
        long? hidden = Integer("embedding_length"), head = Integer("attention.key_length") ?? (heads > 0 ? hidden / heads : null), rope = Integer("rope.dimension_count");
        Copy(w, "head_dim", head);
        if (Integer("attention.value_length") is { } value && value != head)
            throw new UnsupportedModelException($"In '{file.Path}', {arch}.attention.value_length is {value} and key_length {head}: heads whose values have another size than their keys are not supported for this architecture.");
        if (rope is { } r && head is { } h && r != h && arch != "deepseek4") w.WriteNumber("partial_rotary_factor", (double)r / h);
        if (arch == "deepseek4") Copy(w, "qk_rope_head_dim", rope);
    }

    private void Latent(Utf8JsonWriter w)
    {
        long rope = Integer("rope.dimension_count") ?? throw Lacks("rope.dimension_count");
        // Before April 2025 key_length was the expanded head itself; since then it is that of the latent form, and *_mla the expanded one.
        long key = Integer("attention.key_length_mla") ?? Integer("attention.key_length") ?? throw Lacks("attention.key_length");
        Copy(w, "q_lora_rank", Integer("attention.q_lora_rank"));
        w.WriteNumber("kv_lora_rank", Integer("attention.kv_lora_rank") ?? throw Lacks("attention.kv_lora_rank"));
        w.WriteNumber("qk_nope_head_dim", key - rope);
        w.WriteNumber("qk_rope_head_dim", rope);
        w.WriteNumber("v_head_dim", Integer("attention.value_length_mla") ?? Integer("attention.value_length") ?? throw Lacks("attention.value_length"));
    }

    private void Experts(Utf8JsonWriter w)
    {
        long count = Integer("expert_count") ?? 0;
        if (arch is "qwen3moe")
        {
            w.WriteNumber("num_experts", count);
            w.WriteBoolean("norm_topk_prob", Bool("expert_weights_norm") ?? true);
        }
        else
        {
            w.WriteNumber("n_routed_experts", count);
            w.WriteBoolean("norm_topk_prob", Bool("expert_weights_norm") ?? false);
            long gating = Integer("expert_gating_func") ?? 1;
            w.WriteString("scoring_func", gating switch
            {
                0 or 1 => "softmax",
                2 => "sigmoid",
                4 => "sqrtsoftplus",
                _ => throw new UnsupportedModelException($"In '{file.Path}', {arch}.expert_gating_func is {gating}; known are 1 (softmax), 2 (sigmoid) and 4 (square root of softplus)."),
            });
            long groups = Integer("expert_group_count") ?? (count is 160 or 256 && arch == "deepseek2" ? 8 : 1);
            w.WriteNumber("n_group", groups);
            w.WriteNumber("topk_group", Integer("expert_group_used_count") ?? (groups == 1 ? 1 : count == 160 ? 3 : 4));
            w.WriteString("topk_method", gating is 2 or 4 ? "noaux_tc" : groups > 1 ? "group_limited_greedy" : "greedy");
            // A scale of 0 stands for none.
            double scale = Number("expert_weights_scale") ?? 1;
            w.WriteNumber("routed_scaling_factor", scale == 0 ? 1 : scale);
            Copy(w, "n_shared_experts", Integer("expert_shared_count"));
            Copy(w, "first_k_dense_replace", Integer("leading_dense_block_count"));
        }
        Copy(w, "num_experts_per_tok", Integer("expert_used_count"));
        Copy(w, "moe_intermediate_size", Integer("expert_feed_forward_length"));
    }

    private void Indexer(Utf8JsonWriter w)
    {
        Copy(w, "index_n_heads", Integer("attention.indexer.head_count"));
        Copy(w, "index_head_dim", Integer("attention.indexer.key_length"));
        Copy(w, "index_topk", Integer("attention.indexer.top_k"));
    }

    private void V4(Utf8JsonWriter w)
    {
        Copy(w, "q_lora_rank", Integer("attention.q_lora_rank"));
        Copy(w, "o_lora_rank", Integer("attention.output_lora_rank"));
        Copy(w, "o_groups", Integer("attention.output_group_count"));
        Copy(w, "sliding_window", Integer("attention.sliding_window"));
        Copy(w, "compress_rope_theta", "attention.compress_rope_freq_base");
        Copy(w, "num_hash_layers", Integer("hash_layer_count"));
        Copy(w, "hc_mult", Integer("hyper_connection.count"));
        Copy(w, "hc_sinkhorn_iters", Integer("hyper_connection.sinkhorn_iterations"));
        Copy(w, "hc_eps", "hyper_connection.epsilon");
        if (file.Integers($"{arch}.attention.compress_ratios") is { } ratios)
        {
            w.WriteStartArray("compress_ratios");
            foreach (long ratio in ratios) w.WriteNumberValue(ratio);
            w.WriteEndArray();
        }
        if (file.Metadata.GetValueOrDefault($"{arch}.swiglu_clamp_exp")?.Numbers() is [var limit, ..] && double.IsFinite(limit)) w.WriteNumber("swiglu_limit", (float)limit);
    }

    private void RopeScaling(Utf8JsonWriter w, bool latent, bool v4)
    {
        string? type = Text("rope.scaling.type");
        double? factor = Number("rope.scaling.factor");
        if (type is null && Number("rope.scale_linear") is { } linear) (type, factor) = ("linear", linear);
        if (type is null or "none" || factor is null && type == "linear") return;
        w.WriteStartObject("rope_scaling");
        w.WriteString("rope_type", type);
        if (factor is { } f) w.WriteNumber("factor", f);
        Copy(w, "original_max_position_embeddings", Integer("rope.scaling.original_context_length"));
        if (type == "yarn")
        {
            w.WriteNumber("beta_fast", Number("rope.scaling.yarn_beta_fast") ?? 32);
            w.WriteNumber("beta_slow", Number("rope.scaling.yarn_beta_slow") ?? 1);
            if (v4) w.WriteNumber("attention_factor", 1);
            if (latent)
            {
                double mscale = Number("rope.scaling.yarn_log_multiplier") is { } logarithm ? Math.Round(logarithm * 10, 6) : AssumedScale();
                w.WriteNumber("mscale", mscale);
                w.WriteNumber("mscale_all_dim", mscale);
            }
        }
        w.WriteEndObject();
    }

    /// <summary>Files from before the key cannot tell; the released models have these values.</summary>
    private double AssumedScale()
    {
        double scale = Softmax() ? 0.707 : 1;
        warnings.Add($"'{file.Path}' was made before GGUF had {arch}.rope.scaling.yarn_log_multiplier, so the scale of its attention is not known; that of the released DeepSeek {(Softmax() ? "V2" : "V3")}, mscale_all_dim = {scale}, is assumed. A newly converted file is better.");
        return scale;
    }

    /// <summary>All tokens that end an answer; GGUF keeps one of each kind.</summary>
    private void EndTokens(Utf8JsonWriter w)
    {
        long[] ends = [.. new[] { "eos", "eot", "eom" }.Select(kind => file.Integer($"tokenizer.ggml.{kind}_token_id")).OfType<long>().Distinct()];
        if (ends.Length == 0) return;
        if (ends.Length == 1) { w.WriteNumber("eos_token_id", ends[0]); return; }
        w.WriteStartArray("eos_token_id");
        foreach (long end in ends) w.WriteNumberValue(end);
        w.WriteEndArray();
    }

    private ModelConfig Write(Action<Utf8JsonWriter> write)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var w = new Utf8JsonWriter(buffer))
        {
            w.WriteStartObject();
            write(w);
            w.WriteEndObject();
        }
        return ModelConfig.Parse(buffer.WrittenSpan, file.Path);
    }

    private static void Copy(Utf8JsonWriter w, string key, long? value)
    {
        if (value is { } v) w.WriteNumber(key, v);
    }

    private void Copy(Utf8JsonWriter w, string key, string from, bool whole = false)
    {
        if (Number(from, whole) is { } v) w.WriteNumber(key, v);
    }

    private string? Text(string key) => file.Text($"{arch}.{key}");

    private long? Integer(string key) => file.Integer($"{arch}.{key}");

    private bool? Bool(string key) => file.Bool($"{arch}.{key}");

    /// <summary>A number, as the shortest decimal of its float32: 1e-6, not 9.999999974752427e-7.</summary>
    private double? Number(string key, bool whole = false)
    {
        if (!whole) key = $"{arch}.{key}";
        if (file.Number(key) is not { } v) return null;
        if (!double.IsFinite(v)) throw new InvalidModelFileException($"In '{file.Path}', the metadata key '{key}' is {v}, expected a finite number.");
        return file.Metadata[key].Type == GgufValueType.Float32 ? double.Parse(((float)v).ToString("R", System.Globalization.CultureInfo.InvariantCulture), System.Globalization.CultureInfo.InvariantCulture) : v;
    }

    /// <summary>A number for each layer that must be the same in all (0 for none), or one number.</summary>
    private long? PerLayer(string key)
    {
        if (file.Metadata.GetValueOrDefault($"{arch}.{key}") is not { IsArray: true } array) return Integer(key);
        long[] values = array.Integers();
        return values.Length > 0 && values.All(v => v == values[0]) ? values[0]
            : throw new UnsupportedModelException($"In '{file.Path}', {arch}.{key} differs from layer to layer, which is not supported.");
    }

    private InvalidModelFileException Lacks(string key) => new($"'{file.Path}' lacks the metadata key '{arch}.{key}'. It may be no language model, or made by a converter of another kind.");
}
