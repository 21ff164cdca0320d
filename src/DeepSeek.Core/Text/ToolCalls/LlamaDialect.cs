using System.Text;
using System.Text.Json;

namespace DeepSeek.Text.ToolCalls;

/// <summary>Llama 3: the whole answer is JSON calls, or what follows a tag of its own is calls, a built-in tool's call, or Python.</summary>
internal sealed class LlamaDialect : ToolCallDialect
{
    private const string Tag = "<|python_tag|>";

    public override string Name => "llama3_json";

    public override string CallsBegin => "";

    public override string CallSeparator => "; ";

    public override string CallsEnd => "";

    public override string AfterArguments => "}";

    protected override string Marker => Tag;

    public override string BeforeArguments(string tool) => $"{{\"name\": {HermesDialect.JsonName(tool)}, \"parameters\": ";

    protected override bool IsSpokenBy(string template) => template.Contains("<|start_header_id|>", StringComparison.Ordinal) && template.Contains("tools", StringComparison.Ordinal);

    public override int FindBlock(string text, bool isFirst, out int markerLength)
    {
        int brace = text.Length - text.AsSpan().TrimStart().Length;
        if (isFirst && brace < text.Length && text[brace] == '{')
        {
            markerLength = 1;
            return brace;
        }
        return base.FindBlock(text, isFirst, out markerLength);
    }

    public override Outcome Read(ReadOnlySpan<char> text, bool isFinal, List<ParsedCall> calls, out int length)
    {
        length = text.Length;
        bool tagged = text.StartsWith(Tag);
        ReadOnlySpan<char> body = tagged ? text[Tag.Length..] : text;
        // Whether text follows the calls, which makes all of it text, is known at the end only.
        Outcome outcome = ReadObjects(body, isFinal, calls);
        if (outcome == Outcome.Incomplete && isFinal) outcome = Outcome.Malformed;
        if (!tagged || outcome != Outcome.Malformed) return outcome;
        calls.Clear();
        if (!isFinal) return Outcome.Incomplete;
        string code = body.Trim().ToString();
        if (code.Length == 0) return Outcome.Malformed;
        calls.Add(ReadBuiltIn(code) ?? new("code_interpreter", Object(json => json.WriteString("code", code))));
        return Outcome.Complete;
    }

    /// <summary>What a template writes is not the end of the text, and has no tag.</summary>
    public override int FindWritten(string text, int from) => text.IndexOf("{\"name\": ", from, StringComparison.Ordinal);

    public override bool ReadWritten(ReadOnlySpan<char> text, List<ParsedCall> calls, out int length)
    {
        var reader = new CallReader(text);
        bool isCall = ReadObject(ref reader, calls) == Outcome.Complete;
        length = reader.Position;
        return isCall;
    }

    private static Outcome ReadObject(ref CallReader reader, List<ParsedCall> calls)
    {
        if (!reader.Object(out JsonElement call)) return reader.Outcome;
        if (!call.TryGetProperty("name", out JsonElement name) || name.ValueKind != JsonValueKind.String || name.GetString()!.Length == 0
            || !call.TryGetProperty("parameters", out JsonElement value) && !call.TryGetProperty("arguments", out value) || !CallReader.TryArguments(value, out JsonElement arguments)) return Outcome.Malformed;
        calls.Add(new(name.GetString()!, arguments));
        return Outcome.Complete;
    }

    private static Outcome ReadObjects(ReadOnlySpan<char> text, bool isFinal, List<ParsedCall> calls)
    {
        var reader = new CallReader(text);
        while (true)
        {
            reader.SkipWhiteSpace();
            if (ReadObject(ref reader, calls) is not Outcome.Complete and var outcome) return outcome;
            ReadOnlySpan<char> gap = reader.Rest;
            reader.SkipWhiteSpace();
            if (reader.IsAtEnd) return isFinal ? Outcome.Complete : Outcome.Incomplete;
            if (!reader.Literal(";") && !gap[..^reader.Rest.Length].Contains('\n')) return Outcome.Malformed;
            reader.SkipWhiteSpace();
            if (reader.IsAtEnd) return isFinal ? Outcome.Complete : Outcome.Incomplete;
        }
    }

    /// <summary>tool.call(key="value", …)</summary>
    private static ParsedCall? ReadBuiltIn(string code)
    {
        int call = code.IndexOf(".call(", StringComparison.Ordinal);
        if (call <= 0 || !code.EndsWith(')') || !code.AsSpan(0, call).ToString().All(c => char.IsAsciiLetterOrDigit(c) || c == '_')) return null;
        List<(string Key, string Json)> pairs = [];
        int at = call + ".call(".Length, end = code.Length - 1;
        while (true)
        {
            while (at < end && (char.IsWhiteSpace(code[at]) || pairs.Count > 0 && code[at] == ',')) at++;
            if (at >= end) break;
            int equals = code.IndexOf('=', at);
            if (equals < 0 || equals >= end) return null;
            string key = code[at..equals].Trim();
            if (key.Length == 0 || !key.All(c => char.IsAsciiLetterOrDigit(c) || c == '_')) return null;
            at = equals + 1;
            while (at < end && char.IsWhiteSpace(code[at])) at++;
            int start = at;
            for (bool quoted = false; at < end && (quoted || code[at] != ','); at++)
            {
                if (code[at] == '\\' && quoted) at++;
                else if (code[at] == '"') quoted = !quoted;
            }
            if (at > end) return null;
            string value = code[start..at].Trim();
            pairs.Add((key, value switch { "True" => "true", "False" => "false", "None" => "null", _ => value }));
        }
        try
        {
            return new(code[..call], Object(json =>
            {
                foreach (var (key, value) in pairs)
                {
                    json.WritePropertyName(key);
                    CallReader.Parse(Encoding.UTF8.GetBytes(value)).WriteTo(json);
                }
            }));
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static JsonElement Object(Action<Utf8JsonWriter> write)
    {
        var buffer = new System.Buffers.ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            write(json);
            json.WriteEndObject();
        }
        return CallReader.Parse(buffer.WrittenMemory);
    }
}
