using System.Text.Json.Nodes;
using DeepSeek.Backends;
using DeepSeek.Formats;
using DeepSeek.Models;

namespace DeepSeek.Core.Tests.Models;

/// <summary>All that a checkpoint can get wrong is found when its weights are bound, and named.</summary>
public class BindingTests
{
    private static readonly Dictionary<string, (string Model, Action<MemoryCheckpoint> Spoil, string[] Named)> Broken = new()
    {
        ["more experts than the kept groups hold"] = ("deepseek-v3", c => c.With("num_experts_per_tok", 9), ["num_experts_per_tok", "9", "topk_group"]),
        ["groups that do not divide"] = ("deepseek-v3", c => c.With("n_group", 3), ["n_group", "n_routed_experts"]),
        ["more groups kept than there are"] = ("deepseek-v3", c => c.With("topk_group", 5), ["topk_group", "5"]),
        ["fewer experts than in the file"] = ("deepseek-v3", c => c.With("n_routed_experts", 12), ["mlp.gate.weight", "12"]),
        ["more experts than in the file"] = ("deepseek-v3", c => c.With("n_routed_experts", 20), ["mlp.gate.weight", "20"]),
        ["an expert is missing"] = ("deepseek-v3", c => c.Without("model.layers.2.mlp.experts.15.up_proj.weight"), ["model.layers.2.mlp.experts.15.up_proj.weight"]),
        ["no correction bias"] = ("deepseek-v3", c => c.Without("model.layers.1.mlp.gate.e_score_correction_bias"), ["model.layers.1.mlp.gate.e_score_correction_bias"]),
        ["an announced draft module is missing"] = ("deepseek-v3", c => c.With("num_nextn_predict_layers", 1), ["model.layers.3.enorm.weight"]),
        ["another width of the shared expert"] = ("deepseek-v3", c => c.With("n_shared_experts", 3), ["model.layers.1.mlp.shared_experts.gate_proj.weight"]),
        ["another latent size"] = ("deepseek-v3", c => c.With("kv_lora_rank", 41), ["kv_a_proj_with_mqa"]),
        ["an odd rotated size"] = ("deepseek-v3", c => c.With("qk_rope_head_dim", 15), ["qk_rope_head_dim", "15"]),
        ["a yarn factor below nought"] = ("deepseek-v3", c => c.With("rope_scaling", new JsonObject { ["type"] = "yarn", ["factor"] = -1 }), ["factor", "-1"]),
        ["no yarn factor"] = ("deepseek-v3", c => c.With("rope_scaling", new JsonObject { ["type"] = "yarn" }), ["factor"]),
        ["a layer without a network"] = ("deepseek-v3", c => c.Without("model.layers.1.mlp.gate.weight"), ["model.layers.1.mlp.gate_proj.weight"]),
        ["no layers"] = ("llama", c => c.With("num_hidden_layers", 0), ["num_hidden_layers", "0"]),
        ["more layers than in the file"] = ("llama", c => c.With("num_hidden_layers", 16_000_000), ["model.layers.3."]),
        ["fewer layers than in the file"] = ("llama", c => c.With("num_hidden_layers", 2), ["num_hidden_layers", "model.layers.2."]),
        ["another vocabulary"] = ("llama", c => c.With("vocab_size", 321), ["model.embed_tokens.weight", "321"]),
        ["an absurd vocabulary"] = ("llama", c => c.With("vocab_size", 1e18), ["vocab_size"]),
        ["key heads that do not divide"] = ("llama", c => c.With("num_key_value_heads", 4), ["num_key_value_heads", "4"]),
        ["heads that do not divide"] = ("llama", c => c.With("head_dim", null).With("num_attention_heads", 7).With("num_key_value_heads", 7), ["num_attention_heads", "7"]),
        ["an odd head"] = ("llama", c => c.With("head_dim", 15), ["head_dim", "15"]),
        ["absurd heads"] = ("llama", c => c.With("head_dim", 65536).With("num_attention_heads", 1 << 22).With("num_key_value_heads", 1 << 22), ["65536"]),
        ["another width"] = ("llama", c => c.With("intermediate_size", 161), ["model.layers.0.mlp.gate_proj.weight", "161"]),
        ["no head though not tied"] = ("llama", c => c.With("tie_word_embeddings", false).Without("lm_head.weight"), ["lm_head.weight"]),
        ["a base of rotation that is none"] = ("llama", c => c.With("rope_theta", 0), ["rope_theta"]),
        ["rotary divisors that are none"] = ("llama", c => c.Add("rope_freqs.weight", [8], [1, 1, 1, float.NaN, 1, 1, 1, 1]), ["rope_freqs.weight", "NaN"]),
        ["a negative epsilon"] = ("llama", c => c.With("rms_norm_eps", -1), ["rms_norm_eps"]),
        ["an announced bias is missing"] = ("llama", c => c.With("mlp_bias", true), ["model.layers.0.mlp.gate_proj.bias"]),
        ["no bias"] = ("qwen2", c => c.Without("model.layers.1.self_attn.k_proj.bias"), ["model.layers.1.self_attn.k_proj.bias"]),
        ["no norm"] = ("qwen3-moe", c => c.Without("model.layers.1.self_attn.k_norm.weight"), ["model.layers.1.self_attn.k_norm.weight"]),
        ["more experts chosen than there are"] = ("qwen3-moe", c => c.With("num_experts_per_tok", 17), ["num_experts_per_tok", "17"]),
        ["bands of llama3 that cross"] = ("llama3-rope", c => c.With("rope_scaling", new JsonObject { ["rope_type"] = "llama3", ["factor"] = 8, ["low_freq_factor"] = 4, ["high_freq_factor"] = 1 }), ["high_freq_factor"]),
    };

    private static readonly Dictionary<string, (string Model, Action<MemoryCheckpoint> Change, string[] Named)> Foreign = new()
    {
        ["an unknown architecture"] = ("llama", c => c.With("model_type", "gpt_neox"), ["gpt_neox", "llama", "deepseek_v3"]),
        ["V3.2"] = ("deepseek-v3", c => c.With("model_type", "deepseek_v32"), ["deepseek_v32"]),
        ["V4"] = ("deepseek-v3", c => c.With("model_type", "deepseek_v4"), ["deepseek_v4"]),
        ["no architecture"] = ("llama", c => c.With("model_type", null).With("architectures", null), ["model_type"]),
        ["an unknown class"] = ("llama", c => c.With("model_type", null).With("architectures", new JsonArray("GptForCausalLM")), ["GptForCausalLM"]),
        ["another activation"] = ("llama", c => c.With("hidden_act", "gelu"), ["hidden_act", "gelu"]),
        ["another scaling of rotation"] = ("llama", c => c.With("rope_scaling", new JsonObject { ["type"] = "longrope", ["factor"] = 2 }), ["longrope"]),
        ["windows"] = ("qwen2", c => c.With("use_sliding_window", true), ["use_sliding_window"]),
        ["another score"] = ("deepseek-v3", c => c.With("scoring_func", "softmax"), ["scoring_func", "softmax"]),
        ["another choice"] = ("deepseek-v3", c => c.With("topk_method", "greedy"), ["topk_method", "greedy"]),
    };

    public static TheoryData<string> BrokenNames => [.. Broken.Keys];

    public static TheoryData<string> ForeignNames => [.. Foreign.Keys];

    [Theory]
    [MemberData(nameof(BrokenNames))]
    public void BrokenCheckpointsAreNamed(string name) => Refuses<InvalidModelFileException>(Broken[name]);

    [Theory]
    [MemberData(nameof(ForeignNames))]
    public void ForeignCheckpointsAreNamed(string name) => Refuses<UnsupportedModelException>(Foreign[name]);

    [Theory]
    [InlineData("deepseek-v3", "kimi_k2")]
    [InlineData("llama", null)]
    public void OtherNamesOfTheSameArchitectureWork(string model, string? type)
    {
        using MemoryCheckpoint checkpoint = MemoryCheckpoint.Load(SharedData.Local("golden", model)).With("model_type", type);
        using var backend = new ReferenceBackend();
        Assert.Equal(3, Architectures.Bind(new ModelSource(checkpoint, backend)).LayerCount);
    }

    /// <summary>Numbers of a latent's cache: kv_lora_rank + qk_rope_head_dim a token and layer, nothing else; of grouped heads keys and values.</summary>
    [Fact]
    public void CacheStreamsAreWhatTheArchitectureNeeds()
    {
        Assert.Equal([("latent", 0, 56), ("latent", 1, 56), ("latent", 2, 56)], Streams("deepseek-v3"));
        Assert.Equal([("key", 0, 32), ("value", 0, 32), ("key", 1, 32), ("value", 1, 32), ("key", 2, 32), ("value", 2, 32)], Streams("llama"));
    }

    /// <summary>Biases that are nought change nothing; others do.</summary>
    [Fact]
    public void OptionalBiasesAreUsed()
    {
        float[] plain = Logits(_ => { }), nought = Logits(c => Biased(c, 0)), biased = Logits(c => Biased(c, 0.5f));
        Assert.Equal(plain, nought);
        Assert.True(Golden.Nmse(biased, plain) > 1e-3);

        static void Biased(MemoryCheckpoint c, float value)
        {
            c.With("attention_bias", true).With("mlp_bias", true);
            for (int i = 0; i < 3; i++)
                foreach ((string name, int length) in ((string, int)[])[("self_attn.q_proj", 96), ("self_attn.k_proj", 32), ("self_attn.v_proj", 32), ("self_attn.o_proj", 96), ("mlp.gate_proj", 160), ("mlp.up_proj", 160), ("mlp.down_proj", 96)])
                    c.Add($"model.layers.{i}.{name}.bias", [length], Enumerable.Range(0, length).Select(j => j % 2 * value).ToArray());
        }
    }

    private static (string, int, int)[] Streams(string model)
    {
        using MemoryCheckpoint checkpoint = MemoryCheckpoint.Load(SharedData.Local("golden", model));
        using var backend = new ReferenceBackend();
        return [.. Architectures.Bind(new ModelSource(checkpoint, backend)).Streams.Select(s => (s.Kind, s.Layer, s.Width))];
    }

    private static float[] Logits(Action<MemoryCheckpoint> change)
    {
        using MemoryCheckpoint checkpoint = MemoryCheckpoint.Load(SharedData.Local("golden", "llama"));
        change(checkpoint);
        using var backend = new ReferenceBackend();
        using var run = new ModelRun(checkpoint, backend);
        return run.Step((0, [5, 6, 7]))[^1];
    }

    private static void Refuses<T>((string Model, Action<MemoryCheckpoint> Change, string[] Named) c) where T : ModelException
    {
        using MemoryCheckpoint checkpoint = MemoryCheckpoint.Load(SharedData.Local("golden", c.Model));
        c.Change(checkpoint);
        using var backend = new ReferenceBackend();
        T e = Assert.Throws<T>(() => Architectures.Bind(new ModelSource(checkpoint, backend)));
        Assert.All(c.Named, n => Assert.Contains(n, e.Message, StringComparison.Ordinal));
    }
}
