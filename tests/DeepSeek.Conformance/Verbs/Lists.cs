using System.Text.Json.Nodes;

namespace DeepSeek.Conformance.Verbs;

/// <summary>Lists of numbers, in and out.</summary>
internal static class Lists
{
    public static JsonArray Floats(ReadOnlySpan<float> values)
    {
        var array = new JsonArray();
        foreach (float v in values) array.Add((JsonNode)v);
        return array;
    }

    public static JsonArray Ints(IEnumerable<int> values)
    {
        var array = new JsonArray();
        foreach (int v in values) array.Add((JsonNode)v);
        return array;
    }

    public static int[] Ints(JsonNode? node) => node is JsonArray a ? a.Select(x => x!.GetValue<int>()).ToArray() : throw new InvalidOptionException("A list of token ids is missing.");
}
