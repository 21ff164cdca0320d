using System.Text;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace DeepSeek.Extensions;

/// <summary>Turns the messages of Microsoft.Extensions.AI into ours. Nothing of the caller's is changed.</summary>
internal static class ConversationMapper
{
    /// <summary>Without indentation, which costs tokens and which models were not trained on.</summary>
    private static readonly JsonSerializerOptions Compact = new(AIJsonUtilities.DefaultOptions) { WriteIndented = false };

    /// <summary>
    /// The conversation: instructions first, a message for each tool result, reasoning and calls where they belong. Results that follow each other stand in the order of their calls,
    /// because most templates show results without ids.
    /// </summary>
    /// <exception cref="UnsupportedModelException">A message carries content that a text model cannot read.</exception>
    public static List<Message> Map(IEnumerable<ChatMessage> messages, string? instructions)
    {
        var conversation = new List<Message>();
        if (!string.IsNullOrEmpty(instructions)) conversation.Add(Message.System(instructions));
        int index = 0;
        foreach (ChatMessage message in messages)
        {
            ArgumentNullException.ThrowIfNull(message, nameof(messages));
            Add(conversation, message, index++);
        }
        Arrange(conversation);
        return conversation;
    }

    private static void Add(List<Message> conversation, ChatMessage message, int index)
    {
        var text = new StringBuilder();
        var reasoning = new StringBuilder();
        var calls = new List<ToolCall>();
        bool anything = false;
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
                    calls.Add(new ToolCall(c.CallId, c.Name, Json(c.Arguments ?? new Dictionary<string, object?>(), $"The arguments of call '{c.CallId}'")));
                    break;
                case FunctionResultContent f:
                    Turn();
                    anything = true;
                    conversation.Add(Message.Tool(Result(f), f.CallId));
                    break;
                case UsageContent or ErrorContent:
                    break; // they tell of a response, and say nothing to the model
                default:
                    throw new UnsupportedModelException($"Message {index} ({message.Role}) carries {Describe(content)}, and this model reads text only. Remove it, or describe it in words.");
            }
        }
        if (!anything || text.Length > 0) Turn(always: true);
        else Turn();

        // What was written so far, as a turn of the message's role: a folded response may hold a call, its result, and the answer in one message.
        void Turn(bool always = false)
        {
            if (!always && text.Length == 0 && reasoning.Length == 0 && calls.Count == 0) return;
            anything = true;
            conversation.Add(new Message(RoleOf(message, index), text.ToString())
            {
                Reasoning = reasoning.Length > 0 ? reasoning.ToString() : null,
                ToolCalls = calls.Count > 0 ? [.. calls] : [],
                Name = message.AuthorName,
            });
            text.Clear();
            reasoning.Clear();
            calls.Clear();
        }
    }

    private static Role RoleOf(ChatMessage message, int index)
        => message.Role == ChatRole.System ? Role.System
            : message.Role == ChatRole.User ? Role.User
            : message.Role == ChatRole.Assistant ? Role.Assistant
            : message.Role == ChatRole.Tool ? Role.Tool
            : string.Equals(message.Role.Value, "developer", StringComparison.OrdinalIgnoreCase) ? Role.Developer
            : throw new UnsupportedModelException($"Message {index} has the role '{message.Role.Value}'; the roles are system, developer, user, assistant and tool.");

    /// <summary>Results in the order of the calls before them, each with the name of its function; results of unknown calls stay behind them, in their own order.</summary>
    private static void Arrange(List<Message> conversation)
    {
        var calls = new List<ToolCall>();
        for (int i = 0; i < conversation.Count; i++)
        {
            if (conversation[i].Role != Role.Tool)
            {
                calls = [.. conversation[i].ToolCalls];
                continue;
            }
            int end = i;
            while (end < conversation.Count && conversation[end].Role == Role.Tool) end++;
            Message[] results = [.. conversation[i..end].OrderBy(m => calls.FindIndex(c => c.Id == m.ToolCallId) is var at and >= 0 ? at : int.MaxValue)];
            for (int k = 0; k < results.Length; k++)
                conversation[i + k] = results[k] with { Name = results[k].Name ?? calls.Find(c => c.Id == results[k].ToolCallId)?.Name };
            i = end - 1;
        }
    }

    /// <summary>A result as text: strings as they are, everything else as JSON.</summary>
    private static string Result(FunctionResultContent result) => result switch
    {
        { Exception: { } e, Result: null } => $"Error: {e.Message}",
        { Result: null } => "",
        { Result: string s } => s,
        { Result: JsonElement { ValueKind: JsonValueKind.String } e } => e.GetString()!,
        { Result: AIContent part } => Read(part, result),
        { Result: IEnumerable<AIContent> parts } => string.Concat(parts.Select(p => Read(p, result))),
        { Result: { } other } => Json(other, $"The result of call '{result.CallId}'").GetRawText(),
    };

    private static string Read(AIContent part, FunctionResultContent result)
        => part is TextContent t ? t.Text : throw new UnsupportedModelException($"The result of call '{result.CallId}' carries {Describe(part)}, and this model reads text only. Return text, or describe it in words.");

    private static string Describe(AIContent content) => content switch
    {
        DataContent data => $"{nameof(DataContent)} ({data.MediaType})",
        UriContent uri => $"{nameof(UriContent)} ({uri.MediaType})",
        _ => content.GetType().Name,
    };

    private static JsonElement Json(object value, string what)
    {
        if (value is JsonElement element) return element;
        try
        {
            return JsonSerializer.SerializeToElement(value, Compact.GetTypeInfo(value is IDictionary<string, object?> ? typeof(IDictionary<string, object?>) : value.GetType()));
        }
        catch (Exception e) when (e is NotSupportedException or JsonException or InvalidOperationException)
        {
            throw new InvalidOptionException($"{what} has the type {value.GetType().Name}, which cannot be written as JSON: {e.Message} Hand over a string or a JsonElement.", e);
        }
    }
}
