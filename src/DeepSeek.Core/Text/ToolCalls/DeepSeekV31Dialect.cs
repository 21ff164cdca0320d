using System.Text.Json;

namespace DeepSeek.Text.ToolCalls;

/// <summary>DeepSeek V3.1: a list between tokens of its own, each call a name and a JSON object.</summary>
internal sealed class DeepSeekV31Dialect : ToolCallDialect
{
    private const string Begin = "<｜tool▁call▁begin｜>";
    private const string Separator = "<｜tool▁sep｜>";

    public override string Name => "deepseek_v3_1";

    public override string CallsBegin => "<｜tool▁calls▁begin｜>";

    public override string CallSeparator => "";

    public override string CallsEnd => "<｜tool▁calls▁end｜>";

    public override string AfterArguments => "<｜tool▁call▁end｜>";

    public override string ToolTemplate => ToolTemplates.DeepSeekV31;

    protected override string Marker => CallsBegin;

    public override string BeforeArguments(string tool) => Begin + tool + Separator;

    protected override bool IsSpokenBy(string template) => template.Contains("<｜tool▁calls▁begin｜>", StringComparison.Ordinal) && !template.Contains("```json", StringComparison.Ordinal);

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
            if (calls.Count > 0 && reader.Literal(CallsEnd))
            {
                length = reader.Position;
                return Outcome.Complete;
            }
            if (calls.Count > 0 && reader.Outcome == Outcome.Incomplete) return Outcome.Incomplete;
            if (!reader.Literal(Begin) || !reader.Until(Separator, "<\n{", out string name)) return reader.Outcome;
            if (name.Trim().Length == 0) return Outcome.Malformed;
            reader.SkipWhiteSpace();
            if (!reader.Object(out JsonElement arguments)) return reader.Outcome;
            reader.SkipWhiteSpace();
            if (!reader.Literal(AfterArguments)) return reader.Outcome;
            calls.Add(new(name.Trim(), arguments));
        }
    }
}
