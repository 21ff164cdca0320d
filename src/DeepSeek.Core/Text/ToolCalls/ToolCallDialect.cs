using System.Text.Json;

namespace DeepSeek.Text.ToolCalls;

/// <summary>How a family of models writes tool calls. Stateless.</summary>
internal abstract class ToolCallDialect
{
    /// <summary>Every dialect.</summary>
    public static IReadOnlyList<ToolCallDialect> All { get; } =
        [new DeepSeekR1Dialect(), new DeepSeekV31Dialect(), new DsmlDialect("deepseek_v3_2_dsml", "function_calls"), new DsmlDialect("deepseek_v4_dsml", "tool_calls"), new HermesDialect(), new LlamaDialect()];

    /// <summary>deepseek_r1_0528, deepseek_v3_1, deepseek_v3_2_dsml, deepseek_v4_dsml, qwen_hermes or llama3_json.</summary>
    public abstract string Name { get; }

    /// <summary>What opens a list of calls, to the first call's own text.</summary>
    public abstract string CallsBegin { get; }

    /// <summary>What stands between two calls.</summary>
    public abstract string CallSeparator { get; }

    /// <summary>What closes the list; the end of the turn follows.</summary>
    public abstract string CallsEnd { get; }

    /// <summary>What a block that is whole ends with; empty where nothing closes it.</summary>
    public virtual string Closing => CallsEnd.TrimStart();

    /// <summary>What stands between a call's arguments and the separator or the end.</summary>
    public abstract string AfterArguments { get; }

    /// <summary>How arguments are written where they are no JSON object; null where they are one.</summary>
    public virtual ParameterSyntax? Parameters => null;

    /// <summary>
    /// A Jinja template that writes whole conversations with tools, for models whose own template cannot; null where there is none.
    /// Beside the usual variables it gets generation_prompt: what the model's own template ends with behind a user's turn.
    /// </summary>
    public virtual string? ToolTemplate => null;

    /// <summary>What a call begins with, up to its arguments.</summary>
    public abstract string BeforeArguments(string tool);

    /// <summary>This model's dialect, by the text of its chat template; null where the template knows no tools.</summary>
    public static ToolCallDialect? Detect(string template) => All.FirstOrDefault(d => d.IsSpokenBy(template));

    public static ToolCallDialect? ByName(string name) => All.FirstOrDefault(d => d.Name == name);

    public ToolCallParser CreateParser(bool onlyFirst) => new(this, onlyFirst);

    /// <summary>Calls as the model writes them, behind its content.</summary>
    public string Write(IReadOnlyList<(string Tool, JsonElement Arguments)> calls) =>
        CallsBegin + string.Join(CallSeparator, calls.Select(c => BeforeArguments(c.Tool) + WriteArguments(c.Arguments) + AfterArguments)) + CallsEnd;

    /// <summary>A template is for models of this dialect.</summary>
    protected abstract bool IsSpokenBy(string template);

    /// <summary>What a block begins with, as far as it is the same for all: the literal that is looked for.</summary>
    protected abstract string Marker { get; }

    protected virtual string WriteArguments(JsonElement arguments) => Json(arguments);

    /// <summary>Where a block may begin; -1 where nowhere. <paramref name="isFirst"/>: nothing but white space came before.</summary>
    public virtual int FindBlock(string text, bool isFirst, out int markerLength)
    {
        markerLength = Marker.Length;
        return text.IndexOf(Marker, StringComparison.Ordinal);
    }

    /// <summary>Length of a text's tail, without a block in it, that may belong to one.</summary>
    public virtual int HeldLength(string text, bool isFirst) => Markers.HeldLength(text, Marker);

    /// <summary>Reads a block at the start of a text. The answer for a text holds for everything that it may go on as; <paramref name="isFinal"/>: it does not go on.</summary>
    public abstract Outcome Read(ReadOnlySpan<char> text, bool isFinal, List<ParsedCall> calls, out int length);

    /// <summary>Where in a conversation that a template wrote calls may begin, at or behind a place; −1 where nowhere.</summary>
    public virtual int FindWritten(string text, int from) => text.IndexOf(Marker, from, StringComparison.Ordinal);

    /// <summary>Reads calls at the start of a text that a template wrote, and that goes on behind them.</summary>
    public virtual bool ReadWritten(ReadOnlySpan<char> text, List<ParsedCall> calls, out int length) => Read(text, isFinal: false, calls, out length) == Outcome.Complete;

    /// <summary>JSON as Python's json.dumps writes it: what the models saw in training.</summary>
    protected static string Json(JsonElement value) => Jinja.Json.Dump(Jinja.Json.Value(value), false, null, ", ", ": ", false, true, new Jinja.Meter()).Value;
}

/// <summary>Arguments as a list of tagged parameters.</summary>
/// <param name="Begin">Before the parameter's name.</param>
/// <param name="StringValue">Between the name and a value that is a string, which is written raw.</param>
/// <param name="JsonValue">Between the name and any other value, which is written as JSON.</param>
/// <param name="End">Behind the value.</param>
/// <param name="Marker">A character of <paramref name="End"/> that raw strings do not contain, so that it is not looked for in vain.</param>
/// <param name="NotInNames">Characters that a parameter's name cannot contain.</param>
internal sealed record ParameterSyntax(string Begin, string StringValue, string JsonValue, string End, char Marker, string NotInNames);
