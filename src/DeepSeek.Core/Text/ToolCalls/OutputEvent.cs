using System.Text.Json;

namespace DeepSeek.Text.ToolCalls;

internal enum OutputKind
{
    Content, Reasoning, ToolCall,
}

/// <summary>A piece of a model's output. <paramref name="Call"/> is set for calls only, which have no text.</summary>
internal readonly record struct OutputEvent(OutputKind Kind, string Text, ParsedCall? Call = null);

/// <summary>A call as the model wrote it; <paramref name="Arguments"/> is an object.</summary>
internal sealed record ParsedCall(string Name, JsonElement Arguments);
