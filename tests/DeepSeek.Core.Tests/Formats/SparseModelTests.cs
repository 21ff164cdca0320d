using DeepSeek.Core.Tests.Backends;
using DeepSeek.Formats;
using DeepSeek.Generation;

namespace DeepSeek.Core.Tests.Formats;

/// <summary>The large published models, by name, shape and length.</summary>
public sealed class SparseModelTests
{
    private const string V3Config = """
        {"model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128,
         "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8,
         "n_group": 8, "topk_group": 4, "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 2.5, "first_k_dense_replace": 3, "moe_layer_freq": 1,
         "num_nextn_predict_layers": 1, "rope_theta": 10000, "max_position_embeddings": 163840, "vocab_size": 129280, "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "bos_token_id": 0, "eos_token_id": 1,
         "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0},
         "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]}}
        """;

    private const string Llama70BConfig = """
        {"model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128, "rms_norm_eps": 1e-5,
         "rope_theta": 500000.0, "max_position_embeddings": 131072, "vocab_size": 128256, "tie_word_embeddings": false, "bos_token_id": 128000, "eos_token_id": 128001,
         "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}}
        """;

    [Fact]
    public void DeepSeek_V3_is_opened_bound_and_planned()
    {
        using var folder = new TemporaryFolder();
        SparseModel.WriteFolder(folder.Path, V3Config, SparseModel.DeepSeekV3());
        using Checkpoint file = Checkpoint.Open(folder.Path);
        Assert.InRange(file.WeightBytes, 680_000_000_000, 695_000_000_000);
        Assert.Equal(91_991, file.Tensors.Count);
        ModelPlan plan = Plan(folder, folder.Path);
        Assert.Equal((PlanVerdict.NeedsPaging, 61 * 576 * 2), (plan.Verdict, plan.CacheBytesPerToken - 576 * 2)); // kv_lora_rank + rope numbers a layer in bfloat16, those of the draft module too
        Assert.InRange(plan.ParameterCount, 684_000_000_000, 685_000_000_000);
        Assert.InRange(plan.BytesReadPerToken, 36_000_000_000, 39_000_000_000); // 36.6 billion parameters a token, most of them a byte
    }

    [Fact]
    public void R1_Distill_Llama_70B_is_opened_bound_and_planned()
    {
        using var folder = new TemporaryFolder();
        SparseModel.WriteFolder(folder.Path, Llama70BConfig, SparseModel.Llama(80, 8192, 28672, 8192, 1024, 128256));
        using Checkpoint file = Checkpoint.Open(folder.Path);
        Assert.InRange(file.WeightBytes, 141_000_000_000, 142_000_000_000);
        ModelPlan plan = Plan(folder, folder.Path);
        Assert.Equal((PlanVerdict.NeedsPaging, 80L * 2 * 1024 * 2), (plan.Verdict, plan.CacheBytesPerToken));
    }

    [Fact]
    public void DeepSeek_V2_Lite_is_opened_without_reading_it_bound_and_planned()
    {
        using var folder = new TemporaryFolder();
        (string, object)[] metadata =
        [
            ("block_count", 27), ("context_length", 163840), ("embedding_length", 2048), ("feed_forward_length", 10944), ("attention.head_count", 16), ("attention.head_count_kv", 1),
            ("rope.scaling.type", "yarn"), ("rope.scaling.factor", 40f), ("rope.scaling.original_context_length", 4096), ("rope.scaling.yarn_log_multiplier", 0.0707f), ("rope.freq_base", 10000f),
            ("attention.layer_norm_rms_epsilon", 1e-6f), ("expert_count", 64), ("expert_used_count", 6), ("expert_shared_count", 2), ("expert_feed_forward_length", 1408), ("expert_gating_func", 1),
            ("leading_dense_block_count", 1), ("vocab_size", 102400), ("attention.kv_lora_rank", 512), ("attention.key_length", 576), ("attention.value_length", 512),
            ("attention.key_length_mla", 192), ("attention.value_length_mla", 128), ("rope.dimension_count", 64),
        ];
        SparseModel.WriteGguf(folder.File("lite.gguf"), "deepseek2", 27, metadata, 102400, GgufRecipe.Find("Q4_K_M"), SparseModel.DeepSeekV2Lite());
        long before = GC.GetAllocatedBytesForCurrentThread();
        using Checkpoint file = Checkpoint.Open(folder.File("lite.gguf"));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 1, 1_000_000); // of 200,000 tokens and merges none is decoded
        Assert.InRange(file.WeightBytes, 8_000_000_000, 11_000_000_000);
        ModelPlan plan = Plan(folder, folder.File("lite.gguf"));
        Assert.Equal((PlanVerdict.Fits, 27L * 576 * 2), (plan.Verdict, plan.CacheBytesPerToken));
        Assert.InRange(plan.BytesReadPerToken, 1_000_000_000, 2_000_000_000); // 2.4 of 15.7 billion parameters
    }

    /// <summary>A plan for a machine with 24 GB, which binds every weight.</summary>
    private static ModelPlan Plan(TemporaryFolder folder, string path)
        => ModelPlanner.Plan(path, new LanguageModelOptions(), MachineLimitsTests.Machine(folder, "0::/\n", ("proc/meminfo", "MemAvailable: 24000000 kB\n")));
}
