using DeepSeek.Generation;

namespace DeepSeek.Core.Tests.Generation;

/// <summary>
/// The determinism contract (src/README.md) over whole models: the embedded ones, and one in Q4_K. What is compared are the logits that an answer's last token was drawn from: a bit that
/// differed anywhere before would show there.
/// </summary>
public sealed class DeterminismTests(QuantisedModel quantised) : IClassFixture<QuantisedModel>
{
    private const int Count = 12;

    private sealed record Answer(int[] Tokens, float[] Logits, GenerationUsage Usage);

    /// <summary>Eight prompts with a common beginning.</summary>
    private static readonly int[][] Prompts = [.. new[] { 1, 3, 2, 5, 4, 7, 6, 9 }.Select(n => (int[])[.. Tokens(33), .. Tokens(33).Take(n)])];

    private static int[] Tokens(int count) => [.. Enumerable.Range(0, count).Select(i => 20 + (i * 37 + i * i % 11) % 300)];

    private string PathOf(string name) => name == "Q4_K" ? quantised.Path : SharedData.Model(name);

    private static LanguageModelOptions Options(int threads, Speculation speculation, bool reproducible = true)
        => new() { Reproducible = reproducible, Threads = threads, Speculation = speculation, ContextLength = 96 };

    /// <summary>Answers are a die's throws of few tokens: what was said before is looked up all the time, and often it is not said again.</summary>
    private static readonly GenerationOptions Dice = new() { Temperature = 8, TopP = 1, TopK = 0, MaxTokens = Count, IgnoreEndOfTurn = true, LogitBias = new Dictionary<int, float> { [50] = 1000, [60] = 1000, [70] = 1000 } };

    private static async Task<Answer> Run(LanguageModel model, int[] prompt, GenerationOptions options)
    {
        GenerationRequest request = model.NewRequest(prompt, options, keepLastLogits: true);
        model.Loaded.Engine.Submit(request);
        int[] tokens = await FakeEngine.Finish(request);
        return new(tokens, request.LastLogits!, request.Usage(tokens.Length));
    }

    private static void Same(Answer expected, Answer actual)
    {
        Assert.Equal(expected.Tokens, actual.Tokens);
        Assert.Equal(expected.Logits, actual.Logits);
    }

    [Theory]
    [InlineData("tiny-reasoner")]
    [InlineData("SmolLM2-135M-Instruct.Q4_1.gguf")]
    [InlineData("Q4_K")]
    public async Task Reproducible_IsBitEqual_WhateverHappens(string name)
    {
        using var folder = new TemporaryFolder();
        string file = folder.File("a.session");
        var alone = new Answer[Prompts.Length];
        await using (LanguageModel model = await LanguageModel.LoadAsync(PathOf(name), Options(2, Speculation.Off)))
        {
            for (int i = 0; i < Prompts.Length; i++) alone[i] = await Run(model, Prompts[i], Dice with { Tenant = $"tenant {i}", Seed = i }); // one after the other, and nothing of another's is found
            Assert.All(alone, a => Assert.Equal(0, a.Usage.CachedTokens));
            Answer hit = await Run(model, Prompts[7], Dice with { Tenant = "tenant 7", Seed = 7 });
            Assert.Equal(32, hit.Usage.CachedTokens);
            Same(alone[7], hit);
            Assert.Equal(32, await model.SaveSessionAsync(file, Prompts[7]));
        }
        // A batch of eight with one thread, with drafts of which some are rolled back, and behind a common prefix for those that come late.
        await using (LanguageModel model = await LanguageModel.LoadAsync(PathOf(name), Options(1, Speculation.On)))
        {
            Answer[] together = await Task.WhenAll(Prompts.Select((p, i) => Task.Run(() => Run(model, p, Dice with { Seed = i }))));
            for (int i = 0; i < Prompts.Length; i++) Same(alone[i], together[i]);
            Assert.True(together.Sum(a => a.Usage.DraftedTokens) > together.Sum(a => a.Usage.AcceptedTokens), "no draft was rolled back");
        }
        await using (LanguageModel model = await LanguageModel.LoadAsync(PathOf(name), Options(2, Speculation.Off)))
        {
            Assert.Equal(32, await model.LoadSessionAsync(file));
            Answer restored = await Run(model, Prompts[7], Dice with { Seed = 7 });
            Assert.Equal(32, restored.Usage.CachedTokens);
            Same(alone[7], restored);
        }
    }

    /// <summary>Alone, drafts change nothing in the default mode either: the rows of a request that generates are few enough to take one recipe.</summary>
    [Theory]
    [InlineData("tiny-reasoner")]
    [InlineData("SmolLM2-135M-Instruct.Q4_1.gguf")]
    [InlineData("Q4_K")]
    public async Task ByDefault_DraftsChangeNoBit_OfARequestAlone(string name)
    {
        // Greedily small models repeat themselves: drafts are accepted, several at a time; then one is not.
        Answer? plain = null;
        foreach (Speculation speculation in new[] { Speculation.Off, Speculation.On, Speculation.Auto })
        {
            await using LanguageModel model = await LanguageModel.LoadAsync(PathOf(name), Options(2, speculation, reproducible: false));
            Answer answer = await Run(model, Prompts[1], Dice with { Temperature = 0, LogitBias = null, MaxTokens = 32, Seed = 1 });
            plain ??= answer;
            Same(plain, answer);
            if (speculation == Speculation.On) Assert.True(answer.Usage.DraftedTokens > 0);
        }
    }

    /// <summary>Nor does the clock: however long steps seem to take, a prompt that is alone is cut at the same places.</summary>
    [Theory]
    [InlineData("tiny-reasoner")]
    [InlineData("Q4_K")]
    public async Task ByDefault_TheClockChangesNoBit_OfARequestAlone(string name)
    {
        Answer? expected = null;
        foreach (int step in new[] { 0, 1, 40_000 })
        {
            await using LanguageModel model = await LanguageModel.LoadAsync(PathOf(name), Options(2, Speculation.Auto, reproducible: false) with { ContextLength = 800, TimeProvider = new LeapingClock(step) });
            for (int i = 0; i < 12; i++) await Run(model, Tokens(64), Dice with { MaxTokens = 2, Seed = 1, Tenant = $"{i}" }); // it learns how fast the machine is
            Answer answer = await Run(model, Tokens(700), Dice with { Temperature = 0, LogitBias = null, MaxTokens = 24, Seed = 1 });
            expected ??= answer;
            Same(expected, answer);
        }
    }

    /// <summary>Goes so many milliseconds each time that somebody looks.</summary>
    private sealed class LeapingClock(int milliseconds) : TimeProvider
    {
        private long now;

        public override long TimestampFrequency => 1000;

        public override long GetTimestamp() => Interlocked.Add(ref now, milliseconds);
    }
}

/// <summary>The tiny reasoner in the usual mix around Q4_K.</summary>
public sealed class QuantisedModel : IAsyncLifetime
{
    private readonly TemporaryFolder folder = new();

    public string Path => folder.File("tiny-reasoner.Q4_K_M.gguf");

    public Task InitializeAsync() => LanguageModel.QuantiseAsync(SharedData.Model("tiny-reasoner"), Path, "Q4_K_M");

    public Task DisposeAsync()
    {
        folder.Dispose();
        return Task.CompletedTask;
    }
}
