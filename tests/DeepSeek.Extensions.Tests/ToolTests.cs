using System.ComponentModel;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace DeepSeek.Extensions.Tests;

/// <summary>Tools through the client alone, and through the real <see cref="FunctionInvokingChatClient"/>.</summary>
[Collection(Models.Collection)]
public class ToolTests(Models models)
{
    private const string Question = "How is the weather in Lisbon today?";

    private static readonly AIFunction Weather = AIFunctionFactory.Create(([Description("")] string city) => """{"temperature": 5, "sky": "rainy"}""", "get_weather", "Get the current weather of a city");

    private static readonly AIFunction Volume = AIFunctionFactory.Create((int level) => "{\"status\": \"done\"}", "set_volume", "Set the volume");

    private static ChatOptions With(params AITool[] tools) => new() { Temperature = 0, MaxOutputTokens = 200, Reasoning = new() { Effort = ReasoningEffort.None }, Tools = [.. tools] };

    [Fact]
    public async Task ACallComesWholeAndApartFromText()
    {
        List<ChatResponseUpdate> updates = await models.Client.GetStreamingResponseAsync(Question, With(Weather, Volume)).ToListAsync();
        FunctionCallContent call = Assert.Single(updates.SelectMany(u => u.Contents).OfType<FunctionCallContent>());
        Assert.Equal("get_weather", call.Name);
        Assert.Equal("Lisbon", Assert.IsType<JsonElement>(call.Arguments!["city"]).GetString());
        Assert.Null(call.Exception);
        ChatResponse response = updates.ToChatResponse();
        Assert.Equal("", response.Text);
        Assert.Equal(ChatFinishReason.ToolCalls, response.FinishReason);
        Assert.NotEqual(call.CallId, Calls(await models.Client.GetResponseAsync(Question, With(Weather))).Single().CallId);
    }

    [Fact]
    public async Task AThoughtBeforeACallIsReasoning()
    {
        ChatOptions options = With(Weather);
        options.Reasoning = null;
        ChatResponse response = await models.Client.GetResponseAsync(Question, options);
        Assert.Contains(response.Messages.SelectMany(m => m.Contents), c => c is TextReasoningContent { Text.Length: > 0 });
        Assert.Single(Calls(response));
        Assert.Equal("", response.Text);
    }

    [Fact]
    public async Task RequiredAndSpecificCallsCannotFail()
    {
        ChatOptions options = With(Weather, Volume);
        options.ToolMode = ChatToolMode.RequireAny;
        ChatResponse any = await models.Client.GetResponseAsync("What is 16 - 6?", options);
        Assert.NotEmpty(Calls(any));
        Assert.Equal("", any.Text);
        Assert.Equal(ChatFinishReason.ToolCalls, any.FinishReason);
        options.ToolMode = ChatToolMode.RequireSpecific("set_volume");
        FunctionCallContent call = Assert.Single(Calls(await models.Client.GetResponseAsync(Question, options)));
        Assert.Equal("set_volume", call.Name);
        Assert.Equal(JsonValueKind.Number, Assert.IsType<JsonElement>(call.Arguments!["level"]).ValueKind);
    }

    public enum Colour { Red, Green, Blue }

    /// <summary>Whatever is drawn, required calls are whole, fit their schemas, and are as many as was said.</summary>
    [Fact]
    public async Task RandomDrawsUnderARequiredModeEndInValidCalls()
    {
        ChatOptions options = With(AIFunctionFactory.Create((Colour colour, bool on) => "", "set_lamp"), AIFunctionFactory.Create((Colour[] colours, [Description("")] Colour? last = null) => "", "mix"));
        (options.Temperature, options.ToolMode, options.MaxOutputTokens) = (2, ChatToolMode.RequireAny, 900);
        int begin = models.Tiny.Tokenizer.Encode("<｜tool▁call▁begin｜>", parseSpecialTokens: true).Single();
        int most = 0, ended = 0;
        for (int seed = 0; seed < 6; seed++)
        {
            options.Seed = seed;
            options.AllowMultipleToolCalls = seed < 4;
            float bias = 10 * seed; // calls like to follow calls, more and more
            options.RawRepresentationFactory = _ => new GenerationOptions { LogitBias = new Dictionary<int, float> { [begin] = bias } };
            ChatResponse response = await models.Client.GetResponseAsync(Question, options);
            FunctionCallContent[] calls = [.. Calls(response)];
            Assert.Equal(calls.Length, calls.Select(c => c.CallId).Distinct().Count());
            Assert.All(calls, Fits);
            most = Math.Max(most, calls.Length);
            if (response.FinishReason == ChatFinishReason.Length) continue;
            ended++;
            Assert.Equal(ChatFinishReason.ToolCalls, response.FinishReason);
            Assert.Equal("", response.Text);
            Assert.InRange(calls.Length, 1, seed < 4 ? int.MaxValue : 1);
        }
        Assert.True(most > 1 && ended >= 2, $"{ended} ended, at most {most} calls");

        static void Fits(FunctionCallContent call)
        {
            if (call.Name == "set_lamp")
            {
                Assert.True(Enum.TryParse<Colour>(((JsonElement)call.Arguments!["colour"]!).GetString(), out _));
                Assert.True(((JsonElement)call.Arguments["on"]!).ValueKind is JsonValueKind.True or JsonValueKind.False);
            }
            else
            {
                Assert.Equal("mix", call.Name);
                Assert.All(((JsonElement)call.Arguments!["colours"]!).EnumerateArray(), c => Assert.True(Enum.TryParse<Colour>(c.GetString(), out _)));
            }
        }
    }

    public sealed record Stop([property: Description("Where")] string City, [property: System.ComponentModel.DataAnnotations.Range(1, 9)] int Nights, Stop? Next, Dictionary<string, double> Prices);

    /// <summary>What AIJsonUtilities writes for the types of parameters that people use can be enforced, in every dialect.</summary>
    [Theory]
    [InlineData(null)]
    [InlineData("deepseek_v4_dsml")]
    [InlineData("llama3_json")]
    public async Task SchemasOfAllUsualParametersAreEnforced(string? dialect)
    {
        await using LanguageModel model = await LanguageModel.LoadAsync(Models.TinyPath, new LanguageModelOptions { Threads = 1, ToolDialect = dialect });
        AIFunction plan = AIFunctionFactory.Create((Stop first, DateTime at, DateOnly day, TimeSpan length, Guid id, Uri page, decimal price, double? share, long count, byte[] raw, Colour[] colours,
            object anything, JsonElement more, [System.ComponentModel.DataAnnotations.StringLength(5)] string name = "x", char letter = 'a', CancellationToken cancellationToken = default) => "", "plan");
        ChatOptions options = With(plan);
        (options.ToolMode, options.MaxOutputTokens, options.Temperature, options.Seed) = (ChatToolMode.RequireSpecific("plan"), 60, 1, 1);
        ChatResponse response = await model.AsIChatClient().GetResponseAsync(Question, options);
        Assert.Contains("plan", response.Text, StringComparison.Ordinal); // cut off, and hence text
    }

    [Fact]
    public async Task TheDialectCanBeChosen()
    {
        await using LanguageModel other = await LanguageModel.LoadAsync(Models.TinyPath, new LanguageModelOptions { Threads = 1, ToolDialect = "qwen_hermes" });
        ChatOptions options = With(Volume);
        (options.ToolMode, options.AllowMultipleToolCalls) = (ChatToolMode.RequireAny, false);
        ChatResponse response = await other.AsIChatClient().GetResponseAsync("Set the volume to 49.", options);
        Assert.Equal("set_volume", Assert.Single(Calls(response)).Name);
        Assert.Equal(49, ((JsonElement)Calls(response).Single().Arguments!["level"]!).GetInt32());
        Assert.Equal("", response.Text);
        options.ToolMode = ChatToolMode.Auto; // it still writes as it was trained, which now is no call
        response = await other.AsIChatClient().GetResponseAsync("Set the volume to 49.", options);
        Assert.Empty(Calls(response));
        Assert.Contains("set_volume", response.Text, StringComparison.Ordinal);
        Assert.Contains("qwen_hermes", (await Assert.ThrowsAsync<InvalidOptionException>(() => LanguageModel.LoadAsync(Models.TinyPath, new LanguageModelOptions { ToolDialect = "klingon" }))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AModelThatKnowsNoToolsSaysSo()
    {
        await using LanguageModel smol = await LanguageModel.LoadAsync(Models.SmolPath, new LanguageModelOptions { Threads = 1, ContextLength = 256 });
        Assert.Contains("knows no tools", (await Assert.ThrowsAsync<InvalidOptionException>(() => smol.AsIChatClient().GetResponseAsync(Question, With(Weather)))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task NoneShowsNoTools()
    {
        ChatOptions options = With(Weather);
        long shown = (await models.Client.GetResponseAsync(Question, options)).Usage!.InputTokenCount!.Value;
        options.ToolMode = ChatToolMode.None;
        ChatResponse response = await models.Client.GetResponseAsync(Question, options);
        Assert.Empty(Calls(response));
        Assert.NotEqual(ChatFinishReason.ToolCalls, response.FinishReason);
        Assert.True(response.Usage!.InputTokenCount < shown - 20);
    }

    [Fact]
    public async Task ContradictionsAreRefused()
    {
        ChatOptions options = With();
        options.ToolMode = ChatToolMode.RequireAny;
        await Assert.ThrowsAsync<InvalidOptionException>(() => models.Client.GetResponseAsync(Question, options));
        options = With(Weather);
        options.ToolMode = ChatToolMode.RequireSpecific("get_wether");
        Assert.Contains("get_wether", (await Assert.ThrowsAsync<InvalidOptionException>(() => models.Client.GetResponseAsync(Question, options))).Message, StringComparison.Ordinal);
    }

    public sealed record Report([property: System.ComponentModel.DataAnnotations.StringLength(12)] string City, [property: System.ComponentModel.DataAnnotations.Range(-50, 50)] int Degrees);

    /// <summary>The call comes first; what the text must look like waits for the turn that has text.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ARequiredCallComesBeforeTheFormat(bool streamed)
    {
        ChatOptions options = With(Weather, Volume);
        (options.ToolMode, options.ResponseFormat) = (ChatToolMode.RequireAny, ChatResponseFormat.ForJsonSchema<Report>());
        ChatResponse response = await AskAsync(models.Client, Question, options, streamed);
        Assert.NotEmpty(Calls(response));
        Assert.Equal(("", ChatFinishReason.ToolCalls), (response.Text, response.FinishReason));

        using IChatClient loop = models.Client.AsBuilder().UseFunctionInvocation(configure: c => c.MaximumIterationsPerRequest = 1).Build(); // clears the required mode, keeps the format
        response = await AskAsync(loop, Question, options, streamed);
        Assert.NotEmpty(Calls(response));
        CheckReport(response.Messages[^1].Text);

        options.ResponseFormat = ChatResponseFormat.ForJsonSchema(JsonElement.Parse("""{"type":"array","uniqueItems":true,"items":{"type":"string"}}"""));
        Assert.Contains("uniqueItems", (await Assert.ThrowsAsync<UnsupportedModelException>(() => AskAsync(models.Client, Question, options, streamed))).Message, StringComparison.Ordinal);
    }

    /// <summary>The model decides, and either its calls fit their tools or its text fits the format.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task WithAFormatAnAnswerIsCallsOrFitsIt(bool streamed)
    {
        ChatOptions options = With(Weather, Volume);
        options.ResponseFormat = ChatResponseFormat.ForJsonSchema<Report>();
        string wanted = "<｜tool▁calls▁begin｜>";
        options.RawRepresentationFactory = _ => new GenerationOptions { LogitBias = new Dictionary<int, float> { [models.Tiny.Tokenizer.Encode(wanted, parseSpecialTokens: true).Single()] = 100 } };
        ChatResponse called = await AskAsync(models.Client, "What is 16 - 6?", options, streamed); // it wants to call: what, is held to the tools
        Assert.All(Calls(called), c => Assert.Contains(c.Name, (string[])["get_weather", "set_volume"]));
        Assert.NotEmpty(Calls(called));
        Assert.Equal(("", ChatFinishReason.ToolCalls), (called.Text, called.FinishReason));
        wanted = "{";
        ChatResponse answered = await AskAsync(models.Client, Question, options, streamed); // it wants to answer: how, is held to the format
        Assert.Empty(Calls(answered));
        CheckReport(answered.Text);

        options.ResponseFormat = null;
        options.RawRepresentationFactory = _ => new GenerationOptions { Constraint = new OutputConstraint.Regex("It is [0-9]+ degrees and [a-z]+ in [A-Z][a-z]+[.]!!") };
        using IChatClient loop = models.Client.AsBuilder().UseFunctionInvocation().Build();
        ChatResponse looped = await AskAsync(loop, Question, options, streamed);
        Assert.Equal([ChatRole.Assistant, ChatRole.Tool, ChatRole.Assistant], looped.Messages.Select(m => m.Role));
        Assert.Equal("It is 5 degrees and rainy in Lisbon.!!", looped.Messages[^1].Text);
    }

    private static Task<ChatResponse> AskAsync(IChatClient client, string question, ChatOptions options, bool streamed)
        => streamed ? client.GetStreamingResponseAsync(question, options).ToChatResponseAsync() : client.GetResponseAsync(question, options);

    private static void CheckReport(string text)
    {
        JsonElement report = JsonElement.Parse(text);
        Assert.InRange(report.GetProperty("city").GetString()!.Length, 0, 12);
        Assert.InRange(report.GetProperty("degrees").GetInt32(), -50, 50);
    }

    [Fact]
    public async Task ACallThatIsCutOffStaysText()
    {
        ChatOptions options = With(Weather);
        options.MaxOutputTokens = 8;
        ChatResponse response = await models.Client.GetResponseAsync(Question, options);
        Assert.Empty(Calls(response));
        Assert.Equal(ChatFinishReason.Length, response.FinishReason);
        Assert.Contains("get_weather", response.Text, StringComparison.Ordinal);
    }

    /// <summary>The model was trained on get_weather and calls it whatever it is shown.</summary>
    [Fact]
    public async Task ANameThatTheModelInventsComesAsWrittenAndTheLoopTellsIt()
    {
        Assert.Equal("get_weather", Assert.Single(Calls(await models.Client.GetResponseAsync(Question, With(Volume)))).Name);
        using IChatClient loop = models.Client.AsBuilder().UseFunctionInvocation(configure: c => c.MaximumIterationsPerRequest = 2).Build();
        ChatResponse response = await loop.GetResponseAsync(Question, With(Volume));
        FunctionResultContent result = response.Messages.SelectMany(m => m.Contents).OfType<FunctionResultContent>().First();
        Assert.Contains("not found", Assert.IsType<string>(result.Result), StringComparison.Ordinal);
        Assert.NotNull(response.FinishReason);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task TheLoopRunsToTheAnswer(bool streamed)
    {
        using IChatClient loop = models.Client.AsBuilder().UseFunctionInvocation().Build();
        ChatResponse response = streamed ? await loop.GetStreamingResponseAsync(Question, With(Weather, Volume)).ToChatResponseAsync() : await loop.GetResponseAsync(Question, With(Weather, Volume));
        Assert.Equal("It is 5 degrees and rainy in Lisbon.", response.Messages[^1].Text);
        Assert.Equal([ChatRole.Assistant, ChatRole.Tool, ChatRole.Assistant], response.Messages.Select(m => m.Role));
    }

    /// <summary>After one round the loop clears a required mode; on its last round it drops the tools; results go back in one message.</summary>
    [Fact]
    public async Task TheLoopsSequenceWithARequiredModeAndALastRoundWithoutTools()
    {
        var rounds = new Recorder(models.Client);
        using IChatClient loop = rounds.AsBuilder().UseFunctionInvocation(configure: c => c.MaximumIterationsPerRequest = 1).Build();
        ChatOptions options = With(Weather);
        options.ToolMode = ChatToolMode.RequireAny;
        ChatResponse response = await loop.GetResponseAsync(Question, options);
        Assert.Equal([(1, ChatToolMode.RequireAny), (0, (ChatToolMode?)null)], rounds.Seen.Select(s => (s.Tools, s.Mode)));
        Assert.Equal(ChatRole.Tool, rounds.Seen[1].Messages[^1].Role);
        Assert.NotEqual("", response.Messages[^1].Text);
        Assert.NotEqual(ChatFinishReason.ToolCalls, response.FinishReason);
        Assert.Equal(ChatToolMode.RequireAny, options.ToolMode);
    }

    /// <summary>Semantic Kernel names functions after their plugin and asks for a call with RequireAny; the model was never trained on the name, and is held to it.</summary>
    [Fact]
    public async Task NamesOfPluginsAreWrittenWhereACallIsRequired()
    {
        AIFunction plugin = AIFunctionFactory.Create((string city) => """{"temperature": 5, "sky": "rainy"}""", "Home_get_weather", "Get the current weather of a city");
        using IChatClient loop = models.Client.AsBuilder().UseFunctionInvocation().Build();
        ChatOptions options = With(plugin);
        options.ToolMode = ChatToolMode.RequireAny;
        options.Instructions = "Answer briefly."; // as an agent's
        ChatResponse response = await loop.GetResponseAsync(Question, options);
        Assert.Equal("Home_get_weather", Calls(response).First().Name);
        Assert.Equal("It is 5 degrees and rainy in Lisbon.", response.Messages[^1].Text);
    }

    [Fact]
    public async Task SeveralResultsGoBackInOneMessage()
    {
        FunctionCallContent a = new("a", "get_weather", new Dictionary<string, object?> { ["city"] = "Lisbon" }), b = new("b", "get_weather", new Dictionary<string, object?> { ["city"] = "Oslo" });
        ChatMessage[] history =
        [
            new(ChatRole.User, Question), new(ChatRole.Assistant, [a, b]),
            new(ChatRole.Tool, [new FunctionResultContent("b", """{"temperature": 7, "sky": "sunny"}"""), new FunctionResultContent("a", """{"temperature": 5, "sky": "rainy"}""")]),
        ];
        ChatResponse response = await models.Client.GetResponseAsync(history, With(Weather));
        Assert.Equal(ChatFinishReason.Stop, response.FinishReason);
        Assert.NotEqual("", response.Text);
        string prompt = models.Tiny.RenderPrompt(ConversationMapper.Map(history, null)).Text;
        Assert.True(prompt.IndexOf("rainy", StringComparison.Ordinal) is var rainy and > 0 && rainy < prompt.IndexOf("sunny", StringComparison.Ordinal), prompt);
    }

    /// <summary>Colours drawn at random, in blanks and token borders that the template would not write: found in the cache all the same, unless the caller changed something.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ACallThatComesBackIsFoundInTheCache(bool streamed)
    {
        const int block = 32; // tokens that the cache keeps together
        AIFunctionDeclaration paint = AIFunctionFactory.CreateDeclaration("paint", "Paints", JsonElement.Parse(
            """{"type":"object","properties":{"colours":{"type":"array","items":{"enum":["red","green","blue"]},"minItems":12,"maxItems":12}},"required":["colours"],"additionalProperties":false}"""));
        ChatOptions options = With(paint);
        (options.Temperature, options.Seed, options.ToolMode, options.MaxOutputTokens) = (2, 5, ChatToolMode.RequireSpecific("paint"), 2000);
        options.RawRepresentationFactory = _ => new GenerationOptions { Tenant = streamed ? "streams" : "does not" };
        List<ChatMessage> history = [new(ChatRole.System, "You paint."), new(ChatRole.User, "Paint.")];
        for (int round = 0; round < 2; round++)
        {
            ChatResponse first = await AskAsync();
            FunctionCallContent call = Assert.Single(Calls(first));
            history.AddMessages(first);
            history.Add(new(ChatRole.Tool, [new FunctionResultContent(call.CallId, "done")]));
            long known = first.Usage!.InputTokenCount!.Value + first.Usage.OutputTokenCount!.Value - 1;
            Assert.True(first.Usage.OutputTokenCount > 2 * block);
            Assert.InRange((await AskAsync()).Usage!.CachedInputTokenCount!.Value, known / block * block, known);
        }
        string id = history.SelectMany(m => m.Contents).OfType<FunctionCallContent>().Last().CallId;
        history = [.. history.Select(m => new ChatMessage(m.Role, [.. m.Contents.Select(c => c is FunctionCallContent f && f.CallId == id ? new FunctionCallContent("another", f.Name, f.Arguments) : c)]))];
        ChatResponse changed = await AskAsync();
        Assert.InRange(changed.Usage!.CachedInputTokenCount!.Value, 1, changed.Usage.InputTokenCount!.Value - 2 * block);

        Task<ChatResponse> AskAsync() => streamed ? models.Client.GetStreamingResponseAsync(history, options).ToChatResponseAsync() : models.Client.GetResponseAsync(history, options);
    }

    [Fact]
    public async Task ApprovalFlowsThroughTheRealPipeline()
    {
        using IChatClient loop = models.Client.AsBuilder().UseFunctionInvocation().Build();
        List<ChatMessage> history = [new(ChatRole.User, Question)];
        ChatOptions options = With(new ApprovalRequiredAIFunction(Weather));
        ChatResponse asked = await loop.GetResponseAsync(history, options);
        ToolApprovalRequestContent request = Assert.Single(asked.Messages.SelectMany(m => m.Contents).OfType<ToolApprovalRequestContent>());
        history.AddMessages(asked);
        history.Add(new(ChatRole.User, [request.CreateResponse(true)]));
        Assert.Equal("It is 5 degrees and rainy in Lisbon.", (await loop.GetResponseAsync(history, options)).Messages[^1].Text);
    }

    private static IEnumerable<FunctionCallContent> Calls(ChatResponse response) => response.Messages.SelectMany(m => m.Contents).OfType<FunctionCallContent>();

    private sealed class Recorder(IChatClient inner) : DelegatingChatClient(inner)
    {
        public List<(int Tools, ChatToolMode? Mode, List<ChatMessage> Messages)> Seen { get; } = [];

        public override Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
        {
            Seen.Add((options?.Tools?.Count ?? 0, options?.ToolMode, [.. messages]));
            return base.GetResponseAsync(messages, options, cancellationToken);
        }
    }
}
