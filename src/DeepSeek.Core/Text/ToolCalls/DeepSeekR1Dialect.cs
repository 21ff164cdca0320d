using System.Text.Json;

namespace DeepSeek.Text.ToolCalls;

/// <summary>DeepSeek V3 and R1: a list between tokens of its own, each call a name and a fenced JSON object.</summary>
internal sealed class DeepSeekR1Dialect : ToolCallDialect
{
    private const string Begin = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>";

    public override string Name => "deepseek_r1_0528";

    public override string CallsBegin => "<｜tool▁calls▁begin｜>";

    public override string CallSeparator => "\n";

    public override string CallsEnd => "<｜tool▁calls▁end｜>";

    public override string AfterArguments => "\n```<｜tool▁call▁end｜>";

    public override string ToolTemplate => ToolTemplates.DeepSeekV3;

    protected override string Marker => CallsBegin;

    public override string BeforeArguments(string tool) => $"{Begin}{tool}\n```json\n";

    protected override bool IsSpokenBy(string template) => template.Contains("<｜tool▁calls▁begin｜>", StringComparison.Ordinal) && template.Contains("```json", StringComparison.Ordinal);

    public override Outcome Read(ReadOnlySpan<char> text, bool isFinal, List<ParsedCall> calls, out int length)
    {
        var reader = new CallReader(text);
        length = 0;
        reader.Literal(Marker);
        while (true)
        {
            reader.SkipWhiteSpace();
            length = reader.Position;
            // A list that the model, or the limit of tokens, left open behind a whole call.
            if (reader.IsAtEnd && calls.Count > 0) return isFinal ? Outcome.Complete : Outcome.Incomplete;
            if (calls.Count > 0 && reader.Literal(CallsEnd))
            {
                length = reader.Position;
                return Outcome.Complete;
            }
            if (calls.Count > 0 && reader.Outcome == Outcome.Incomplete) return Outcome.Incomplete;
            if (!reader.Literal(Begin) || !reader.Until("\n", "<", out string name)) return reader.Outcome;
            reader.SkipWhiteSpace();
            if (name.Trim().Length == 0) return Outcome.Malformed;
            if (!reader.Literal("```json")) return reader.Outcome;
            reader.SkipWhiteSpace();
            if (!reader.Object(out JsonElement arguments)) return reader.Outcome;
            reader.SkipWhiteSpace();
            if (!reader.Literal("```")) return reader.Outcome;
            reader.SkipWhiteSpace();
            if (!reader.Literal("<｜tool▁call▁end｜>")) return reader.Outcome;
            calls.Add(new(name.Trim(), arguments));
        }
    }
}
