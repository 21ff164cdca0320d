using System.Text.Json;

namespace DeepSeek;

/// <summary>Who wrote a <see cref="Message"/>.</summary>
public enum Role
{
    /// <summary>Instructions for the whole conversation.</summary>
    System,
    /// <summary>The person or program that asks.</summary>
    User,
    /// <summary>The model.</summary>
    Assistant,
    /// <summary>The result of a tool that the model called.</summary>
    Tool,
    /// <summary>Instructions that some models (DeepSeek V3.2 and later) rank between system and user; rendered as <see cref="System"/> where a template does not know it.</summary>
    Developer,
}

/// <summary>One turn of a conversation. Immutable; a conversation is a list of these, and the caller always hands over the whole list.</summary>
/// <param name="Role">Who wrote it.</param>
/// <param name="Content">The text; empty where the turn consists of tool calls only.</param>
public sealed record Message(Role Role, string Content)
{
    /// <summary>The model's reasoning that came before <see cref="Content"/>; null where there was none. Templates decide whether it is shown to the model again.</summary>
    public string? Reasoning { get; init; }

    /// <summary>Tools that the model asked for in this turn; empty in all other turns.</summary>
    public IReadOnlyList<ToolCall> ToolCalls { get; init; } = [];

    /// <summary>For <see cref="Role.Tool"/>: the <see cref="ToolCall.Id"/> that this is the result of; null where unknown.</summary>
    public string? ToolCallId { get; init; }

    /// <summary>An author's or tool's name, for templates that show it; null for none.</summary>
    public string? Name { get; init; }

    /// <summary>A turn of <see cref="Role.System"/>.</summary>
    public static Message System(string content) => new(Role.System, content);

    /// <summary>A turn of <see cref="Role.User"/>.</summary>
    public static Message User(string content) => new(Role.User, content);

    /// <summary>A turn of <see cref="Role.Assistant"/>.</summary>
    public static Message Assistant(string content) => new(Role.Assistant, content);

    /// <summary>A turn of <see cref="Role.Tool"/>.</summary>
    /// <param name="content">What the tool returned, as text (JSON where it is not plain text).</param>
    /// <param name="toolCallId">The call's id, where known.</param>
    public static Message Tool(string content, string? toolCallId = null) => new(Role.Tool, content) { ToolCallId = toolCallId };
}

/// <summary>A tool that the model asks the application to run.</summary>
/// <param name="Id">Unique within a conversation; made by the library, since models do not write ids. A call that comes back with it, unchanged, is found in the cache.</param>
/// <param name="Name">The tool's name, as the model wrote it: it may be one that was never offered.</param>
/// <param name="Arguments">The arguments: a JSON object.</param>
public sealed record ToolCall(string Id, string Name, JsonElement Arguments);

/// <summary>A tool that the model may call.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Description">What it does and when to use it, for the model to read; null for none.</param>
/// <param name="Parameters">A JSON Schema of type <c>object</c> for the arguments.</param>
public sealed record ToolDefinition(string Name, string? Description, JsonElement Parameters)
{
    /// <summary>A JSON Schema for the result; null where it is not declared.</summary>
    public JsonElement? Returns { get; init; }
}
