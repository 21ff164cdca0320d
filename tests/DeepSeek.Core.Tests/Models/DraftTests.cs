using System.Text.Json;
using DeepSeek.Backends;
using DeepSeek.Formats;

namespace DeepSeek.Core.Tests.Models;

/// <summary>The module for multi-token prediction of the trained tiny DeepSeek-V3, against transformers' drafts.</summary>
public class DraftTests
{
    [Fact]
    public void DraftsAreAsRecorded()
    {
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllBytes(SharedData.Local("models", "tiny-reasoner.golden.json")));
        JsonElement prompts = golden.RootElement.GetProperty("prompts"), answers = golden.RootElement.GetProperty("fp8");
        With(run =>
        {
            foreach (JsonElement expected in answers.GetProperty("mtp").GetProperty("prompts").EnumerateArray())
            {
                int index = expected.GetProperty("index").GetInt32();
                int[] prompt = Ints(prompts[index].GetProperty("prompt_ids"));
                JsonElement answer = answers.GetProperty("prompts").EnumerateArray().Single(p => p.GetProperty("index").GetInt32() == index);
                int[] greedy = Ints(answer.GetProperty("greedy_ids")), ids = [.. prompt, .. greedy];
                float[][] main = run.Step((index, ids));
                if (answer.TryGetProperty("logits", out JsonElement logits))
                    Assert.InRange(Golden.Nmse(main[prompt.Length - 1], [.. logits.EnumerateArray().Select(x => x.GetSingle())]), 0, 1e-8);
                Assert.Equal(greedy, main[(prompt.Length - 1)..^1].Select(ModelRun.ArgMax));

                // Row t of the drafts: the hidden state of t and the token at t + 1, so a guess of the token at t + 2.
                (float[][] drafts, _) = run.Draft(index, 1, run.Hidden[..^1], ids[1..]);
                var (first, accepted) = (new List<int>(), new List<int>());
                for (int last = prompt.Length; last + 1 < ids.Length; last += 1 + accepted[^1]) // the last verified token is at last
                {
                    first.Add(ModelRun.ArgMax(drafts[last - 1]));
                    accepted.Add(first[^1] == ids[last + 1] ? 1 : 0);
                }
                Assert.Equal(Ints(expected.GetProperty("first_drafts")), first.Take(16));
                Assert.Equal(Ints(expected.GetProperty("first_accepted")), accepted.Take(16));
                Assert.Equal((expected.GetProperty("drafted").GetInt32(), expected.GetProperty("accepted").GetInt32()), (accepted.Count, accepted.Sum()));
            }
        });
    }

    [Fact]
    public void DraftingAtOnceIsDraftingTokenByToken() => With(run =>
    {
        int[] ids = [0, 3, 1002, 1153, 236, 39, 38, 40, 35, 383, 236, 40, 34, 39, 38, 29, 4, 5, 214];
        run.Step((0, ids));
        float[][] hidden = run.Hidden, whole = run.Draft(0, 1, hidden[..^1], ids[1..]).Logits;
        for (int p = 1; p < ids.Length; p++) Assert.Equal(whole[p - 1], run.Draft(0, p, [hidden[p - 1]], [ids[p]]).Logits[0]);
    });

    /// <summary>A chained draft guesses the token behind the guess. The module was trained for one step, so it is right less often, but far above chance (one in 2048).</summary>
    [Fact]
    public void DraftsChain() => With(run =>
    {
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllBytes(SharedData.Local("models", "tiny-reasoner.golden.json")));
        int[] prompt = Ints(golden.RootElement.GetProperty("prompts")[0].GetProperty("prompt_ids")), greedy = run.Greedy(0, prompt, 40), ids = [.. prompt, .. greedy];
        run.Step((1, ids));
        float[][] hidden = run.Hidden;
        int right = 0;
        run.Draft(1, 1, hidden[..(prompt.Length - 1)], ids[1..prompt.Length]);
        for (int p = prompt.Length; p + 2 < ids.Length; p++)
        {
            (float[][] first, float[][] state) = run.Draft(1, p, [hidden[p - 1]], [ids[p]]);
            (float[][] second, _) = run.Draft(1, p + 1, state, [ModelRun.ArgMax(first[0])]);
            if (ModelRun.ArgMax(second[0]) == ids[p + 2]) right++;
        }
        Assert.InRange(right, greedy.Length / 3, greedy.Length);
    });

    /// <summary>The module reads the checkpoint's own copies of embedding and head, the model's where there are none.</summary>
    [Fact]
    public void TheModulesOwnEmbeddingAndHead_AreUsed()
    {
        (float[] main, float[] shared) = Drafted(_ => { });
        Assert.Equal((main, shared), Drafted(c => c.AddCopy("model.embed_tokens.weight", Module + "embed_tokens.weight").AddCopy("lm_head.weight", Module + "shared_head.head.weight")), Same);
        (float[] sameMain, float[] otherHead) = Drafted(c => c.AddCopy("model.embed_tokens.weight", Module + "shared_head.head.weight"));
        (float[] stillMain, float[] otherTable) = Drafted(c => c.AddCopy("lm_head.weight", Module + "embed_tokens.weight"));
        Assert.Equal(main, sameMain);
        Assert.Equal(main, stillMain);
        Assert.True(Golden.Nmse(otherHead, shared) > 0.1);
        Assert.True(Golden.Nmse(otherTable, shared) > 1e-3);
        foreach (string copy in new[] { "embed_tokens.weight", "shared_head.head.weight" })
            Assert.Contains(Module + copy, Assert.Throws<InvalidModelFileException>(() => Drafted(c => c.Add(Module + copy, [3, 96], new float[3 * 96]))).Message, StringComparison.Ordinal);

        static bool Same((float[] Main, float[] Draft) a, (float[] Main, float[] Draft) b) => a.Main.SequenceEqual(b.Main) && a.Draft.SequenceEqual(b.Draft);
    }

    private const string Module = "model.layers.3.";

    /// <summary>The last logits of the golden DeepSeek-V3 with a module made of its last layer, and the module's.</summary>
    private static (float[] Main, float[] Draft) Drafted(Action<MemoryCheckpoint> change)
    {
        using MemoryCheckpoint checkpoint = MemoryCheckpoint.Load(SharedData.Local("golden", "deepseek-v3")).With("num_nextn_predict_layers", 1);
        foreach (string name in checkpoint.Tensors.Select(t => t.Name).Where(n => n.StartsWith("model.layers.2.", StringComparison.Ordinal)).ToArray())
            checkpoint.AddCopy(name, name.Replace("model.layers.2.", Module, StringComparison.Ordinal));
        foreach (string norm in new[] { "enorm", "hnorm", "shared_head.norm" }) checkpoint.AddCopy("model.norm.weight", $"{Module}{norm}.weight");
        checkpoint.Add(Module + "eh_proj.weight", [96, 192], Enumerable.Range(0, 96 * 192).Select(i => i % 192 % 96 == i / 192 ? 0.5f : 0).ToArray());
        change(checkpoint);
        using var backend = new ReferenceBackend();
        using var run = new ModelRun(checkpoint, backend);
        float[] main = run.Step((0, [5, 6, 7, 8]))[^1];
        return (main, run.Draft(0, 1, run.Hidden[..^1], [6, 7, 8]).Logits[^1]);
    }

    private static int[] Ints(JsonElement list) => [.. list.EnumerateArray().Select(x => x.GetInt32())];

    private static void With(Action<ModelRun> test)
    {
        using Checkpoint checkpoint = Checkpoint.Open(SharedData.Model("tiny-reasoner"));
        using var backend = new ReferenceBackend();
        using var run = new ModelRun(checkpoint, backend);
        Assert.Equal(1, run.Model.DraftModules);
        test(run);
    }
}
