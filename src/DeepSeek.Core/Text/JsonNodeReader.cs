using System.Globalization;
using System.Text.Json;

namespace DeepSeek.Text;

/// <summary>A place in a JSON file: reads values of the expected kind, and says where and what it saw otherwise.</summary>
/// <param name="Path">The file.</param>
/// <param name="Parent">The place in it that the value is part of.</param>
/// <param name="Name">A member's name.</param>
/// <param name="Value">The value.</param>
/// <param name="Index">The number of an element; −1 where it is a member.</param>
internal readonly record struct JsonNodeReader(string Path, string Parent, string Name, JsonElement Value, int Index = -1)
{
    private string Where => $"{Parent}{(Parent.Length == 0 ? "" : ".")}{(Index < 0 ? Name : Index.ToString(CultureInfo.InvariantCulture))}";

    public bool IsObject => Value.ValueKind == JsonValueKind.Object;

    public bool IsArray => Value.ValueKind == JsonValueKind.Array;

    public InvalidModelFileException Wrong(string expected)
    {
        string seen = Value.ValueKind is JsonValueKind.Undefined ? "nothing" : Value.GetRawText();
        return new($"'{Path}' has {(seen.Length > 60 ? seen[..60] + "…" : seen)} at '{Where}'; expected is {expected}.");
    }

    /// <summary>A member; null where it is absent or null.</summary>
    public JsonNodeReader? Optional(string name)
    {
        if (!IsObject) throw Wrong("an object");
        return Value.TryGetProperty(name, out JsonElement e) && e.ValueKind != JsonValueKind.Null ? new(Path, Where, name, e) : null;
    }

    /// <summary>A member that must be there.</summary>
    public JsonNodeReader Object(string name) => Optional(name)
        ?? throw new InvalidModelFileException($"'{Path}' has no '{(Where.Length == 0 ? name : $"{Where}.{name}")}'.");

    public IEnumerable<JsonNodeReader> Members()
    {
        if (!IsObject) throw Wrong("an object");
        string where = Where;
        foreach (JsonProperty p in Value.EnumerateObject())
        {
            string name;
            try { name = p.Name; }
            catch (InvalidOperationException e) { throw NotUnicode(e); }
            yield return new(Path, where, name, p.Value);
        }
    }

    public IEnumerable<JsonNodeReader> Elements()
    {
        if (!IsArray) throw Wrong("a list");
        string where = Where;
        int i = 0;
        foreach (JsonElement e in Value.EnumerateArray()) yield return new(Path, where, "", e, i++);
    }

    public IEnumerable<JsonNodeReader> Array(string name) => Object(name).Elements();

    public IEnumerable<JsonNodeReader> OptionalArray(string name) => Optional(name)?.Elements() ?? [];

    public string String()
    {
        if (Value.ValueKind != JsonValueKind.String) throw Wrong("a string");
        try { return Value.GetString()!; }
        catch (InvalidOperationException e) { throw NotUnicode(e); }
    }

    public string String(string name) => Object(name).String();

    public string? OptionalString(string name) => Optional(name)?.String();

    public int Int() => Value.ValueKind == JsonValueKind.Number && Value.TryGetInt32(out int value) ? value : throw Wrong("an integer of 32 bits");

    public double? OptionalNumber(string name)
        => Optional(name) is not { } n ? null : n.Value.ValueKind == JsonValueKind.Number && n.Value.TryGetDouble(out double value) ? value : throw n.Wrong("a number");

    public bool? OptionalBool(string name) => Optional(name) is not { } n ? null : n.Value.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw n.Wrong("true or false"),
    };

    private InvalidModelFileException NotUnicode(Exception e) => new($"'{Path}' has a string at '{Where}' that is no valid Unicode; the file may be damaged.", e);
}
