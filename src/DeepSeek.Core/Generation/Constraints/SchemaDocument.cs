using System.Text.Json;

namespace DeepSeek.Generation.Constraints;

/// <summary>A place in a schema document that a value has to satisfy, or must not. Compared by place, kind and sign.</summary>
/// <param name="Pointer">JSON pointer from the document's root.</param>
/// <param name="IsConstant">Whether the place holds a value that has to be equal (const, enum), else a schema.</param>
/// <param name="Negative">Whether the value must not satisfy it.</param>
/// <param name="Element">What stands there.</param>
internal sealed record Requirement(string Pointer, bool IsConstant, bool Negative, JsonElement Element)
{
    public string Key => $"{(Negative ? '!' : '+')}{(IsConstant ? '=' : '~')}{Pointer}";

    public Requirement Not() => this with { Negative = !Negative };

    public Requirement Child(string name, JsonElement element) => new($"{Pointer}/{Escape(name)}", false, Negative, element);

    public Requirement Constant(string name, JsonElement element) => new($"{Pointer}/{Escape(name)}", true, Negative, element);

    public bool Equals(Requirement? other) => other is not null && Pointer == other.Pointer && IsConstant == other.IsConstant && Negative == other.Negative;

    public override int GetHashCode() => HashCode.Combine(Pointer, IsConstant, Negative);

    private static string Escape(string name) => name.Replace("~", "~0", StringComparison.Ordinal).Replace("/", "~1", StringComparison.Ordinal);
}

/// <summary>Finds what <c>$ref</c> names inside one document (JSON Schema core, sections 8.2 and 9.2).</summary>
internal sealed class SchemaDocument
{
    /// <summary>Levels of objects and arrays that a schema may have.</summary>
    public const int DepthLimit = 500;

    private readonly JsonElement root;
    private readonly Dictionary<string, (string Pointer, JsonElement Element)> anchors = [];
    private readonly string? id;

    public SchemaDocument(JsonElement root)
    {
        this.root = root;
        if (root.ValueKind == JsonValueKind.Object && root.TryGetProperty("$id", out JsonElement own) && own.ValueKind == JsonValueKind.String) id = own.GetString()!.TrimEnd('#');
        FindAnchors();
    }

    public Requirement Root => new("", false, false, root);

    public Requirement Resolve(string reference, Requirement from)
    {
        string fragment = reference;
        int hash = reference.IndexOf('#', StringComparison.Ordinal);
        string document = hash < 0 ? reference : reference[..hash];
        if (document.Length > 0 && document != id) throw SchemaErrors.Refused("$ref", from.Pointer, $"'{reference}' is outside this schema");
        fragment = hash < 0 ? "" : Uri.UnescapeDataString(reference[(hash + 1)..]);
        if (fragment.Length > 0 && fragment[0] != '/')
        {
            return anchors.TryGetValue(fragment, out (string Pointer, JsonElement Element) anchor)
                ? new(anchor.Pointer, false, from.Negative, anchor.Element)
                : throw SchemaErrors.Malformed("$ref", from.Pointer, $"names '{reference}', which is not there");
        }
        JsonElement at = root;
        Requirement place = Root;
        foreach (string part in fragment.Split('/').Skip(1))
        {
            string name = part.Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal);
            bool found = at.ValueKind switch
            {
                JsonValueKind.Object => at.TryGetProperty(name, out at),
                JsonValueKind.Array => int.TryParse(name, out int i) && i >= 0 && i < at.GetArrayLength() && (at = at[i]).ValueKind != JsonValueKind.Undefined,
                _ => false,
            };
            if (!found) throw SchemaErrors.Malformed("$ref", from.Pointer, $"names '{reference}', which is not there");
            place = place.Child(name, at);
        }
        return place with { Negative = from.Negative };
    }

    private void FindAnchors()
    {
        var pending = new Stack<(string Pointer, JsonElement Element, int Depth)>();
        pending.Push(("", root, 0));
        while (pending.TryPop(out (string Pointer, JsonElement Element, int Depth) at))
        {
            if (at.Depth > DepthLimit) throw new UnsupportedModelException($"The schema nests over {DepthLimit} levels deep. Move parts of it to $defs, or simplify it.");
            if (at.Element.ValueKind == JsonValueKind.Object)
            {
                foreach (JsonProperty p in at.Element.EnumerateObject())
                {
                    if (p.Name is "$anchor" or "$dynamicAnchor" && p.Value.ValueKind == JsonValueKind.String) anchors.TryAdd(p.Value.GetString()!, (at.Pointer, at.Element));
                    if (p.Name is "enum" or "const" or "default" or "examples") continue;
                    if (p.Value.ValueKind is JsonValueKind.Object or JsonValueKind.Array)
                        pending.Push((new Requirement(at.Pointer, false, false, default).Child(p.Name, p.Value).Pointer, p.Value, at.Depth + 1));
                }
            }
            else if (at.Element.ValueKind == JsonValueKind.Array)
            {
                int i = 0;
                foreach (JsonElement item in at.Element.EnumerateArray())
                {
                    if (item.ValueKind is JsonValueKind.Object or JsonValueKind.Array) pending.Push(($"{at.Pointer}/{i}", item, at.Depth + 1));
                    i++;
                }
            }
        }
    }
}
