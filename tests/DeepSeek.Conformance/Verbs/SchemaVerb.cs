using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using DeepSeek.Generation.Constraints;

namespace DeepSeek.Conformance.Verbs;

/// <summary><c>schema</c>: whether constrained decoding lets exactly these texts be written and then stop.</summary>
internal sealed class SchemaVerb : IVerb
{
    public JsonNode Answer(JsonObject line)
    {
        Grammar grammar;
        try
        {
            using JsonDocument schema = JsonDocument.Parse(line["schema"]?.ToJsonString() ?? "null");
            grammar = Grammar.OfJsonSchema(schema.RootElement);
        }
        catch (UnsupportedModelException e)
        {
            return new JsonObject { ["unsupported"] = e.Data[SchemaErrors.KeywordKey] as string ?? e.Message };
        }
        var accepted = new JsonArray();
        foreach (JsonNode? text in line["texts"]!.AsArray()) accepted.Add(grammar.Accepts(Encoding.UTF8.GetBytes(text!.GetValue<string>())));
        return new JsonObject { ["accepted"] = accepted };
    }

    public void Dispose() { }
}
