using DeepSeek.Backends;
using DeepSeek.Core.Tests.Formats;
using DeepSeek.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Models;

/// <summary>DeepSeek files of every age: GGUF's deepseek2 before and after April 2025, with and without the keys that came later.</summary>
public sealed class GgufFormTests : IDisposable
{
    private static readonly int[] Prompt = [.. Enumerable.Range(0, 30).Select(i => 2 + i * i * 7 % 300)];
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void TheOldForm_HasOneMatrixForKeysAndValues_AndSaysTheSame()
    {
        float[][] expected = Logits(Formats.Golden.Gguf("deepseek-v3"), out _);
        float[][] old = Logits(Rewritten(oldForm: true), out _);
        for (int t = 0; t < Prompt.Length; t++) Assert.InRange(Golden.Nmse(old[t], expected[t]), 0, 1e-10);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void WithoutTheScaleOfYarn_TheReleasedModelsIsAssumed_AndSaid(bool oldForm)
    {
        string[] keys = ["rope.scaling.yarn_log_multiplier"];
        float[][] expected = Logits(Formats.Golden.Gguf("deepseek-v3"), out IReadOnlyList<string> none), without = Logits(Rewritten(oldForm, keys), out IReadOnlyList<string> warnings);
        Assert.DoesNotContain(none, w => w.Contains("yarn", StringComparison.Ordinal));
        Assert.Contains(warnings, w => w.Contains("yarn_log_multiplier", StringComparison.Ordinal) && w.Contains("mscale_all_dim = 1", StringComparison.Ordinal));
        for (int t = 0; t < Prompt.Length; t++) Assert.InRange(Golden.Nmse(without[t], expected[t]), 0, 1e-10); // the golden model has the released one's scale
    }

    /// <summary>Without keys for groups there is one group, but for the released sizes, whose groups are known.</summary>
    [Fact]
    public void WithoutKeysForGroups_ThereIsOne_OrTheReleasedModels()
    {
        string[] keys = ["expert_group_count", "expert_group_used_count"];
        using (Checkpoint folderModel = Checkpoint.Open(SharedData.Local("golden", "deepseek-v3")))
        using (MemoryCheckpoint one = MemoryCheckpoint.Load(SharedData.Local("golden", "deepseek-v3")).With("n_group", 1).With("topk_group", 1))
        {
            float[][] expected = Logits(one), grouped = Logits(folderModel), without = Logits(Rewritten(false, keys), out _);
            for (int t = 0; t < Prompt.Length; t++) Assert.InRange(Golden.Nmse(without[t], expected[t]), 0, 1e-10);
            Assert.Contains(Enumerable.Range(0, Prompt.Length), t => Golden.Nmse(grouped[t], expected[t]) > 1e-6);
        }
        foreach ((int experts, int groups, int kept) in new[] { (256, 8, 4), (160, 8, 3), (64, 1, 1) })
        {
            using Checkpoint sized = Checkpoint.Open(Rewritten(false, keys, experts));
            Assert.Equal((experts, groups, kept), (sized.Config.Int("n_routed_experts"), sized.Config.Int("n_group"), sized.Config.Int("topk_group")));
        }
    }

    /// <summary>The architectures whose golden folders have no GGUF file beside them: one that this library writes says the same.</summary>
    [SharedTheory]
    [InlineData("deepseek-v2")]
    [InlineData("deepseek-v3-no-yarn")]
    [InlineData("qwen3")]
    [InlineData("llama-linear-rope-tied")]
    public void AWrittenFile_SaysWhatItsFolderSays(string name)
    {
        string file = folder.File("out.gguf");
        using Checkpoint source = Checkpoint.Open(SharedData.Path("golden", name));
        GgufExport.Run(source, file, GgufRecipe.Find("BF16"));
        float[][] expected = Logits(source), written = Logits(file, out _);
        for (int t = 0; t < Prompt.Length; t++) Assert.InRange(Golden.Nmse(written[t], expected[t]), 0, 1e-10);
    }

    private static float[][] Logits(Checkpoint checkpoint)
    {
        using var backend = new ReferenceBackend();
        using var run = new ModelRun(checkpoint, backend);
        return run.Step((0, Prompt));
    }

    private static float[][] Logits(string path, out IReadOnlyList<string> warnings)
    {
        using Checkpoint checkpoint = Checkpoint.Open(path);
        warnings = checkpoint.Warnings;
        return Logits(checkpoint);
    }

    /// <summary>The golden DeepSeek-V3 as older converters wrote it.</summary>
    /// <param name="oldForm">Whether attn_kv_b stands for attn_k_b and attn_v_b.</param>
    /// <param name="without">Keys that it lacks.</param>
    /// <param name="experts">Another number of experts in its metadata; the tensors stay.</param>
    private string Rewritten(bool oldForm, string[]? without = null, int? experts = null)
    {
        string path = folder.File($"{Guid.NewGuid():N}.gguf");
        using GgufFile source = GgufFile.Open(Formats.Golden.Gguf("deepseek-v3"));
        using Checkpoint hf = Checkpoint.Open(Formats.Golden.Folder("deepseek-v3"));
        int heads = hf.Config.Int("num_attention_heads"), nope = hf.Config.Int("qk_nope_head_dim"), value = hf.Config.Int("v_head_dim"), rank = hf.Config.Int("kv_lora_rank"), rope = hf.Config.Int("qk_rope_head_dim");
        using FileStream file = File.Create(path);
        var writer = new GgufWriter(file);
        foreach (GgufValue v in source.Metadata.Values)
        {
            string key = v.Key.StartsWith("deepseek2.", StringComparison.Ordinal) ? v.Key["deepseek2.".Length..] : v.Key;
            if (without?.Contains(key) == true || (oldForm && key.StartsWith("attention.", StringComparison.Ordinal) && key.Contains("_length", StringComparison.Ordinal)) || (oldForm && key == "attention.head_count_kv")) continue;
            if (key == "expert_count" && experts is { } count) writer.Add(v.Key, (long)count);
            else writer.Add(v);
        }
        if (oldForm)
        {
            writer.Add("deepseek2.attention.key_length", (long)(nope + rope));
            writer.Add("deepseek2.attention.value_length", (long)value);
            writer.Add("deepseek2.attention.head_count_kv", (long)heads);
        }
        var tensors = source.Tensors.Where(t => !(oldForm && (t.Name.EndsWith("attn_k_b.weight", StringComparison.Ordinal) || t.Name.EndsWith("attn_v_b.weight", StringComparison.Ordinal)))).ToList();
        int layers = oldForm ? hf.Config.Int("num_hidden_layers") : 0;
        foreach (GgufTensor t in tensors) writer.AddTensor(t.Name, t.Type, t.Shape);
        for (int l = 0; l < layers; l++) writer.AddTensor($"blk.{l}.attn_kv_b.weight", DType.BF16, [heads * (nope + value), rank]);
        writer.WriteHeader();
        foreach (GgufTensor t in tensors) writer.WriteData(t.File.Span(t.Offset, t.Bytes));
        for (int l = 0; l < layers; l++)
        {
            Weight w = hf.Get($"model.layers.{l}.self_attn.kv_b_proj.weight", heads * (nope + value), rank);
            unsafe { writer.WriteData(new ReadOnlySpan<byte>((void*)w.Data, (int)w.Bytes)); }
        }
        return path;
    }
}
