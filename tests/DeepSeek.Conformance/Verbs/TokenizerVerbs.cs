using System.Text.Json.Nodes;
using DeepSeek.Text;

namespace DeepSeek.Conformance.Verbs;

/// <summary><c>encode TOKENIZER</c></summary>
internal sealed class EncodeVerb(Tokenizer tokenizer) : IVerb
{
    public static IVerb Open(Arguments arguments) => new EncodeVerb(Tokenizer.Load(arguments.Required));

    public JsonNode Answer(JsonObject line)
    {
        int[] ids = tokenizer.Encode((string)line["text"]!, (bool?)line["special"] ?? false);
        return new JsonObject { ["ids"] = new JsonArray([.. ids.Select(id => JsonValue.Create(id))]) };
    }

    public void Dispose() { }
}

/// <summary><c>decode TOKENIZER</c></summary>
internal sealed class DecodeVerb(Tokenizer tokenizer) : IVerb
{
    public static IVerb Open(Arguments arguments) => new DecodeVerb(Tokenizer.Load(arguments.Required));

    public JsonNode Answer(JsonObject line)
    {
        int[] ids = [.. line["ids"]!.AsArray().Select(id => (int)id!)];
        if ((bool?)line["stream"] != true) return new JsonObject { ["text"] = tokenizer.Decode(ids) };
        var stream = new TokenStream(tokenizer);
        var pieces = new JsonArray();
        foreach (int id in ids) pieces.Add(stream.Add(id).ToString());
        pieces.Add(stream.Flush().ToString());
        return new JsonObject { ["pieces"] = pieces };
    }

    public void Dispose() { }
}
