using System.Text.Json;
using DeepSeek.Generation;

namespace DeepSeek.Core.Tests;

/// <summary>The whole library with a small trained model: it reasons through sums and calls tools, and greedy answers have wide margins.</summary>
public sealed class LanguageModelTests : IAsyncLifetime
{
    private static readonly GenerationOptions Greedy = new() { Temperature = 0, MaxTokens = 200 };
    private static readonly string TinyReasoner = SharedData.Model("tiny-reasoner");
    private LanguageModel model = null!;

    public async Task InitializeAsync() => model = await LanguageModel.LoadAsync(TinyReasoner, new LanguageModelOptions { Reproducible = true });

    public async Task DisposeAsync() => await model.DisposeAsync();

    private static async Task<(string Answer, string Reasoning, List<ToolCall> Calls, GenerationUpdate End, int Tokens)> Fold(IAsyncEnumerable<GenerationUpdate> updates)
    {
        string answer = "", reasoning = "";
        var calls = new List<ToolCall>();
        GenerationUpdate? end = null;
        int tokens = 0;
        await foreach (GenerationUpdate u in updates)
        {
            Assert.Null(end);
            tokens += u.Tokens.Count;
            if (u.Kind == UpdateKind.Answer) answer += u.Text;
            else if (u.Kind == UpdateKind.Reasoning) reasoning += u.Text;
            else if (u.Kind == UpdateKind.ToolCall) calls.Add(u.ToolCall!);
            else end = u;
        }
        return (answer, reasoning, calls, Assert.IsType<GenerationUpdate>(end), tokens);
    }

    [Fact]
    public async Task ItReasons_AndAnswers()
    {
        var (answer, reasoning, calls, end, tokens) = await Fold(model.GenerateAsync([Message.User("What is 348 + 265?")], Greedy));
        Assert.Equal("348 + 265 = 613.", answer);
        Assert.Contains("ones 8+5", reasoning, StringComparison.Ordinal);
        Assert.Empty(calls);
        Assert.Equal(FinishReason.Stop, end.FinishReason);
        Assert.Equal(tokens, end.Usage!.GeneratedTokens);
        Assert.InRange(end.Usage.ReasoningTokens, 20, tokens - 5);
        Assert.Equal("348 + 265 = 613.", await model.ChatAsync("What is 348 + 265?", Greedy));
    }

    [Fact]
    public async Task AThinkingBudget_ClosesTheThought()
    {
        var (answer, reasoning, _, end, _) = await Fold(model.GenerateAsync([Message.User("What is 348 + 265?")], Greedy with { ThinkingBudget = 8, MaxTokens = 60 }));
        Assert.InRange(end.Usage!.ReasoningTokens, 8, 12);
        Assert.DoesNotContain("</think>", reasoning + answer, StringComparison.Ordinal);
        Assert.NotEmpty(answer);
        var (_, none, _, without, _) = await Fold(model.GenerateAsync([Message.User("What is 2 + 3?")], Greedy with { Thinking = false }));
        Assert.Equal(("", 0), (none, without.Usage!.ReasoningTokens));
    }

    [Fact]
    public async Task StopStrings_EndTheAnswer_ThoughtsMayContainThem()
    {
        var (answer, reasoning, _, end, _) = await Fold(model.GenerateAsync([Message.User("What is 348 + 265?")], Greedy with { StopSequences = ["= 6", "+5"] }));
        Assert.Equal("348 + 265 ", answer);
        Assert.Contains("+5", reasoning, StringComparison.Ordinal);
        Assert.Equal(FinishReason.Stop, end.FinishReason);
    }

    [Fact]
    public async Task AConstraint_HoldsTheAnswer_NotTheThought()
    {
        using JsonDocument schema = JsonDocument.Parse("""{"type":"object","properties":{"sum":{"type":"integer","minimum":0,"maximum":999}},"required":["sum"],"additionalProperties":false}""");
        var (answer, reasoning, _, end, _) = await Fold(model.GenerateAsync([Message.User("What is 348 + 265?")], Greedy with { Constraint = new OutputConstraint.JsonSchema(schema.RootElement) }));
        Assert.Contains("613", reasoning, StringComparison.Ordinal);
        using JsonDocument made = JsonDocument.Parse(answer);
        Assert.InRange(made.RootElement.GetProperty("sum").GetInt32(), 0, 999);
        Assert.Equal(FinishReason.Stop, end.FinishReason);
        var (choice, _, _, _, _) = await Fold(model.GenerateAsync([Message.User("What is 348 + 265?")], Greedy with { Constraint = new OutputConstraint.Choice(["yes", "no"]), Thinking = false }));
        Assert.Contains(choice, new[] { "yes", "no" });
    }

    private static ToolDefinition[] Tools(params string[] names)
    {
        using JsonDocument schema = JsonDocument.Parse("""{"type":"object","properties":{"city":{"type":"string","maxLength":20}},"required":["city"],"additionalProperties":false}""");
        return [.. names.Select(n => new ToolDefinition(n, "Looks something up.", schema.RootElement.Clone()))];
    }

    [Fact]
    public async Task ARequiredTool_IsCalled()
    {
        foreach (bool thinking in new[] { false, true })
        {
            var (_, _, calls, end, _) = await Fold(model.GenerateAsync([Message.User("What is 2 + 3?")],
                Greedy with { Tools = Tools("get_weather", "get_time"), ToolChoice = new ToolChoice.Function("get_time"), Thinking = thinking }));
            ToolCall call = Assert.Single(calls);
            Assert.Equal("get_time", call.Name);
            Assert.Equal(JsonValueKind.String, call.Arguments.GetProperty("city").ValueKind);
            Assert.Equal(FinishReason.ToolCalls, end.FinishReason);
        }
        await Assert.ThrowsAsync<InvalidOptionException>(() => Fold(model.GenerateAsync([Message.User("?")], Greedy with { ToolChoice = ToolChoice.Required })));
        await Assert.ThrowsAsync<InvalidOptionException>(() => Fold(model.GenerateAsync([Message.User("?")], Greedy with { Tools = Tools("a"), ToolChoice = new ToolChoice.Function("b") })));
    }

    [Fact]
    public async Task LeavingTheEnumeration_EndsTheRequest()
    {
        await foreach (GenerationUpdate _ in model.GenerateAsync([Message.User("What is 348 + 265?")], Greedy with { IgnoreEndOfTurn = true, MaxTokens = 900 })) break;
        using var cancel = new CancellationTokenSource();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (GenerationUpdate _ in model.GenerateAsync([Message.User("What is 348 + 265?")], Greedy with { IgnoreEndOfTurn = true, MaxTokens = 900 }, cancel.Token)) await cancel.CancelAsync();
        });
        await model.Loaded.Engine.InvokeAsync(_ => 0);
        Assert.Equal(0, model.Statistics.RunningSequences);
        Assert.Equal(0, model.Statistics.UsedCacheBlocks);
    }

    [Fact]
    public async Task ARawPrompt_IsContinued_AndScored()
    {
        var (text, _, _, end, _) = await Fold(model.CompleteAsync("First Citizen:\n", Greedy with { MaxTokens = 12, TopLogProbabilities = 2 }));
        Assert.NotEmpty(text);
        Assert.Equal(FinishReason.Length, end.FinishReason);
        await Assert.ThrowsAsync<InvalidOptionException>(() => Fold(model.CompleteAsync([999_999], Greedy)));
        await Assert.ThrowsAsync<InvalidOptionException>(() => Fold(model.CompleteAsync(Array.Empty<int>(), Greedy)));
        var e = await Assert.ThrowsAsync<ContextLengthException>(() => Fold(model.CompleteAsync(new int[5000], Greedy)));
        Assert.Equal((5000, model.Info.ContextLength), (e.PromptTokens, e.ContextLength));
    }

    [Fact]
    public async Task Choices_AreThoseOfTheirSeeds()
    {
        GenerationOptions options = new() { Temperature = 1.2f, Seed = 9, MaxTokens = 25 };
        string[] answers = ["", "", ""];
        int ends = 0;
        await foreach (ChoiceUpdate c in model.GenerateChoicesAsync([Message.User("Good morning!")], 3, options))
        {
            answers[c.Choice] += c.Update.Text;
            if (c.Update.Kind == UpdateKind.End) ends++;
        }
        Assert.Equal(3, ends);
        for (int i = 0; i < 3; i++)
        {
            string alone = "";
            await foreach (GenerationUpdate u in model.GenerateAsync([Message.User("Good morning!")], options with { Seed = 9 + i })) alone += u.Text;
            Assert.Equal(alone, answers[i]);
        }
    }

    [Fact]
    public async Task Embeddings_HaveLengthOne_AndTellTextsApart()
    {
        foreach (EmbeddingPooling pooling in Enum.GetValues<EmbeddingPooling>())
        {
            float[][] v = await model.EmbedAsync(["What is 3 + 4?", "What is 3 + 5?", "First Citizen: We are accounted poor citizens.", "What is 3 + 4?"], pooling);
            Assert.All(v, x => Assert.Equal(1, x.Sum(y => y * y), 1e-4f));
            Assert.Equal(v[0], v[3]);
            Assert.True(Dot(v[0], v[1]) > Dot(v[0], v[2]));
        }

        static float Dot(float[] a, float[] b) => a.Zip(b, (x, y) => x * y).Sum();
    }

    [Fact]
    public void APlan_SaysWhatItNeeds()
    {
        ModelPlan plan = LanguageModel.Plan(TinyReasoner);
        Assert.Equal(PlanVerdict.Fits, plan.Verdict);
        Assert.Equal(model.Info.CacheBytesPerToken, plan.CacheBytesPerToken);
        Assert.Equal(model.Info.ParameterCount, plan.ParameterCount);
        Assert.InRange(plan.BytesReadPerToken, plan.WeightBytes / 10, plan.WeightBytes);
        Assert.True(plan.MemoryBytesPerSecond > 1e8);
        Assert.True(plan.ExpectedTokensPerSecond > 1);
    }

    [Fact]
    public async Task ImpossibleOptions_AreListedTogether()
    {
        var e = await Assert.ThrowsAsync<InvalidOptionException>(() => LanguageModel.LoadAsync(TinyReasoner, new LanguageModelOptions { Threads = 0, MaxSequences = 0, CacheBytes = -1 }));
        foreach (string name in new[] { "Threads is 0", "MaxSequences is 0", "CacheBytes is -1" }) Assert.Contains(name, e.Message, StringComparison.Ordinal);
        var memory = await Assert.ThrowsAsync<ModelMemoryException>(() => LanguageModel.LoadAsync(TinyReasoner, new LanguageModelOptions { ContextLength = 1000, CacheBytes = 1000 }));
        Assert.True(memory.RequiredBytes > memory.AvailableBytes);
    }

    [Fact]
    public async Task ADisposedModel_SaysSo()
    {
        LanguageModel other = await LanguageModel.LoadAsync(TinyReasoner);
        await other.DisposeAsync();
        await other.DisposeAsync();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => other.ChatAsync("?"));
    }
}
