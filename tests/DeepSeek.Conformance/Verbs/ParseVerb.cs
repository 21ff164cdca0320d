using System.Text;
using System.Text.Json.Nodes;
using DeepSeek.Text.ToolCalls;

namespace DeepSeek.Conformance.Verbs;

/// <summary>parse DIALECT: a model's output, whole or in pieces, into reasoning, content and tool calls.</summary>
internal sealed class ParseVerb(ToolCallDialect? dialect) : IVerb
{
    public static ParseVerb Open(Arguments arguments) => new(arguments.Required == "think_only" ? null
        : ToolCallDialect.ByName(arguments.Required) ?? throw new UsageException($"unknown dialect '{arguments.Required}'; there are think_only, {string.Join(", ", ToolCallDialect.All.Select(d => d.Name))}"));

    public JsonNode Answer(JsonObject line)
    {
        bool toolsEnabled = line["tools_enabled"]?.GetValue<bool>() ?? true;
        var parser = new OutputParser(toolsEnabled ? dialect : null, line["start_in_reasoning"]?.GetValue<bool>() ?? false);
        IEnumerable<string> pieces = line["chunks"]?.AsArray().Select(c => c!.GetValue<string>()) ?? [line["output"]!.GetValue<string>()];
        var reasoning = new StringBuilder();
        var content = new StringBuilder();
        var calls = new JsonArray();
        foreach (string piece in pieces) Add(parser.Feed(piece));
        Add(parser.Finish());
        return new JsonObject { ["reasoning"] = parser.HasReasoning ? reasoning.ToString() : null, ["content"] = content.ToString(), ["tool_calls"] = calls };

        void Add(IReadOnlyList<OutputEvent> events)
        {
            foreach (OutputEvent e in events)
            {
                if (e.Kind == OutputKind.Reasoning) reasoning.Append(e.Text);
                else if (e.Kind == OutputKind.Content) content.Append(e.Text);
                else calls.Add(new JsonObject { ["name"] = e.Call!.Name, ["arguments"] = JsonNode.Parse(e.Call.Arguments.GetRawText()) });
            }
        }
    }

    public void Dispose() { }
}
