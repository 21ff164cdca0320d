using System.ComponentModel;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace DeepSeek.Extensions.Tests;

/// <summary>
/// The calls that Agent Framework (Microsoft.Agents.AI 1.28) and Semantic Kernel (Microsoft.SemanticKernel.Core 1.82) make, as they were recorded with the real packages over this client.
/// Both run functions with <see cref="FunctionInvokingChatClient"/>, which is the real one here.
/// </summary>
[Collection(Models.Collection)]
public class FrameworkTests(Models models)
{
    private static readonly AIFunction Weather = AIFunctionFactory.Create(([Description("The city")] string city) => """{"temperature": 21, "sky": "sunny"}""", "get_weather", "Get the current weather of a city");

    /// <summary>
    /// An agent has instructions and tools in its options, hands over a copy of them without a conversation's id, and keeps the history by itself: in later runs its messages have an author and say in
    /// additional properties where they come from.
    /// </summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AnAgentKeepsItsOwnHistory(bool streamed)
    {
        var options = new ChatOptions { Instructions = "Answer briefly.", Tools = [Weather], Temperature = 0, Reasoning = new() { Effort = ReasoningEffort.None } };
        var rounds = new Rounds(models.Client);
        using IChatClient client = rounds.AsBuilder().UseFunctionInvocation().Build();
        List<ChatMessage> history = [];
        Assert.Equal("It is 21 degrees and sunny in Lisbon.", await RunAsync("How is the weather in Lisbon today?"));
        Assert.Equal("It is 21 degrees and sunny in Oslo.", await RunAsync("How is the weather in Oslo today?"));

        // The session goes through a store, as JSON.
        history = JsonSerializer.Deserialize<List<ChatMessage>>(JsonSerializer.Serialize(history, AIJsonUtilities.DefaultOptions), AIJsonUtilities.DefaultOptions)!;
        Assert.Equal("It is 21 degrees and sunny in Rome.", await RunAsync("How is the weather in Rome today?"));
        Assert.Equal(6, rounds.Usage.Count);
        for (int i = 1; i < rounds.Usage.Count; i++) // each round begins with what the one before was asked and has answered; the cache keeps 32 tokens together
            Assert.InRange(rounds.Usage[i].Cached, (rounds.Usage[i - 1].Input + rounds.Usage[i - 1].Output - 1) / 32 * 32, rounds.Usage[i].Input);
        Assert.Equal((null, 1), (options.ToolMode, options.Tools.Count));

        async Task<string> RunAsync(string question)
        {
            ChatMessage asked = new(ChatRole.User, question);
            List<ChatMessage> messages = [.. history.Select(m =>
            {
                ChatMessage copy = m.Clone();
                copy.AdditionalProperties = new() { ["_attribution"] = "ChatHistory:Microsoft.Agents.AI.InMemoryChatHistoryProvider" };
                return copy;
            }), asked];
            ChatOptions own = options.Clone();
            own.ConversationId = null;
            ChatResponse response = streamed ? await client.GetStreamingResponseAsync(messages, own).ToChatResponseAsync() : await client.GetResponseAsync(messages, own);
            Assert.Null(response.ConversationId);
            history.Add(asked);
            foreach (ChatMessage m in response.Messages)
            {
                m.AuthorName ??= "Home";
                history.Add(m);
            }
            return response.Text;
        }
    }

    /// <summary>
    /// A kernel names functions after their plugin, writes indented schemas with members that no schema knows, keeps neither thoughts nor ids of messages, and asks on without tools once its
    /// history has calls.
    /// </summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AKernelKeepsCallsAndResultsOnly(bool streamed)
    {
        var rounds = new Rounds(models.Client);
        using IChatClient client = rounds.AsBuilder().UseFunctionInvocation().Build();
        List<ChatMessage> history = [new(ChatRole.System, "Be brief."), new(ChatRole.User, "How is the weather in Lisbon today?")];
        var options = new ChatOptions
        {
            Temperature = 0, MaxOutputTokens = 200, ToolMode = ChatToolMode.RequireAny,
            Tools = [new KernelFunction("Home_get_weather", "Get the current weather of a city", "city", "string"), new KernelFunction("Home_set_timer", "Start a timer", "minutes", "integer")],
        };
        ChatResponse response = streamed ? await client.GetStreamingResponseAsync(history, options).ToChatResponseAsync() : await client.GetResponseAsync(history, options);
        Assert.Equal("It is 21 degrees and sunny in Lisbon.", response.Text);
        Assert.Equal([ChatToolMode.RequireAny, null], rounds.Modes);
        foreach (ChatMessage m in response.Messages)
        {
            AIContent[] kept = [.. m.Contents.Where(c => c is FunctionCallContent or FunctionResultContent)];
            if (kept.Length > 0) history.Add(new(m.Role, kept) { AdditionalProperties = new() { ["Usage"] = response.Usage } });
        }
        Assert.Equal(4, history.Count);
        history.Add(new(ChatRole.User, "What is 16 - 6?"));
        ChatResponse plain = await client.GetResponseAsync(history, new ChatOptions { Temperature = 0, MaxOutputTokens = 200 });
        Assert.Equal("16 - 6 = 10.", plain.Text);
        Assert.Equal(ChatFinishReason.Stop, plain.FinishReason);
    }

    private sealed class KernelFunction(string name, string description, string parameter, string type) : AIFunction
    {
        public override string Name => name;

        public override string Description => description;

        public override JsonElement JsonSchema { get; } = JsonElement.Parse($$"""
            {
              "type": "object",
              "condition": "{{description}}",
              "properties": {
                "{{parameter}}": {
                  "type": "{{type}}"
                }
              },
              "required": [
                "{{parameter}}"
              ]
            }
            """);

        protected override ValueTask<object?> InvokeCoreAsync(AIFunctionArguments arguments, CancellationToken cancellationToken) => new("""{"temperature": 21, "sky": "sunny"}""");
    }

    /// <summary>What the loop asks for and gets, round by round.</summary>
    private sealed class Rounds(IChatClient inner) : DelegatingChatClient(inner)
    {
        public List<(long Input, long Output, long Cached)> Usage { get; } = []; // copied: the loop adds them up in place

        public List<ChatToolMode?> Modes { get; } = [];

        public override async Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
        {
            Modes.Add(options?.ToolMode);
            return Add(await base.GetResponseAsync(messages, options, cancellationToken));
        }

        public override async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null,
            [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken = default)
        {
            Modes.Add(options?.ToolMode);
            var updates = new List<ChatResponseUpdate>();
            await foreach (ChatResponseUpdate u in base.GetStreamingResponseAsync(messages, options, cancellationToken))
            {
                updates.Add(u);
                yield return u;
            }
            Add(updates.ToChatResponse());
        }

        private ChatResponse Add(ChatResponse response)
        {
            Usage.Add((response.Usage!.InputTokenCount!.Value, response.Usage.OutputTokenCount!.Value, response.Usage.CachedInputTokenCount!.Value));
            return response;
        }
    }
}
