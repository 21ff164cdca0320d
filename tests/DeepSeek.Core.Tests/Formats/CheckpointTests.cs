using System.Text.Json;
using DeepSeek.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Formats;

public sealed class CheckpointTests
{
    private static readonly string[] Keys =
    [
        "model_type", "vocab_size", "hidden_size", "intermediate_size", "moe_intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
        "rms_norm_eps", "rope_theta", "max_position_embeddings", "tie_word_embeddings", "bos_token_id", "num_experts", "num_experts_per_tok", "norm_topk_prob",
        "kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "n_shared_experts", "n_routed_experts", "first_k_dense_replace", "n_group", "topk_group",
        "topk_method", "scoring_func", "routed_scaling_factor", "index_head_dim", "index_n_heads", "index_topk", "o_groups", "o_lora_rank", "compress_rope_theta", "compress_ratios",
        "num_hash_layers", "hc_mult", "hc_sinkhorn_iters", "hc_eps", "swiglu_limit", "sliding_window",
    ];

    [Theory]
    [InlineData("llama3-rope")]
    [InlineData("qwen2")]
    [InlineData("qwen3-moe")]
    [InlineData("deepseek-v3")]
    public void Metadata_says_what_config_json_says(string name) => SameConfig(Golden.Folder(name), Golden.Gguf(name));

    [SharedTheory]
    [InlineData("deepseek-moe", "model-bf16.gguf")]
    [InlineData("deepseek-v2-lite", "model-bf16.gguf")]
    [InlineData("deepseek-v2-lite", "model-legacy-kv_b.gguf")]
    [InlineData("deepseek-v3.2", "model-bf16.gguf")]
    [InlineData("deepseek-v4-fp4", "model-bf16.gguf")]
    [InlineData("qwen3-yarn", "model-bf16.gguf")]
    public void Metadata_says_what_config_json_says_for_all_architectures(string name, string file) => SameConfig(SharedData.Path("golden", name), SharedData.Path("golden", name, file));

    private static void SameConfig(string folder, string file)
    {
        using Checkpoint hf = Checkpoint.Open(folder), gguf = Checkpoint.Open(file);
        Assert.IsType<SafetensorsCheckpoint>(hf);
        Assert.IsType<GgufCheckpoint>(gguf);
        foreach (string key in Keys)
            if (hf.Config.Find(key) is { } want && !(key == "sliding_window" && hf.Config.Has("use_sliding_window")) && gguf.Config.Find(key) is { } have) Assert.Equal((key, want.GetRawText().ToUpperInvariant()), (key, Text(have, want)));
            else Assert.True(hf.Config.Find(key) is null || key is "head_dim" or "sliding_window", key);
        if (hf.Config.Section("rope_scaling") is { } scaling && scaling.Text("rope_type") != "llama3")
            foreach (JsonProperty p in scaling.Root.EnumerateObject())
                if (p.Name is not ("type" or "rope_type")) Assert.Equal((p.Name, p.Value.GetDouble()), (p.Name, gguf.Config.Section("rope_scaling")!.Number(p.Name)));
                else Assert.Equal(p.Value.GetString(), gguf.Config.Section("rope_scaling")!.Text("rope_type"));

        static string Text(JsonElement have, JsonElement want)
            => have.ValueKind == JsonValueKind.Number && want.ValueKind == JsonValueKind.Number && have.GetDouble() == want.GetDouble() ? want.GetRawText().ToUpperInvariant() : have.GetRawText().ToUpperInvariant();
    }

    [Theory]
    [InlineData("qwen2")]
    [InlineData("qwen3-moe")]
    [InlineData("deepseek-v3")]
    public void Both_forms_hold_the_same_numbers_under_the_same_names(string name)
    {
        using Checkpoint hf = Checkpoint.Open(Golden.Folder(name)), gguf = Checkpoint.Open(Golden.Gguf(name));
        int compared = 0;
        foreach (TensorInfo tensor in hf.Tensors)
        {
            if (tensor.Name.Contains("kv_b_proj", StringComparison.Ordinal)) continue;
            Weight want = Golden.Find(hf, tensor);
            Assert.Equal(Golden.Values(want), Golden.Values(gguf.Get(tensor.Name, want.Rows, want.Columns)));
            compared++;
        }
        Assert.True(compared > 20);
    }

    [Fact]
    public void The_latent_projections_of_a_GGUF_are_stacks_of_heads()
    {
        const int Heads = 4, Nope = 24, Value = 20, Rank = 40;
        using Checkpoint hf = Checkpoint.Open(Golden.Folder("deepseek-v3")), gguf = Checkpoint.Open(Golden.Gguf("deepseek-v3"));
        float[] both = Golden.Values(hf.Get("model.layers.1.self_attn.kv_b_proj.weight", Heads * (Nope + Value), Rank));
        float[] k = Golden.Values(gguf.Get("model.layers.1.self_attn.k_b_proj.weight", Heads * Rank, Nope)), v = Golden.Values(gguf.Get("model.layers.1.self_attn.v_b_proj.weight", Heads * Value, Rank));
        for (int h = 0; h < Heads; h++)
            for (int c = 0; c < Rank; c++)
            {
                for (int n = 0; n < Nope; n++) Assert.Equal(both[(h * (Nope + Value) + n) * Rank + c], k[(h * Rank + c) * Nope + n]);
                for (int n = 0; n < Value; n++) Assert.Equal(both[(h * (Nope + Value) + Nope + n) * Rank + c], v[(h * Value + n) * Rank + c]);
            }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Experts_are_found_by_number_or_all_at_once(bool fromGguf)
    {
        using Checkpoint file = Checkpoint.Open(fromGguf ? Golden.Gguf("qwen3-moe") : Golden.Folder("qwen3-moe"));
        Weight[] experts = file.GetExperts("model.layers.1.mlp.experts.{e}.up_proj.weight", 16, 48, 96);
        Assert.Equal(16, experts.Length);
        Assert.Equal(Golden.Values(file.Get("model.layers.1.mlp.experts.7.up_proj.weight", 48, 96)), Golden.Values(experts[7]));
        Assert.True(file.Contains("model.layers.1.mlp.experts.15.up_proj.weight"));
        Assert.False(file.Contains("model.layers.1.mlp.experts.16.up_proj.weight"));
        Assert.Contains(fromGguf ? "blk.1.ffn_up_exps.weight" : "model.layers.1.mlp.experts.15.up_proj.weight", Assert.Throws<InvalidModelFileException>(() => file.GetExperts("model.layers.1.mlp.experts.{e}.up_proj.weight", 15, 48, 96)).Message, StringComparison.Ordinal);
        Assert.Contains(fromGguf ? "blk.1.ffn_up_exps.weight" : "model.layers.1.mlp.experts.16.up_proj.weight", Assert.Throws<InvalidModelFileException>(() => file.GetExperts("model.layers.1.mlp.experts.{e}.up_proj.weight", 17, 48, 96)).Message, StringComparison.Ordinal);
        Assert.Throws<InvalidModelFileException>(() => file.GetExperts("model.layers.1.mlp.experts.{e}.side_proj.weight", 16, 48, 96));
    }

    [Fact]
    public void Permuted_architectures_say_so()
    {
        using Checkpoint llama = Checkpoint.Open(Golden.Gguf("llama3-rope")), qwen = Checkpoint.Open(Golden.Gguf("qwen2")), folder = Checkpoint.Open(Golden.Folder("llama"));
        Assert.True(llama.Config.Bool("rope_interleaved", false));
        Assert.False(qwen.Config.Bool("rope_interleaved", false));
        Assert.False(folder.Config.Bool("rope_interleaved", false));
        Assert.Equal(8, llama.GetVector("rope_freqs.weight", 8).Columns);
    }

    [Fact]
    public void Float8_matrices_come_with_their_scales()
    {
        using Checkpoint file = Checkpoint.Open(Golden.Folder("deepseek-v3-fp8"));
        Weight w = file.Get("model.layers.1.self_attn.kv_a_proj_with_mqa.weight", 160, 288); // 2 x 3 blocks, the last of 32 rows and 32 columns
        Assert.Equal((DType.F8E4M3, 3), (w.Type, w.Scales!.Stride));
        float[] values = Golden.Values(w), scales = Golden.Values(file.Get("model.layers.1.self_attn.kv_a_proj_with_mqa.weight_scale_inv", 2, 3));
        unsafe { Assert.Equal(SmallFloats.FromE4M3(((byte*)w.Row(150))[280]) * scales[5], values[150 * 288 + 280]); }
        var sliced = new float[288];
        Dequantise.Row(w.Slice(100, 60).Slice(40, 20), 10, sliced);
        Assert.Equal(values[(150 * 288)..(151 * 288)], sliced);
    }

    [Fact]
    public void A_shape_that_the_configuration_does_not_expect_is_named()
    {
        using Checkpoint file = Checkpoint.Open(Golden.Folder("llama"));
        var e = Assert.Throws<InvalidModelFileException>(() => file.Get("lm_head.weight", 321, 96));
        Assert.Contains("lm_head.weight", e.Message, StringComparison.Ordinal);
        Assert.Contains("[320, 96]", e.Message, StringComparison.Ordinal);
        Assert.Contains("[321, 96]", e.Message, StringComparison.Ordinal);
        Assert.Throws<InvalidModelFileException>(() => file.Get("no.such.tensor", 1, 1));
        Assert.Null(file.Find("no.such.tensor", 1, 1));
    }

    [Fact]
    public void What_is_no_model_gets_a_helpful_error()
    {
        using var folder = new TemporaryFolder();
        Assert.Contains("GGUF", Assert.Throws<InvalidModelFileException>(() => Checkpoint.Open(folder.File("missing"))).Message, StringComparison.Ordinal);
        Assert.Contains("config.json", Assert.Throws<InvalidModelFileException>(() => Checkpoint.Open(folder.Path)).Message, StringComparison.Ordinal);
        File.WriteAllText(folder.File("pytorch_model.bin"), "x");
        Assert.Contains("PyTorch", Assert.Throws<UnsupportedModelException>(() => Checkpoint.Open(folder.Path)).Message, StringComparison.Ordinal);
        Assert.Contains("PyTorch", Assert.Throws<UnsupportedModelException>(() => Checkpoint.Open(folder.File("pytorch_model.bin"))).Message, StringComparison.Ordinal);
        File.WriteAllText(folder.File("notes.txt"), "hello");
        Assert.Throws<UnsupportedModelException>(() => Checkpoint.Open(folder.File("notes.txt")));
        File.WriteAllText(folder.File("empty.gguf"), "");
        Assert.Contains("empty", Assert.Throws<InvalidModelFileException>(() => Checkpoint.Open(folder.File("empty.gguf"))).Message, StringComparison.Ordinal);
        File.WriteAllText(folder.File("config.json"), """{"quantization_config": {"quant_method": "gptq"}}""");
        File.WriteAllText(folder.File("model.safetensors"), "");
        Assert.Contains("gptq", Assert.Throws<UnsupportedModelException>(() => Checkpoint.Open(folder.Path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_inside_the_folder_stands_for_the_folder()
    {
        foreach (string name in (string[])["config.json", "model.safetensors"])
        {
            using Checkpoint file = Checkpoint.Open(System.IO.Path.Combine(Golden.Folder("llama"), name));
            Assert.True(file.Contains("lm_head.weight"));
        }
    }

    [Fact]
    public void Configurations_of_transformers_5_are_read_as_the_classic_ones()
    {
        ModelConfig config = HuggingFaceConfig.Read(ModelConfig.Parse("""
            {"dtype": "bfloat16", "num_local_experts": 8, "rope_scaling": null, "rope_parameters": {"rope_theta": 5e5, "rope_type": "yarn", "factor": 4.0}}
            """u8, "config.json"));
        Assert.Equal("bfloat16", config.Text("torch_dtype"));
        Assert.Equal(8, config.Int("num_experts"));
        Assert.Equal(5e5, config.Number("rope_theta"));
        Assert.Equal(4, config.Section("rope_scaling")!.Number("factor"));
        ModelConfig plain = HuggingFaceConfig.Read(ModelConfig.Parse("""{"rope_theta": 7, "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}"""u8, "config.json"));
        Assert.Equal(7, plain.Number("rope_theta"));
        Assert.Null(plain.Section("rope_scaling"));
    }

    [Fact]
    public void The_chat_template_is_found_wherever_it_is_kept()
    {
        using var folder = new TemporaryFolder();
        Assert.Null(HuggingFaceConfig.ChatTemplate(folder.Path));
        File.WriteAllText(folder.File("tokenizer_config.json"), """{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}""");
        Assert.Equal("d", HuggingFaceConfig.ChatTemplate(folder.Path));
        File.WriteAllText(folder.File("tokenizer_config.json"), """{"chat_template": "s"}""");
        Assert.Equal("s", HuggingFaceConfig.ChatTemplate(folder.Path));
        File.WriteAllText(folder.File("chat_template.jinja"), "j");
        Assert.Equal("j", HuggingFaceConfig.ChatTemplate(folder.Path));
        File.WriteAllBytes(folder.File("chat_template.jinja"), [0xFF, 0xFE]);
        Assert.Throws<InvalidModelFileException>(() => HuggingFaceConfig.ChatTemplate(folder.Path));
    }
}
