using System.Buffers;
using System.Text;
using System.Text.Json;

namespace DeepSeek.Formats;

/// <summary>What the files of a Hugging Face folder say in more than one way, brought to one.</summary>
internal static class HuggingFaceConfig
{
    private const int DefaultBlock = 128;

    /// <summary>
    /// config.json with the classic keys: transformers 5 writes <c>rope_parameters</c> for rope_theta and rope_scaling, <c>dtype</c> for torch_dtype, and num_local_experts for
    /// num_experts. Keys that are there already stay.
    /// </summary>
    public static ModelConfig Read(ModelConfig config)
    {
        var added = new ArrayBufferWriter<byte>();
        using (var w = new Utf8JsonWriter(added))
        {
            w.WriteStartObject();
            foreach (JsonProperty p in config.Root.EnumerateObject()) p.WriteTo(w);
            // DeepSeek-V4 keeps a set for each kind of layer in it: objects, which its own reader knows.
            if (config.Section("rope_parameters") is { } rope && !rope.Root.EnumerateObject().Any(p => p.Value.ValueKind == JsonValueKind.Object)) Rope(w, config, rope);
            if (!config.Has("torch_dtype") && config.Find("dtype") is { } type) Copy(w, "torch_dtype", type);
            if (!config.Has("num_experts") && config.Find("num_local_experts") is { } experts) Copy(w, "num_experts", experts);
            w.WriteEndObject();
        }
        return ModelConfig.Parse(added.WrittenSpan, config.Source);
    }

    /// <summary>Rows and columns that share a scale in float8 matrices.</summary>
    /// <exception cref="UnsupportedModelException">The model is quantised in another way.</exception>
    public static (int Rows, int Columns) BlockSize(ModelConfig config)
    {
        if (config.Section("quantization_config") is not { } quantisation) return (DefaultBlock, DefaultBlock);
        if (quantisation.Text("quant_method") is { } method && method != "fp8")
            throw new UnsupportedModelException($"'{config.Source}' says that the weights are quantised by '{method}'; of Hugging Face's methods only 'fp8' with block scales is read. Use the original model, or a GGUF file of it.");
        IReadOnlyList<int> size = quantisation.Ints("weight_block_size");
        if (size.Count == 0) return (DefaultBlock, DefaultBlock);
        return size is [> 0 and <= 65536, > 0 and <= 65536] ? (size[0], size[1])
            : throw quantisation.Wrong("weight_block_size", quantisation.Find("weight_block_size")!.Value, "two positive integers");
    }

    /// <summary>chat_template.jinja, or what tokenizer_config.json (or the older chat_template.json) says.</summary>
    public static string? ChatTemplate(string folder)
    {
        if (FolderFiles.Bytes(folder, "chat_template.jinja") is { } file)
        {
            try { return new UTF8Encoding(false, true).GetString(file); }
            catch (DecoderFallbackException e) { throw new InvalidModelFileException($"'{Path.Combine(folder, "chat_template.jinja")}' is no valid UTF-8.", e); }
        }
        foreach (string name in (string[])["tokenizer_config.json", "chat_template.json"])
            if (FolderFiles.Json(folder, name) is { } config && config.Find("chat_template") is { } template)
                return Template(config, template);
        return null;
    }

    private static string? Template(ModelConfig config, JsonElement template)
    {
        const string Expected = "a string, or a list of objects with name and template, one of them 'default'";
        if (template.ValueKind == JsonValueKind.String) return config.Text("chat_template");
        if (template.ValueKind != JsonValueKind.Array) throw config.Wrong("chat_template", template, Expected);
        foreach (JsonElement item in template.EnumerateArray())
        {
            if (item.ValueKind != JsonValueKind.Object) throw config.Wrong("chat_template", template, Expected);
            var named = new ModelConfig(item, config.Source);
            if (named.Text("name") == "default") return named.Text("template");
        }
        return null;
    }

    private static void Rope(Utf8JsonWriter w, ModelConfig config, ModelConfig rope)
    {
        if (!config.Has("rope_theta") && rope.Find("rope_theta") is { } theta) Copy(w, "rope_theta", theta);
        if (!config.Has("partial_rotary_factor") && rope.Find("partial_rotary_factor") is { } partial) Copy(w, "partial_rotary_factor", partial);
        if (!config.Has("rope_scaling") && (rope.Text("rope_type") ?? rope.Text("type") ?? "default") != "default") Copy(w, "rope_scaling", rope.Root);
    }

    private static void Copy(Utf8JsonWriter w, string key, JsonElement value)
    {
        w.WritePropertyName(key);
        value.WriteTo(w);
    }
}
