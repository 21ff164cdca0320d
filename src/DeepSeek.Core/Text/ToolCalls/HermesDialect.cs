using System.Text.Json;

namespace DeepSeek.Text.ToolCalls;

/// <summary>Qwen 2.5 and 3, and the Hermes models: each call a JSON object between tags.</summary>
internal sealed class HermesDialect : ToolCallDialect
{
    public override string Name => "qwen_hermes";

    public override string CallsBegin => "<tool_call>\n";

    public override string CallSeparator => "\n<tool_call>\n";

    public override string CallsEnd => "";

    public override string Closing => "</tool_call>";

    public override string AfterArguments => "}\n</tool_call>";

    protected override string Marker => "<tool_call>";

    public override string BeforeArguments(string tool) => $"{{\"name\": {JsonName(tool)}, \"arguments\": ";

    // Others use the same tag with other contents: GLM's arg_key, Qwen3-Coder's function=.
    protected override bool IsSpokenBy(string template) => template.Contains("<tool_call>", StringComparison.Ordinal)
        && !template.Contains("<arg_key>", StringComparison.Ordinal) && !template.Contains("<function=", StringComparison.Ordinal);

    public override Outcome Read(ReadOnlySpan<char> text, bool isFinal, List<ParsedCall> calls, out int length)
    {
        var reader = new CallReader(text);
        length = 0;
        reader.Literal(Marker);
        reader.SkipWhiteSpace();
        if (!reader.Object(out JsonElement call)) return reader.Outcome;
        if (!call.TryGetProperty("name", out JsonElement name) || name.ValueKind != JsonValueKind.String || name.GetString()!.Length == 0) return Outcome.Malformed;
        if (!call.TryGetProperty("arguments", out JsonElement value) || !CallReader.TryArguments(value, out JsonElement arguments)) return Outcome.Malformed;
        length = reader.Position;
        reader.SkipWhiteSpace();
        bool isClosed = reader.Literal("</tool_call>");
        if (isClosed) length = reader.Position;
        // The closing tag is what some models end their turn with.
        else if (!isFinal || reader.Outcome == Outcome.Malformed || !reader.IsAtEnd) return reader.Outcome;
        calls.Add(new(name.GetString()!, arguments));
        return Outcome.Complete;
    }

    internal static string JsonName(string tool) => $"\"{JsonEncodedText.Encode(tool, System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";
}
