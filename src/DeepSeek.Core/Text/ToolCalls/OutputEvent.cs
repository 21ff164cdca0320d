using System.Text.Json;

namespace DeepSeek.Text.ToolCalls;

internal enum OutputKind
{
    Content, Reasoning, ToolCall,
}

/// <summary>A piece of a model's output. <paramref name="Call"/> is set for calls only, which have no text.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Text">Its text.</param>
/// <param name="Call">The call.</param>
/// <param name="Block">Where the call's block of markup stands in the output, all of it; calls of one block share it.</param>
internal readonly record struct OutputEvent(OutputKind Kind, string Text, ParsedCall? Call = null, TextRange Block = default);

/// <summary>A call as the model wrote it; <paramref name="Arguments"/> is an object.</summary>
internal sealed record ParsedCall(string Name, JsonElement Arguments);
