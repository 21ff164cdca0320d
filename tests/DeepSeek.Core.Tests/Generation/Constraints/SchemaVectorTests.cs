using System.Text;
using System.Text.Json;
using DeepSeek.Generation.Constraints;

namespace DeepSeek.Core.Tests.Generation.Constraints;

/// <summary>What jsonschema 4.26 calls valid can be written, what it calls invalid cannot.</summary>
public class SchemaVectorTests
{
    [SharedFact]
    public void EveryVectorIsDecided()
    {
        var wrong = new List<string>();
        foreach (string line in File.ReadLines(SharedData.Path("text", "schemas.jsonl")))
        {
            using JsonDocument vector = JsonDocument.Parse(line);
            JsonElement v = vector.RootElement;
            Grammar grammar = Grammar.OfJsonSchema(v.GetProperty("schema"));
            foreach (JsonElement text in v.GetProperty("valid").EnumerateArray())
                if (!grammar.Accepts(Encoding.UTF8.GetBytes(text.GetString()!))) wrong.Add($"{v.GetProperty("tag")}: refused {text.GetString()}");
            foreach (JsonElement text in v.GetProperty("invalid").EnumerateArray())
                if (grammar.Accepts(Encoding.UTF8.GetBytes(text.GetString()!))) wrong.Add($"{v.GetProperty("tag")}: accepted {text.GetString()}");
        }
        Assert.Empty(wrong);
    }
}
