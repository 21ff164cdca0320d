using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace DeepSeek.Extensions;

/// <summary>Turns the requests of Microsoft.Extensions.AI into ours. Nothing of the caller's is changed.</summary>
internal static class RequestMapper
{
    /// <summary>The conversation: instructions first, a message for each tool result, reasoning and calls where they belong.</summary>
    /// <exception cref="UnsupportedModelException">A message carries content that a text model cannot read.</exception>
    public static List<Message> Conversation(IEnumerable<ChatMessage> messages, ChatOptions? options)
    {
        var conversation = new List<Message>();
        if (!string.IsNullOrEmpty(options?.Instructions)) conversation.Add(Message.System(options.Instructions));
        int index = 0;
        foreach (ChatMessage message in messages)
        {
            ArgumentNullException.ThrowIfNull(message, nameof(messages));
            Add(conversation, message, index++);
        }
        return conversation;
    }

    private static void Add(List<Message> conversation, ChatMessage message, int index)
    {
        var text = new StringBuilder();
        var reasoning = new StringBuilder();
        var calls = new List<ToolCall>();
        bool results = false;
        foreach (AIContent content in message.Contents)
        {
            switch (content)
            {
                case TextContent t:
                    text.Append(t.Text);
                    break;
                case TextReasoningContent r:
                    reasoning.Append(r.Text);
                    break;
                case FunctionCallContent c:
                    calls.Add(c.RawRepresentation is ToolCall own && own.Id == c.CallId ? own : new ToolCall(c.CallId, c.Name, Json(c.Arguments ?? new Dictionary<string, object?>())));
                    break;
                case FunctionResultContent f:
                    results = true;
                    conversation.Add(Message.Tool(Result(f), f.CallId));
                    break;
                case UsageContent or ErrorContent:
                    break; // they tell of a response, and say nothing to the model
                default:
                    throw new UnsupportedModelException($"Message {index} ({message.Role}) carries {content.GetType().Name}, and this model reads text only. Remove it, or describe it in words.");
            }
        }
        if (results && text.Length == 0 && calls.Count == 0) return;
        Role role = message.Role == ChatRole.System ? Role.System
            : message.Role == ChatRole.User ? Role.User
            : message.Role == ChatRole.Assistant ? Role.Assistant
            : message.Role == ChatRole.Tool ? Role.Tool
            : message.Role.Value == "developer" ? Role.Developer
            : throw new UnsupportedModelException($"Message {index} has the role '{message.Role.Value}'; the roles are system, developer, user, assistant and tool.");
        conversation.Add(new Message(role, text.ToString())
        {
            Reasoning = reasoning.Length > 0 ? reasoning.ToString() : null,
            ToolCalls = calls,
            Name = message.AuthorName,
        });
    }

    /// <summary>A result as text: strings as they are, everything else as JSON.</summary>
    private static string Result(FunctionResultContent result) => result switch
    {
        { Exception: { } e, Result: null } => $"Error: {e.Message}",
        { Result: null } => "",
        { Result: string s } => s,
        { Result: JsonElement { ValueKind: JsonValueKind.String } e } => e.GetString()!,
        { Result: TextContent t } => t.Text,
        { Result: IEnumerable<AIContent> parts } => string.Concat(parts.Select(p => p is TextContent t ? t.Text : throw new UnsupportedModelException($"The result of call '{result.CallId}' carries {p.GetType().Name}, and this model reads text only."))),
        { Result: { } other } => Json(other).GetRawText(),
    };

    private static JsonElement Json(object value)
        => value is JsonElement element ? element : JsonSerializer.SerializeToElement(value, AIJsonUtilities.DefaultOptions.GetTypeInfo(value is IDictionary<string, object?> ? typeof(IDictionary<string, object?>) : value.GetType()));

    /// <summary>Options for generating. <see cref="ChatOptions.RawRepresentationFactory"/> may return <see cref="GenerationOptions"/> for what <see cref="ChatOptions"/> lacks; the latter's own settings win.</summary>
    /// <exception cref="InvalidOptionException">Something is asked for that cannot be.</exception>
    public static GenerationOptions Options(ChatOptions? options, IChatClient client)
    {
        if (options is null) return new GenerationOptions();
        if (options.ConversationId is { } id)
            throw new InvalidOptionException($"ChatOptions.ConversationId is '{id}', but this client keeps no conversations: hand over the whole list of messages, and leave it null. What was computed before is found in the cache by itself.");
        if (options.ContinuationToken is not null || options.AllowBackgroundResponses == true)
            throw new InvalidOptionException("ChatOptions.AllowBackgroundResponses and ContinuationToken are for services that go on without the caller; this client runs inside the caller's process. Leave them unset.");
        GenerationOptions g = options.RawRepresentationFactory?.Invoke(client) as GenerationOptions ?? new GenerationOptions();
        g = g with
        {
            Temperature = options.Temperature ?? g.Temperature,
            TopP = options.TopP ?? g.TopP,
            TopK = options.TopK ?? g.TopK,
            FrequencyPenalty = options.FrequencyPenalty ?? g.FrequencyPenalty,
            PresencePenalty = options.PresencePenalty ?? g.PresencePenalty,
            Seed = options.Seed ?? g.Seed,
            MaxTokens = options.MaxOutputTokens ?? g.MaxTokens,
            StopSequences = options.StopSequences is { Count: > 0 } stop ? [.. stop] : g.StopSequences,
            AllowParallelToolCalls = options.AllowMultipleToolCalls ?? g.AllowParallelToolCalls,
            Tools = options.Tools is { Count: > 0 } tools ? [.. tools.Select(Tool)] : g.Tools,
            ToolChoice = options.ToolMode switch
            {
                null => g.ToolChoice,
                NoneChatToolMode => ToolChoice.None,
                RequiredChatToolMode { RequiredFunctionName: { } name } => new ToolChoice.Function(name),
                RequiredChatToolMode => ToolChoice.Required,
                _ => ToolChoice.Auto,
            },
            Constraint = options.ResponseFormat switch
            {
                null or ChatResponseFormatText => g.Constraint,
                ChatResponseFormatJson { Schema: { } schema } => new OutputConstraint.JsonSchema(schema),
                ChatResponseFormatJson => new OutputConstraint.Json(),
                var other => throw new InvalidOptionException($"ChatOptions.ResponseFormat is {other.GetType().Name}; text, JSON and JSON Schema are known."),
            },
        };
        return options.Reasoning?.Effort switch
        {
            null => g,
            ReasoningEffort.None => g with { Thinking = false },
            { } effort => g with { Thinking = true, TemplateVariables = WithEffort(g.TemplateVariables, effort) },
        };
    }

    /// <summary>Templates that know efforts read <c>reasoning_effort</c>.</summary>
    private static Dictionary<string, JsonElement> WithEffort(IReadOnlyDictionary<string, JsonElement>? variables, ReasoningEffort effort)
    {
        var all = variables is null ? [] : new Dictionary<string, JsonElement>(variables);
        string name = effort switch { ReasoningEffort.Low => "low", ReasoningEffort.Medium => "medium", ReasoningEffort.High => "high", _ => "max" };
        using JsonDocument value = JsonDocument.Parse($"\"{name}\"");
        all.TryAdd("reasoning_effort", value.RootElement.Clone());
        return all;
    }

    private static ToolDefinition Tool(AITool tool) => tool is AIFunctionDeclaration f
        ? new ToolDefinition(f.Name, f.Description, f.JsonSchema) { Returns = f.ReturnJsonSchema }
        : throw new InvalidOptionException($"ChatOptions.Tools contains {tool.GetType().Name} '{tool.Name}'; this client calls functions (AIFunction and AIFunctionDeclaration) only.");

    /// <summary>Generates; where the template refuses consecutive messages of one role, they are merged and it is tried again.</summary>
    public static async IAsyncEnumerable<GenerationUpdate> Generate(LanguageModel model, IReadOnlyList<Message> conversation, GenerationOptions options, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        IReadOnlyList<Message> merged = Merged(conversation);
        if (merged.Count < conversation.Count)
        {
            try { model.RenderPrompt(conversation, options); }
            catch (ChatTemplateException) { conversation = merged; }
        }
        await foreach (GenerationUpdate update in model.GenerateAsync(conversation, options, cancellationToken).ConfigureAwait(false)) yield return update;
    }

    private static List<Message> Merged(IReadOnlyList<Message> conversation)
    {
        var merged = new List<Message>();
        foreach (Message m in conversation)
        {
            if (merged.Count > 0 && merged[^1] is var last && last.Role == m.Role && m.Role is Role.System or Role.User or Role.Assistant && last.Name == m.Name && last.ToolCalls.Count == 0)
            {
                merged[^1] = last with
                {
                    Content = last.Content.Length == 0 ? m.Content : m.Content.Length == 0 ? last.Content : $"{last.Content}\n\n{m.Content}",
                    Reasoning = last.Reasoning is null ? m.Reasoning : m.Reasoning is null ? last.Reasoning : $"{last.Reasoning}\n\n{m.Reasoning}",
                    ToolCalls = m.ToolCalls,
                };
            }
            else
            {
                merged.Add(m);
            }
        }
        return merged;
    }
}
