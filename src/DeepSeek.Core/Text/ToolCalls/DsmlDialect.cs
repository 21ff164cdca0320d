using System.Text;
using System.Text.Json;

namespace DeepSeek.Text.ToolCalls;

/// <summary>DeepSeek V3.2 and V4: tags with one parameter each; strings are written raw, everything else as JSON.</summary>
/// <param name="name">The dialect's name.</param>
/// <param name="block">The tag around all calls.</param>
internal sealed class DsmlDialect(string name, string block) : ToolCallDialect
{
    private const string ParameterEnd = "</｜DSML｜parameter>";
    private const string InvokeEnd = "</｜DSML｜invoke>";

    public override string Name => name;

    public override string CallsBegin => $"\n\n{Marker}\n";

    public override string CallSeparator => "\n";

    public override string CallsEnd => $"\n</｜DSML｜{block}>";

    public override string AfterArguments => InvokeEnd;

    public override ParameterSyntax Parameters { get; } = new("<｜DSML｜parameter name=\"", "\" string=\"true\">", "\" string=\"false\">", ParameterEnd + "\n", '｜', "<>\n\"");

    protected override string Marker { get; } = $"<｜DSML｜{block}>";

    public override string BeforeArguments(string tool) => $"<｜DSML｜invoke name=\"{tool}\">\n";

    // Templates put the marker together from a variable and the tag's name.
    protected override bool IsSpokenBy(string template) => template.Contains("｜DSML｜", StringComparison.Ordinal) && template.Contains(block + ">", StringComparison.Ordinal);

    protected override string WriteArguments(JsonElement arguments)
    {
        var text = new StringBuilder();
        foreach (JsonProperty p in arguments.EnumerateObject())
        {
            bool isString = p.Value.ValueKind == JsonValueKind.String;
            text.Append(Parameters.Begin).Append(p.Name).Append(isString ? Parameters.StringValue : Parameters.JsonValue).Append(isString ? p.Value.GetString() : Json(p.Value)).Append(Parameters.End);
        }
        return text.Length == 0 ? "\n" : text.ToString();
    }

    public override Outcome Read(ReadOnlySpan<char> text, bool isFinal, List<ParsedCall> calls, out int length)
    {
        var reader = new CallReader(text);
        length = 0;
        reader.Literal(Marker);
        while (true)
        {
            reader.SkipWhiteSpace();
            length = reader.Position;
            if (reader.IsAtEnd && calls.Count > 0) return isFinal ? Outcome.Complete : Outcome.Incomplete;
            if (calls.Count > 0 && reader.Literal($"</｜DSML｜{block}>"))
            {
                length = reader.Position;
                return Outcome.Complete;
            }
            if (calls.Count > 0 && reader.Outcome == Outcome.Incomplete) return Outcome.Incomplete;
            if (!reader.Literal("<｜DSML｜invoke name=\"") || !reader.Until("\"", "<>\n", out string tool) || !reader.Literal(">")) return reader.Outcome;
            if (tool.Length == 0) return Outcome.Malformed;
            if (!ReadParameters(ref reader, out JsonElement arguments)) return reader.Outcome == Outcome.Complete ? Outcome.Malformed : reader.Outcome;
            calls.Add(new(tool, arguments));
        }
    }

    private bool ReadParameters(ref CallReader reader, out JsonElement arguments)
    {
        arguments = default;
        var buffer = new System.Buffers.ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(buffer, new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        json.WriteStartObject();
        HashSet<string> names = [];
        while (true)
        {
            reader.SkipWhiteSpace();
            if (reader.Literal(InvokeEnd)) break;
            if (reader.Outcome == Outcome.Incomplete || !reader.Literal(Parameters.Begin) || !reader.Until("\" string=\"", Parameters.NotInNames, out string parameter)) return false;
            bool isString = reader.Literal("true\">");
            if (!isString && (reader.Outcome == Outcome.Incomplete || !reader.Literal("false\">"))) return false;
            if (!reader.Until(ParameterEnd, "", out string value) || !names.Add(parameter)) return false;
            json.WritePropertyName(parameter);
            if (isString) json.WriteStringValue(value);
            else
            {
                try { CallReader.Parse(Encoding.UTF8.GetBytes(value)).WriteTo(json); }
                catch (JsonException) { return false; }
            }
        }
        json.WriteEndObject();
        json.Flush();
        arguments = CallReader.Parse(buffer.WrittenMemory);
        return true;
    }
}
