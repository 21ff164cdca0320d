using DeepSeek.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Formats;

public sealed class GgufExportTests
{
    [Theory]
    [InlineData("llama3-rope")]
    [InlineData("qwen2")]
    [InlineData("qwen3-moe")]
    [InlineData("deepseek-v3")]
    public void A_folder_becomes_what_the_reference_converter_makes_of_it(string name) => EqualsReference(Golden.Folder(name), Golden.Gguf(name));

    [SharedTheory]
    [InlineData("qwen3-yarn")]
    [InlineData("deepseek-moe")]
    [InlineData("deepseek-v2-lite")]
    [InlineData("deepseek-v3.2")]
    public void Every_architecture_becomes_what_the_reference_converter_makes_of_it(string name) => EqualsReference(SharedData.Path("golden", name), SharedData.Path("golden", name, "model-bf16.gguf"));

    private static void EqualsReference(string source, string reference)
    {
        using var folder = new TemporaryFolder();
        using Checkpoint hf = Checkpoint.Open(source);
        GgufExport.Run(hf, folder.File("out.gguf"), GgufRecipe.Find("BF16"));
        using GgufFile want = GgufFile.Open(reference), have = GgufFile.Open(folder.File("out.gguf"));
        foreach ((string key, GgufValue value) in want.Metadata)
        {
            if (key is "general.name" or "general.version" or "general.basename" or "general.size_label") continue;
            if (!have.Metadata.TryGetValue(key, out GgufValue? mine)) Assert.True(key.EndsWith(".rope.scaling.type", StringComparison.Ordinal) && value.Text() == "none" || key.EndsWith("nextn_predict_layers", StringComparison.Ordinal) && value.Integer() == 0, key);
            else Assert.Equal((key, value.Type, Convert.ToHexString(value.Raw())), (key, mine.Type, Convert.ToHexString(mine.Raw())));
        }
        Assert.Equal(want.Tensors.Select(t => t.Name).Order(StringComparer.Ordinal), have.Tensors.Select(t => t.Name).Order(StringComparer.Ordinal));
        foreach (GgufTensor t in want.Tensors)
        {
            GgufTensor mine = have.Tensor(t.Name)!;
            Assert.Equal((t.Name, t.Type, string.Join(",", t.Shape)), (mine.Name, mine.Type, string.Join(",", mine.Shape)));
            if (t.Name == "rope_freqs.weight")
            {
                for (int i = 0; i < t.Shape[0]; i++) Assert.Equal(Float(t, i), Float(mine, i), Float(t, i) * 1e-6f);
                continue;
            }
            Assert.True(t.File.Span(t.Offset, t.Bytes).SequenceEqual(mine.File.Span(mine.Offset, mine.Bytes)), t.Name);
        }

        static float Float(GgufTensor t, int i) => BitConverter.ToSingle(t.File.Span(t.Offset + 4 * i, 4));
    }

    [Theory]
    [InlineData("Q8_0")]
    [InlineData("Q4_K_M")]
    [InlineData("Q5_K")]
    [InlineData("F16")]
    public void Any_checkpoint_becomes_any_format(string recipe)
    {
        using var folder = new TemporaryFolder();
        foreach (string source in (string[])[Golden.Folder("deepseek-v3-fp8"), Golden.Gguf("qwen3-moe")])
        {
            using Checkpoint original = Checkpoint.Open(source);
            var progress = new List<GgufExportProgress>();
            GgufExport.Run(original, folder.File("out.gguf"), GgufRecipe.Find(recipe), new Listener(progress));
            Assert.Equal(progress[^1].BytesTotal, progress[^1].BytesWritten);
            Assert.Equal(progress[^1].TensorCount, progress[^1].TensorNumber);
            Assert.Single(Directory.GetFiles(folder.Path));
            using Checkpoint made = Checkpoint.Open(folder.File("out.gguf"));
            Assert.Equal(original.Config.Text("model_type"), made.Config.Text("model_type"));
            int compared = 0;
            foreach (TensorInfo tensor in made.Tensors)
            {
                if (tensor.Name.Contains("_b_proj.weight", StringComparison.Ordinal) || tensor.Name.Contains("{e}", StringComparison.Ordinal)) continue;
                float[] want = Golden.Values(original.Get(tensor.Name, (int)tensor.Shape.SkipLast(1).Aggregate(1L, (a, b) => a * b), (int)tensor.Shape[^1])), have = Golden.Values(Golden.Find(made, tensor));
                double error = want.Zip(have, (a, b) => (double)(a - b) * (a - b)).Sum() / want.Sum(v => (double)v * v);
                Assert.True(error < (recipe == "Q4_K_M" ? 0.01 : 0.002), $"{tensor.Name} {tensor.Type}: {error}");
                compared++;
            }
            Assert.True(compared > 20);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void The_draft_module_goes_along_or_stays(bool keep)
    {
        using var folder = new TemporaryFolder();
        using Checkpoint original = Checkpoint.Open(SharedData.Model("tiny-reasoner"));
        GgufExport.Run(original, folder.File("out.gguf"), GgufRecipe.Find("Q8_0"), keepDraftModules: keep);
        using Checkpoint made = Checkpoint.Open(folder.File("out.gguf"));
        Assert.Equal(4, made.Config.Int("num_hidden_layers"));
        Assert.Equal(keep ? 1 : 0, made.Config.Int("num_nextn_predict_layers", 0, 0, 9));
        foreach (string name in (string[])["enorm", "hnorm", "eh_proj", "shared_head.norm", "mlp.experts.3.up_proj"]) Assert.Equal(keep, made.Contains($"model.layers.4.{name}.weight"));
        Assert.Equal(original.ChatTemplate, made.ChatTemplate);
        Assert.Equal(original.GenerationConfig.Number("temperature"), made.GenerationConfig.Number("temperature"));
    }

    [Fact]
    public void All_ends_of_an_answer_survive()
    {
        using var folder = new TemporaryFolder();
        using Checkpoint original = Checkpoint.Open(Golden.Folder("llama3-rope"));
        GgufExport.Run(original, folder.File("out.gguf"), GgufRecipe.Find("F16"));
        using Checkpoint made = Checkpoint.Open(folder.File("out.gguf"));
        Assert.Equal([1, 5, 6], made.Config.Ints("eos_token_id"));
    }

    [Theory]
    [InlineData("output.weight", 2048, DType.Q6_K)]
    [InlineData("token_embd.weight", 2048, DType.Q4_K)]
    [InlineData("blk.0.attn_v.weight", 2048, DType.Q6_K)]
    [InlineData("blk.5.attn_v.weight", 2048, DType.Q4_K)]
    [InlineData("blk.6.attn_v.weight", 2048, DType.Q6_K)]
    [InlineData("blk.31.ffn_down_exps.weight", 2048, DType.Q6_K)]
    [InlineData("blk.7.ffn_down.weight", 2048, DType.Q4_K)]
    [InlineData("blk.6.attn_k_b.weight", 128, DType.Q5_0)]
    [InlineData("blk.0.ffn_down.weight", 96, DType.Q8_0)]
    [InlineData("blk.6.attn_q.weight", 100, DType.F16)]
    public void The_usual_mix_spends_bits_where_they_matter(string name, int columns, object type)
        => Assert.Equal((DType)type, GgufRecipe.Find("q4_k_m").For(name, columns, 32, tied: false));

    [Fact]
    public void A_tied_embedding_is_stored_as_a_head() => Assert.Equal(DType.Q6_K, GgufRecipe.Find("Q4_K").For("token_embd.weight", 256, 32, tied: true));

    [Fact]
    public void A_split_model_is_found_from_any_part()
    {
        using var folder = new TemporaryFolder();
        using GgufFile whole = GgufFile.Open(Golden.Gguf("qwen2"));
        int half = whole.Tensors.Count / 2;
        for (int part = 0; part < 2; part++)
        {
            using FileStream stream = File.Create(folder.File($"m-0000{part + 1}-of-00002.gguf"));
            var writer = new GgufWriter(stream);
            foreach (GgufValue value in whole.Metadata.Values)
                if (part == 0) writer.Add(value);
            writer.Add("split.no", part);
            writer.Add("split.count", 2);
            writer.Add("split.tensors.count", whole.Tensors.Count);
            GgufTensor[] mine = [.. part == 0 ? whole.Tensors.Take(half) : whole.Tensors.Skip(half)];
            foreach (GgufTensor t in mine) writer.AddTensor(t.Name, t.Type, t.Shape);
            writer.WriteHeader();
            foreach (GgufTensor t in mine) writer.WriteData(t.File.Span(t.Offset, t.Bytes));
        }
        foreach (string path in (string[])[folder.File("m-00001-of-00002.gguf"), folder.File("m-00002-of-00002.gguf"), folder.Path])
        {
            using Checkpoint model = Checkpoint.Open(path);
            Assert.Equal(whole.Tensors.Count, model.Tensors.Count);
            Golden.UseAll(path);
        }
        File.Move(folder.File("m-00002-of-00002.gguf"), folder.File("gone"));
        Assert.Contains("m-00002-of-00002.gguf", Assert.Throws<InvalidModelFileException>(() => Checkpoint.Open(folder.File("m-00001-of-00002.gguf"))).Message, StringComparison.Ordinal);
        File.Copy(folder.File("m-00001-of-00002.gguf"), folder.File("m-00002-of-00002.gguf"));
        Assert.Throws<InvalidModelFileException>(() => Checkpoint.Open(folder.File("m-00001-of-00002.gguf")));
        File.Move(folder.File("m-00001-of-00002.gguf"), folder.File("renamed.gguf"));
        Assert.Contains("2 files", Assert.Throws<InvalidModelFileException>(() => Checkpoint.Open(folder.File("renamed.gguf"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Stopping_leaves_no_file_and_the_source_is_never_overwritten()
    {
        using var folder = new TemporaryFolder();
        File.Copy(Golden.Gguf("qwen2"), folder.File("in.gguf"));
        using Checkpoint source = Checkpoint.Open(folder.File("in.gguf"));
        using var stop = new CancellationTokenSource();
        stop.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() => GgufExport.Run(source, folder.File("out.gguf"), GgufRecipe.Find("Q8_0"), cancellationToken: stop.Token));
        Assert.Throws<InvalidOptionException>(() => GgufExport.Run(source, folder.File("in.gguf"), GgufRecipe.Find("Q8_0")));
        Assert.Throws<InvalidOptionException>(() => GgufExport.Run(source, folder.File("no/such/folder/out.gguf"), GgufRecipe.Find("Q8_0")));
        Assert.Contains("Q4_K_M", Assert.Throws<InvalidOptionException>(() => GgufRecipe.Find("Q9_9")).Message, StringComparison.Ordinal);
        Assert.Single(Directory.GetFiles(folder.Path));
    }

    private sealed class Listener(List<GgufExportProgress> heard) : IProgress<GgufExportProgress>
    {
        public void Report(GgufExportProgress value) => heard.Add(value);
    }
}
