using System.Text.Json;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;

namespace DeepSeek.Extensions.Tests;

[Collection(Models.Collection)]
public class ChatContractTests(Models models)
{
    private static readonly ChatMessage[] Sum = [new(ChatRole.User, "What is 348 + 265?")];

    private static ChatOptions Greedy => new() { Temperature = 0, MaxOutputTokens = 200 };

    [Fact]
    public async Task ThoughtAndAnswerComeApartAndUsageComesLast()
    {
        List<ChatResponseUpdate> updates = await models.Client.GetStreamingResponseAsync(Sum, Greedy).ToListAsync();
        Assert.All(updates, u =>
        {
            Assert.Equal(ChatRole.Assistant, u.Role);
            Assert.Equal(updates[0].ResponseId, u.ResponseId);
            Assert.Equal(updates[0].MessageId, u.MessageId);
            Assert.Equal(updates[0].CreatedAt, u.CreatedAt);
            Assert.Equal(models.Tiny.Info.Name, u.ModelId);
            Assert.Null(u.ConversationId);
        });
        Assert.NotNull(updates[0].ResponseId);
        Assert.NotNull(updates[0].MessageId);
        Assert.NotNull(updates[0].CreatedAt);
        Assert.All(updates[..^1], u => Assert.Null(u.FinishReason));
        Assert.All(updates[..^1], u => Assert.DoesNotContain(u.Contents, c => c is UsageContent));
        Assert.Equal(ChatFinishReason.Stop, updates[^1].FinishReason);
        Assert.IsType<UsageContent>(Assert.Single(updates[^1].Contents));
        int answer = updates.FindIndex(u => u.Contents.Any(c => c is TextContent));
        Assert.True(answer > updates.FindLastIndex(u => u.Contents.Any(c => c is TextReasoningContent)));
        Assert.True(updates.Count(u => u.Contents.Any(c => c is TextReasoningContent)) > 5, "The thought came in one piece.");

        ChatResponse response = updates.ToChatResponse();
        Assert.Contains("613", response.Text, StringComparison.Ordinal);
        Assert.DoesNotContain("think>", response.Text, StringComparison.Ordinal);
        UsageDetails usage = response.Usage!;
        Assert.Equal(usage.InputTokenCount + usage.OutputTokenCount, usage.TotalTokenCount);
        Assert.InRange(usage.ReasoningTokenCount!.Value, 5, usage.OutputTokenCount!.Value - 3);
        Assert.NotNull(usage.CachedInputTokenCount);
    }

    [Fact]
    public async Task FoldedAndStreamedAgree()
    {
        ChatResponse folded = await models.Client.GetResponseAsync(Sum, Greedy), streamed = await models.Client.GetStreamingResponseAsync(Sum, Greedy).ToChatResponseAsync();
        Assert.Equal(streamed.Text, folded.Text);
        Assert.Equal(Thought(streamed), Thought(folded));
        Assert.NotEqual(streamed.ResponseId, folded.ResponseId);
        Assert.Equal(ChatFinishReason.Stop, folded.FinishReason);
        Assert.Equal(models.Tiny.Info.Name, folded.ModelId);
        Assert.Null(folded.ConversationId);
        Assert.Equal(UpdateKind.End, Assert.IsAssignableFrom<IReadOnlyList<GenerationUpdate>>(folded.RawRepresentation)[^1].Kind);
    }

    [Fact]
    public async Task ThoughtsCanBeKeptBackAndLeftOut()
    {
        ChatResponse hidden = await models.Client.GetResponseAsync(Sum, With(o => o.Reasoning = new() { Output = ReasoningOutput.None }));
        Assert.Equal("", Thought(hidden));
        Assert.Contains("613", hidden.Text, StringComparison.Ordinal);
        Assert.True(hidden.Usage!.ReasoningTokenCount > 0);
        ChatResponse without = await models.Client.GetResponseAsync([new(ChatRole.User, "What is 16 - 6?")], With(o => o.Reasoning = new() { Effort = ReasoningEffort.None }));
        Assert.Equal("", Thought(without));
        Assert.Contains("10", without.Text, StringComparison.Ordinal);
        Assert.Equal(0, without.Usage!.ReasoningTokenCount);
        ChatResponse full = await models.Client.GetResponseAsync(Sum, With(o => o.Reasoning = new() { Effort = ReasoningEffort.High, Output = ReasoningOutput.Full }));
        Assert.NotEqual("", Thought(full));
    }

    [Fact]
    public async Task ABudgetClosesTheThought()
    {
        ChatResponse r = await models.Client.GetResponseAsync(Sum, With(o => o.RawRepresentationFactory = _ => new GenerationOptions { ThinkingBudget = 6 }));
        Assert.InRange(r.Usage!.ReasoningTokenCount!.Value, 6, 10);
        Assert.NotEqual("", r.Text);
    }

    [Fact]
    public async Task LimitsAndStopsAreKept()
    {
        ChatResponse cut = await models.Client.GetResponseAsync(Sum, With(o => o.MaxOutputTokens = 4));
        Assert.Equal(ChatFinishReason.Length, cut.FinishReason);
        Assert.Equal(4, cut.Usage!.OutputTokenCount);
        ChatResponse stopped = await models.Client.GetResponseAsync(Sum, With(o => o.StopSequences = ["= 6"]));
        Assert.Equal(ChatFinishReason.Stop, stopped.FinishReason);
        Assert.DoesNotContain("=", stopped.Text, StringComparison.Ordinal);
        Assert.Contains("265", stopped.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ASeedRepeatsADraw()
    {
        ChatOptions options = new() { Temperature = 3, Seed = 5, MaxOutputTokens = 24 };
        string first = All(await models.Client.GetResponseAsync(Sum, options));
        Assert.Equal(first, All(await models.Client.GetResponseAsync(Sum, options)));
        options.Seed = 6;
        Assert.NotEqual(first, All(await models.Client.GetResponseAsync(Sum, options)));
    }

    [Fact]
    public async Task LogProbabilitiesAreReachable()
    {
        ChatOptions options = With(o => o.RawRepresentationFactory = _ => new GenerationOptions { TopLogProbabilities = 2 });
        List<ChatResponseUpdate> updates = await models.Client.GetStreamingResponseAsync(Sum, options).ToListAsync();
        GeneratedToken[] tokens = [.. updates.SelectMany(u => Assert.IsType<GenerationUpdate>(u.RawRepresentation).Tokens)];
        Assert.Equal(updates.ToChatResponse().Usage!.OutputTokenCount, tokens.Length);
        Assert.All(tokens, t =>
        {
            Assert.InRange(t.LogProbability!.Value, -20f, 0f);
            Assert.Equal(2, t.Alternatives.Count);
            Assert.Equal(t.Id, t.Alternatives[0].Id); // greedy
        });
    }

    [Fact]
    public async Task AForeignModelIdIsLoggedOnceAndAnsweredAnyway()
    {
        var log = new LogLines();
        IChatClient client = models.Tiny.AsIChatClient(log);
        ChatOptions options = With(o => (o.ModelId, o.MaxOutputTokens) = ("gpt-x", 1));
        Assert.Equal(models.Tiny.Info.Name, (await client.GetResponseAsync(Sum, options)).ModelId);
        await client.GetResponseAsync(Sum, options);
        (LogLevel level, string line) = Assert.Single(log.Lines);
        Assert.Equal(LogLevel.Warning, level);
        Assert.Contains("'gpt-x'", line, StringComparison.Ordinal);
        options.ModelId = models.Tiny.Info.Name;
        await client.GetResponseAsync(Sum, options);
        Assert.Single(log.Lines);
    }

    [Fact]
    public void ServicesAreFound()
    {
        IChatClient client = models.Client;
        Assert.Same(client, client.GetService<IChatClient>());
        Assert.Same(models.Tiny, client.GetService<LanguageModel>());
        ChatClientMetadata metadata = client.GetService<ChatClientMetadata>()!;
        Assert.Equal(("deepseek", models.Tiny.Info.Name), (metadata.ProviderName, metadata.DefaultModelId));
        Assert.Null(client.GetService<LanguageModel>("key"));
        Assert.Null(client.GetService<string>());
    }

    [Fact]
    public async Task NothingOfTheCallersIsChanged()
    {
        ChatMessage[] messages = [new(ChatRole.System, "Answer briefly."), new(ChatRole.User, "Stock price of GLOB?")];
        ChatOptions options = With(o =>
        {
            o.Instructions = "Be concise and correct.";
            o.Reasoning = new() { Effort = ReasoningEffort.None };
            o.Tools = [AIFunctionFactory.CreateDeclaration("get_stock_price", "Get the price of a stock", JsonElement.Parse("""{"type":"object","properties":{"symbol":{"type":"string"}},"required":["symbol"]}"""))];
        });
        string before = State(messages, options);
        await models.Client.GetResponseAsync(messages, options);
        Assert.Equal(before, State(messages, options));

        static string State(ChatMessage[] m, ChatOptions o) => JsonSerializer.Serialize(m, AIJsonUtilities.DefaultOptions) + JsonSerializer.Serialize(o, AIJsonUtilities.DefaultOptions) + o.Tools!.Count + string.Concat(o.Tools.Select(t => t.Name));
    }

    [Fact]
    public async Task AskingForWhatIsNotThereFailsBeforeAnythingIsGenerated()
    {
        await Assert.ThrowsAsync<InvalidOptionException>(() => models.Client.GetResponseAsync(Sum, new ChatOptions { ConversationId = "x" }));
        await Assert.ThrowsAsync<UnsupportedModelException>(() => models.Client.GetResponseAsync([new(ChatRole.User, [new UriContent("http://localhost/cat.png", "image/png")])]));
        await Assert.ThrowsAsync<InvalidOptionException>(() => models.Client.GetResponseAsync([]));
        await Assert.ThrowsAsync<ArgumentNullException>(() => models.Client.GetResponseAsync((IEnumerable<ChatMessage>)null!));
        UnsupportedModelException e = await Assert.ThrowsAsync<UnsupportedModelException>(() => models.Client.GetResponseAsync(Sum,
            new ChatOptions { ResponseFormat = ChatResponseFormat.ForJsonSchema(JsonElement.Parse("""{"type":"array","items":{"type":"string"},"uniqueItems":true}""")) }));
        Assert.Contains("uniqueItems", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task CancellationEndsTheStreamAndNothingElse()
    {
        using var cancel = new CancellationTokenSource();
        int seen = 0;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (ChatResponseUpdate _ in models.Client.GetStreamingResponseAsync(Sum, Endless, cancel.Token))
                if (++seen == 3) await cancel.CancelAsync();
        });
        Assert.True(seen >= 3);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => models.Client.GetResponseAsync(Sum, Greedy, cancel.Token));
        Assert.Contains("613", (await models.Client.GetResponseAsync(Sum, Greedy)).Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task CallsAtTheSameTimeKeepApart()
    {
        IChatClient client = models.Client;
        (int A, int B)[] sums = [(348, 265), (1234, 4321), (86, 152), (309, 43), (921, 534), (130, 70)];
        string[] answers = await Task.WhenAll(sums.Select(async s => (await client.GetResponseAsync($"{s.A} + {s.B} =", Greedy)).Text));
        Assert.All(sums.Zip(answers), x => Assert.EndsWith($"{x.First.A + x.First.B}", x.Second.TrimEnd('.'), StringComparison.Ordinal));
    }

    [Fact]
    public async Task ADisposedClientStopsStreamingAndLeavesTheModelAlone()
    {
        IChatClient client = models.Client;
        await Assert.ThrowsAsync<ObjectDisposedException>(async () =>
        {
            await foreach (ChatResponseUpdate _ in client.GetStreamingResponseAsync(Sum, Endless)) client.Dispose();
        });
        Assert.Throws<ObjectDisposedException>(() => { client.GetStreamingResponseAsync(Sum); });
        Assert.Contains("613", (await models.Client.GetResponseAsync(Sum, Greedy)).Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AModelThatIsDisposedWhileStreamingCancels()
    {
        LanguageModel model = await LanguageModel.LoadAsync(Models.TinyPath, new LanguageModelOptions { Threads = 1 });
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (ChatResponseUpdate _ in model.AsIChatClient().GetStreamingResponseAsync(Sum, Endless)) await model.DisposeAsync();
        });
        await Assert.ThrowsAsync<ObjectDisposedException>(() => model.AsIChatClient().GetResponseAsync(Sum));
    }

    [Fact]
    public async Task AConversationGoesOnFromTheCache()
    {
        string rules = string.Join(' ', Enumerable.Repeat("You are tiny-reasoner, a small model that shows its work.", 8)); // longer than a block of the cache
        List<ChatMessage> history = [new(ChatRole.System, rules), new(ChatRole.User, "I have 3314 apples and get 890 more. How many apples do I have?")];
        ChatResponse first = await models.Client.GetResponseAsync(history, Greedy);
        history.AddMessages(first);
        history.Add(new(ChatRole.User, "What is 207 + 611?"));
        ChatResponse second = await models.Client.GetResponseAsync(history, Greedy);
        Assert.Contains("818", second.Text, StringComparison.Ordinal);
        Assert.True(second.Usage!.CachedInputTokenCount > 0);
    }

    private static ChatOptions Endless => new() { Temperature = 0, MaxOutputTokens = 2000, RawRepresentationFactory = _ => new GenerationOptions { IgnoreEndOfTurn = true } };

    private static ChatOptions With(Action<ChatOptions> change)
    {
        ChatOptions options = Greedy;
        change(options);
        return options;
    }

    private static string Thought(ChatResponse r) => string.Concat(r.Messages.SelectMany(m => m.Contents).OfType<TextReasoningContent>().Select(c => c.Text));

    private static string All(ChatResponse r) => Thought(r) + r.Text;
}
