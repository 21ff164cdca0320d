using System.Text.Json;
using System.Text.Json.Nodes;
using DeepSeek.Text.Jinja;

namespace DeepSeek.Conformance.Verbs;

/// <summary>jinja: one program a line.</summary>
internal sealed class JinjaVerb(TimeProvider clock) : IVerb
{
    public static JinjaVerb Open(Arguments arguments) => arguments.Positional is null ? new(FixedClock.From(arguments["--date"])) : throw new UsageException("jinja takes no argument");

    public JsonNode Answer(JsonObject line)
    {
        using JsonDocument context = JsonDocument.Parse(line["context"]?.ToJsonString() ?? "{}");
        var program = Parser.Parse(line["template"]!.GetValue<string>());
        return new JsonObject { ["text"] = new Evaluator(program, clock).Render((Dict)Json.Value(context.RootElement)!).Value };
    }

    public void Dispose() { }
}
