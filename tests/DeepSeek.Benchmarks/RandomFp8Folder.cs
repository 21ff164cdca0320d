using System.Globalization;
using System.IO.Compression;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace DeepSeek.Benchmarks;

/// <summary>
/// Writes a Hugging Face folder of random float8 weights in DeepSeek-V3's layout (128×128 block scales, one shard a layer), of about a given size: for measuring memory and speed
/// where a real checkpoint of that size is not at hand. It writes noise. The tokenizer is the embedded tiny-reasoner's unless another is given.
/// </summary>
internal static class RandomFp8Folder
{
    private const int Hidden = 2048, Heads = 16, Latent = 512, QueryLatent = 768, Nope = 128, Rope = 64, Value = 128, Experts = 64, ExpertSize = 1024, DenseSize = 5632;

    /// <summary>Bytes of one layer of experts, near enough.</summary>
    private const long LayerBytes = 3L * Experts * ExpertSize * Hidden;

    /// <param name="folder">The folder.</param>
    /// <param name="gigabytes">Size of its layers, about.</param>
    /// <param name="tokenizer">A tokenizer.json, compressed or not; null for the embedded one.</param>
    public static void Write(string folder, double gigabytes, string? tokenizer)
    {
        Directory.CreateDirectory(folder);
        int layers = 2 + (int)Math.Ceiling(gigabytes * 1e9 / LayerBytes);
        string embedded = Path.Combine(Root(), "samples", "models", "tiny-reasoner");
        File.Copy(Path.Combine(embedded, "tokenizer_config.json"), Path.Combine(folder, "tokenizer_config.json"), true);
        using (Stream from = File.OpenRead(tokenizer ?? Path.Combine(embedded, "tokenizer.json")), to = File.Create(Path.Combine(folder, "tokenizer.json")))
            (tokenizer?.EndsWith(".gz", StringComparison.Ordinal) == true ? new GZipStream(from, CompressionMode.Decompress) : from).CopyTo(to);
        Tokenizer tokens = Tokenizer.Load(Path.Combine(folder, "tokenizer.json"));
        int vocabulary = (tokens.VocabularySize + 639) / 640 * 640; // rounded up, as DeepSeek's 128,815 tokens have 129,280 rows
        File.WriteAllText(Path.Combine(folder, "config.json"), $$$"""
            {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "vocab_size": {{{vocabulary}}}, "hidden_size": {{{Hidden}}}, "intermediate_size": {{{DenseSize}}},
             "moe_intermediate_size": {{{ExpertSize}}}, "num_hidden_layers": {{{layers}}}, "num_attention_heads": {{{Heads}}}, "num_key_value_heads": {{{Heads}}}, "q_lora_rank": {{{QueryLatent}}}, "kv_lora_rank": {{{Latent}}},
             "qk_nope_head_dim": {{{Nope}}}, "qk_rope_head_dim": {{{Rope}}}, "v_head_dim": {{{Value}}}, "n_routed_experts": {{{Experts}}}, "n_shared_experts": 1, "num_experts_per_tok": 6, "n_group": 8,
             "topk_group": 4, "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 2.5, "first_k_dense_replace": 1, "moe_layer_freq": 1,
             "max_position_embeddings": 4096, "rope_theta": 10000, "rope_scaling": null, "rms_norm_eps": 1e-6, "num_nextn_predict_layers": 0, "tie_word_embeddings": false,
             "bos_token_id": 0, "eos_token_id": 1, "torch_dtype": "bfloat16",
             "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}}
            """);
        var index = new JsonObject();
        for (int shard = 0; shard <= layers; shard++)
        {
            string name = string.Create(CultureInfo.InvariantCulture, $"model-{shard + 1:00000}-of-{layers + 1:00000}.safetensors");
            foreach (string tensor in WriteShard(Path.Combine(folder, name), shard == layers ? Ends(vocabulary) : Layer(shard), shard)) index[tensor] = name;
            Console.Error.Write($"\r{shard + 1} of {layers + 1} shards");
        }
        Console.Error.WriteLine();
        File.WriteAllText(Path.Combine(folder, "model.safetensors.index.json"), new JsonObject { ["metadata"] = new JsonObject(), ["weight_map"] = index }.ToJsonString());
    }

    private static IEnumerable<(string Name, int Rows, int Columns)> Layer(int layer)
    {
        string at = $"model.layers.{layer}.";
        yield return (at + "input_layernorm.weight", 0, Hidden);
        yield return (at + "post_attention_layernorm.weight", 0, Hidden);
        yield return (at + "self_attn.q_a_proj.weight", QueryLatent, Hidden);
        yield return (at + "self_attn.q_a_layernorm.weight", 0, QueryLatent);
        yield return (at + "self_attn.q_b_proj.weight", Heads * (Nope + Rope), QueryLatent);
        yield return (at + "self_attn.kv_a_proj_with_mqa.weight", Latent + Rope, Hidden);
        yield return (at + "self_attn.kv_a_layernorm.weight", 0, Latent);
        yield return (at + "self_attn.kv_b_proj.weight", Heads * (Nope + Value), Latent);
        yield return (at + "self_attn.o_proj.weight", Hidden, Heads * Value);
        foreach ((string mlp, int size) in layer == 0 ? [("mlp.", DenseSize)] : Enumerable.Range(0, Experts).Select(e => ($"mlp.experts.{e}.", ExpertSize)).Append(("mlp.shared_experts.", ExpertSize)))
        {
            yield return ($"{at}{mlp}gate_proj.weight", size, Hidden);
            yield return ($"{at}{mlp}up_proj.weight", size, Hidden);
            yield return ($"{at}{mlp}down_proj.weight", Hidden, size);
        }
        if (layer == 0) yield break;
        yield return (at + "mlp.gate.weight", -Experts, Hidden);
        yield return (at + "mlp.gate.e_score_correction_bias", 0, Experts);
    }

    private static IEnumerable<(string Name, int Rows, int Columns)> Ends(int vocabulary)
        => [("model.embed_tokens.weight", -vocabulary, Hidden), ("model.norm.weight", 0, Hidden), ("lm_head.weight", -vocabulary, Hidden)];

    /// <summary>Positive rows: float8 with scales. Zero rows: a float32 vector. Negative rows: a bfloat16 matrix.</summary>
    private static List<string> WriteShard(string path, IEnumerable<(string Name, int Rows, int Columns)> tensors, int seed)
    {
        var random = new Random(seed);
        var header = new JsonObject();
        var parts = new List<(string Kind, long Count, float Spread)>();
        long at = 0;
        void Add(string name, string type, int[] shape, int bytes, string kind, float spread)
        {
            long count = shape.Aggregate(1L, (n, d) => n * d);
            header[name] = new JsonObject { ["dtype"] = type, ["shape"] = JsonSerializer.SerializeToNode(shape), ["data_offsets"] = new JsonArray(at, at += count * bytes) };
            parts.Add((kind, count, spread));
        }
        foreach ((string name, int rows, int columns) in tensors)
        {
            float spread = 1 / MathF.Sqrt(columns);
            if (rows == 0) Add(name, "F32", [columns], 4, name.EndsWith("bias", StringComparison.Ordinal) ? "noise" : "ones", 0.02f);
            else if (rows < 0) Add(name, "BF16", [-rows, columns], 2, "bf16", name.Contains("embed", StringComparison.Ordinal) ? 0.5f : spread);
            else
            {
                Add(name, "F8_E4M3", [rows, columns], 1, "fp8", 0);
                Add(name + "_scale_inv", "F32", [(rows + 127) / 128, (columns + 127) / 128], 4, "scale", spread / 80); // 80: the root mean square of uniformly random e4m3 bits, near enough
            }
        }
        byte[] json = Encoding.UTF8.GetBytes(header.ToJsonString());
        using var file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 20);
        file.Write(BitConverter.GetBytes((long)json.Length));
        file.Write(json);
        foreach ((string kind, long count, float spread) in parts) Fill(file, random, kind, count, spread);
        return [.. header.Select(t => t.Key)];
    }

    private static void Fill(FileStream file, Random random, string kind, long count, float spread)
    {
        if (kind == "fp8")
        {
            var bytes = new byte[1 << 20];
            random.NextBytes(bytes);
            for (int i = 0; i < bytes.Length; i++) if ((bytes[i] & 0x7F) == 0x7F) bytes[i] ^= 1; // NaN
            for (; count > 0; count -= bytes.Length) file.Write(bytes, 0, (int)Math.Min(count, bytes.Length));
            return;
        }
        for (long i = 0; i < count; i++)
        {
            float value = kind == "ones" ? 1 : kind == "scale" ? spread : (random.NextSingle() * 2 - 1) * 1.7f * spread;
            if (kind == "bf16") file.Write(BitConverter.GetBytes((ushort)(BitConverter.SingleToUInt32Bits(value) >> 16)));
            else file.Write(BitConverter.GetBytes(value));
        }
    }

    private static string Root()
    {
        for (DirectoryInfo? d = new(AppContext.BaseDirectory); d is not null; d = d.Parent)
            if (File.Exists(Path.Combine(d.FullName, "Library.sln"))) return d.FullName;
        throw new InvalidOperationException("Library.sln is not in any folder above this program.");
    }
}
