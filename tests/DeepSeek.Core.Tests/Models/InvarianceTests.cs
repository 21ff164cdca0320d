using DeepSeek.Backends;
using DeepSeek.Formats;

namespace DeepSeek.Core.Tests.Models;

/// <summary>However a prompt is cut, batched and laid into the cache, its logits stay: on the scalar backend to the bit.</summary>
public class InvarianceTests
{
    private static readonly int[] Prompt = [.. Enumerable.Range(0, 45).Select(i => 2 + i * i * 7 % 300)];

    public static TheoryData<string> Models => ["llama", "qwen2", "qwen3-moe", "deepseek-v3"];

    [Theory]
    [MemberData(nameof(Models))]
    public void PrefillIsTokenByToken(string model) => With(model, run =>
    {
        float[][] whole = run.Step((0, Prompt));
        for (int t = 0; t < Prompt.Length; t++) Assert.Equal(whole[t], run.Step((1, [Prompt[t]]))[0]);
        for (int from = 0, size = 1; from < Prompt.Length; from += size++)
        {
            int[] chunk = Prompt[from..Math.Min(from + size, Prompt.Length)];
            Assert.Equal(whole[from..(from + chunk.Length)], run.Step((2, chunk)));
        }
    });

    [Theory]
    [MemberData(nameof(Models))]
    public void ABatchIsItsSingles(string model) => With(model, run =>
    {
        int[][] prompts = [Prompt[..5], Prompt[7..40], Prompt[3..4], Prompt[20..38]];
        float[][] batch = run.Step([.. prompts.Select((p, i) => (i, p))]);
        float[][] next = run.Step([.. prompts.Select((p, i) => (i, (int[])[9 + i]))]);
        int row = 0;
        for (int i = 0; i < prompts.Length; i++)
        {
            Assert.Equal(batch[row..(row += prompts[i].Length)], run.Step((10 + i, prompts[i])));
            Assert.Equal(next[i], run.Step((10 + i, [9 + i]))[0]);
        }
    });

    [Theory]
    [MemberData(nameof(Models))]
    public void BlocksMayLieAnywhere(string model)
    {
        float[][] first = [], again = [];
        With(model, run => first = run.Step((0, Prompt), (1, Prompt[..9])));
        With(model, run => again = run.Step((0, Prompt), (1, Prompt[..9])), blockTokens: 7, shuffle: 3);
        Assert.Equal(first, again);
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void WhatIsRolledBackIsForgotten(string model) => With(model, run =>
    {
        run.Step((0, Prompt));
        run.Truncate(0, 20);
        run.Step((1, Prompt[..20]));
        Assert.Equal(run.Step((1, [5, 6])), run.Step((0, [5, 6])));
    });

    [Theory]
    [InlineData("llama", CacheFormat.F16, 1e-6)]
    [InlineData("llama", CacheFormat.BF16, 1e-4)]
    [InlineData("llama", CacheFormat.Q8, 1e-3)]
    [InlineData("deepseek-v3", CacheFormat.F16, 1e-6)]
    [InlineData("deepseek-v3", CacheFormat.BF16, 1e-4)]
    internal void SmallerCachesComeClose(string model, CacheFormat format, double limit)
    {
        float[] exact = [], close = [];
        With(model, run => exact = run.Step((0, Prompt))[^1]);
        With(model, run => close = run.Step((0, Prompt))[^1], format);
        Assert.InRange(Golden.Nmse(close, exact), double.Epsilon, limit);
    }

    [Theory]
    [InlineData("llama3-rope")]
    [InlineData("qwen2")]
    [InlineData("qwen3-moe")]
    [InlineData("deepseek-v3")]
    public void AGgufFileIsItsFolder(string model)
    {
        float[][] folder = [], gguf = [];
        With(model, run => folder = run.Step((0, Prompt)));
        With(model + "/model-bf16.gguf", run => gguf = run.Step((0, Prompt)));
        for (int t = 0; t < Prompt.Length; t++) Assert.InRange(Golden.Nmse(gguf[t], folder[t]), 0, 1e-10);
    }

    private static void With(string model, Action<ModelRun> test, CacheFormat format = CacheFormat.F32, int blockTokens = 16, int? shuffle = null)
    {
        using Checkpoint checkpoint = Checkpoint.Open(SharedData.Local("golden", model));
        using var backend = new ReferenceBackend();
        using var run = new ModelRun(checkpoint, backend, format, blockTokens, shuffle);
        test(run);
    }
}
