using System.Buffers.Binary;
using System.Text;
using System.Text.Json.Nodes;
using DeepSeek.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Formats;

/// <summary>Files with the true names, shapes, formats and lengths of large models, but holes for data: they cost no disk.</summary>
internal static class SparseModel
{
    private const long ShardBytes = 4L << 30;

    /// <summary>A Hugging Face folder with shards and an index.</summary>
    public static void WriteFolder(string folder, string config, IEnumerable<(string Name, DType Type, long[] Shape)> tensors)
    {
        File.WriteAllText(Path.Combine(folder, "config.json"), config);
        var shards = new List<List<(string Name, DType Type, long[] Shape)>> { new() };
        long bytes = 0;
        foreach (var tensor in tensors)
        {
            if (bytes > ShardBytes)
            {
                shards.Add([]);
                bytes = 0;
            }
            shards[^1].Add(tensor);
            bytes += Bytes(tensor.Type, tensor.Shape);
        }
        var map = new JsonObject();
        for (int i = 0; i < shards.Count; i++)
        {
            string name = $"model-{i + 1:D5}-of-{shards.Count:D6}.safetensors";
            var header = new StringBuilder("{");
            long offset = 0;
            foreach ((string tensor, DType type, long[] shape) in shards[i].OrderByDescending(t => t.Type.Info().BlockBytes).ThenBy(t => t.Name, StringComparer.Ordinal)) // as the safetensors library writes
            {
                long end = offset + Bytes(type, shape);
                header.Append($"{(offset == 0 ? "" : ",")}\"{tensor}\":{{\"dtype\":\"{type.Info().SafetensorsName}\",\"shape\":[{string.Join(",", shape)}],\"data_offsets\":[{offset},{end}]}}");
                offset = end;
                map[tensor] = name;
            }
            byte[] json = Encoding.UTF8.GetBytes(header.Append('}').ToString()), length = new byte[8];
            BinaryPrimitives.WriteInt64LittleEndian(length, json.Length);
            using FileStream file = File.Create(Path.Combine(folder, name));
            file.Write(length);
            file.Write(json);
            file.SetLength(8 + json.Length + offset);
        }
        File.WriteAllText(Path.Combine(folder, "model.safetensors.index.json"), new JsonObject { ["weight_map"] = map }.ToJsonString());
    }

    /// <summary>A GGUF file with a vocabulary, stored by a recipe.</summary>
    public static void WriteGguf(string path, string arch, int layers, IEnumerable<(string Key, object Value)> metadata, int tokens, GgufRecipe recipe, IEnumerable<(string Name, long[] Shape)> tensors)
    {
        using FileStream file = File.Create(path);
        var writer = new GgufWriter(file);
        writer.Add("general.architecture", arch);
        foreach ((string key, object value) in metadata)
            if (value is int i) writer.Add($"{arch}.{key}", i);
            else if (value is float f) writer.Add($"{arch}.{key}", f);
            else writer.Add($"{arch}.{key}", (string)value);
        writer.Add("tokenizer.ggml.model", "gpt2");
        writer.Add("tokenizer.ggml.tokens", [.. Enumerable.Range(0, tokens).Select(t => $"token{t}")]);
        writer.Add("tokenizer.ggml.token_type", [.. Enumerable.Repeat(1, tokens)]);
        writer.Add("tokenizer.ggml.merges", [.. Enumerable.Range(0, tokens).Select(t => $"tok en{t}")]);
        foreach ((string name, long[] shape) in tensors)
            writer.AddTensor(name, GgufRecipe.Keeps(name, shape) ? DType.F32 : recipe.For(name, shape[^1], layers, tied: false), shape);
        writer.WriteHeader();
        file.SetLength(file.Position + writer.DataBytes + 32 * 4096);
    }

    /// <summary>The tensors of a model of the llama family.</summary>
    public static IEnumerable<(string, DType, long[])> Llama(int layers, long hidden, long intermediate, long q, long kv, long vocabulary)
    {
        yield return ("model.embed_tokens.weight", DType.BF16, [vocabulary, hidden]);
        yield return ("model.norm.weight", DType.BF16, [hidden]);
        yield return ("lm_head.weight", DType.BF16, [vocabulary, hidden]);
        for (int l = 0; l < layers; l++)
            foreach ((string name, long[] shape) in new (string, long[])[]
            {
                ("input_layernorm", [hidden]), ("post_attention_layernorm", [hidden]), ("self_attn.q_proj", [q, hidden]), ("self_attn.k_proj", [kv, hidden]), ("self_attn.v_proj", [kv, hidden]),
                ("self_attn.o_proj", [hidden, q]), ("mlp.gate_proj", [intermediate, hidden]), ("mlp.up_proj", [intermediate, hidden]), ("mlp.down_proj", [hidden, intermediate]),
            }) yield return ($"model.layers.{l}.{name}.weight", DType.BF16, shape);
    }

    /// <summary>The tensors of DeepSeek-V3 and R1 (671 B, float8 with block scales), the draft module at layer 61 included.</summary>
    public static IEnumerable<(string, DType, long[])> DeepSeekV3()
    {
        const int Hidden = 7168, Heads = 128, Vocabulary = 129280;
        yield return ("model.embed_tokens.weight", DType.BF16, [Vocabulary, Hidden]);
        yield return ("model.norm.weight", DType.BF16, [Hidden]);
        yield return ("lm_head.weight", DType.BF16, [Vocabulary, Hidden]);
        for (int l = 0; l <= 61; l++)
        {
            string layer = $"model.layers.{l}.";
            foreach (string norm in (string[])["input_layernorm", "post_attention_layernorm"]) yield return ($"{layer}{norm}.weight", DType.BF16, [Hidden]);
            yield return ($"{layer}self_attn.q_a_layernorm.weight", DType.BF16, [1536]);
            yield return ($"{layer}self_attn.kv_a_layernorm.weight", DType.BF16, [512]);
            var matrices = new List<(string, long, long)>
            {
                ("self_attn.q_a_proj", 1536, Hidden), ("self_attn.q_b_proj", Heads * 192, 1536), ("self_attn.kv_a_proj_with_mqa", 576, Hidden), ("self_attn.kv_b_proj", Heads * 256, 512), ("self_attn.o_proj", Hidden, Heads * 128),
            };
            if (l < 3) AddMlp("mlp.", 18432);
            else
            {
                yield return ($"{layer}mlp.gate.weight", DType.BF16, [256, Hidden]);
                yield return ($"{layer}mlp.gate.e_score_correction_bias", DType.F32, [256]);
                AddMlp("mlp.shared_experts.", 2048);
                for (int e = 0; e < 256; e++) AddMlp($"mlp.experts.{e}.", 2048);
            }
            foreach ((string name, long rows, long columns) in matrices)
            {
                yield return ($"{layer}{name}.weight", DType.F8E4M3, [rows, columns]);
                yield return ($"{layer}{name}.weight_scale_inv", DType.F32, [(rows + 127) / 128, (columns + 127) / 128]);
            }
            if (l < 61) continue;
            yield return ($"{layer}embed_tokens.weight", DType.BF16, [Vocabulary, Hidden]);
            foreach (string norm in (string[])["enorm", "hnorm", "shared_head.norm"]) yield return ($"{layer}{norm}.weight", DType.BF16, [Hidden]);
            yield return ($"{layer}eh_proj.weight", DType.BF16, [Hidden, 2 * Hidden]);
            yield return ($"{layer}shared_head.head.weight", DType.BF16, [Vocabulary, Hidden]);

            void AddMlp(string prefix, long size) => matrices.AddRange([($"{prefix}gate_proj", size, Hidden), ($"{prefix}up_proj", size, Hidden), ($"{prefix}down_proj", Hidden, size)]);
        }
    }

    /// <summary>The tensors of DeepSeek-V2-Lite as GGUF.</summary>
    public static IEnumerable<(string, long[])> DeepSeekV2Lite()
    {
        const int Hidden = 2048, Heads = 16, Vocabulary = 102400;
        yield return ("token_embd.weight", [Vocabulary, Hidden]);
        yield return ("output_norm.weight", [Hidden]);
        yield return ("output.weight", [Vocabulary, Hidden]);
        for (int l = 0; l < 27; l++)
        {
            var tensors = new List<(string, long[])>
            {
                ("attn_norm", [Hidden]), ("ffn_norm", [Hidden]), ("attn_q", [Heads * 192, Hidden]), ("attn_kv_a_mqa", [576, Hidden]), ("attn_kv_a_norm", [512]),
                ("attn_k_b", [Heads, 512, 128]), ("attn_v_b", [Heads, 128, 512]), ("attn_output", [Hidden, Heads * 128]),
            };
            if (l == 0) tensors.AddRange([("ffn_gate", [10944, Hidden]), ("ffn_up", [10944, Hidden]), ("ffn_down", [Hidden, 10944])]);
            else
                tensors.AddRange(
                [
                    ("ffn_gate_inp", [64, Hidden]), ("ffn_gate_exps", [64, 1408, Hidden]), ("ffn_up_exps", [64, 1408, Hidden]), ("ffn_down_exps", [64, Hidden, 1408]),
                    ("ffn_gate_shexp", [2816, Hidden]), ("ffn_up_shexp", [2816, Hidden]), ("ffn_down_shexp", [Hidden, 2816]),
                ]);
            foreach ((string name, long[] shape) in tensors) yield return ($"blk.{l}.{name}.weight", shape);
        }
    }

    private static long Bytes(DType type, long[] shape) => shape.Aggregate((long)type.Info().BlockBytes, (a, b) => a * b);
}
