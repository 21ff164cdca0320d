using System.Globalization;
using System.Numerics;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace DeepSeek.Core.Tests.Generation.Constraints;

/// <summary>Judges instances by the letter of JSON Schema, without any part of the grammar: for the keywords that <see cref="RandomSchemas"/> writes.</summary>
internal static class Validator
{
    public static bool IsValid(JsonElement root, JsonElement schema, JsonElement v)
    {
        if (schema.ValueKind is JsonValueKind.True or JsonValueKind.False) return schema.ValueKind == JsonValueKind.True;
        return schema.EnumerateObject().All(k => Keyword(root, schema, k, v));
    }

    private static bool Keyword(JsonElement root, JsonElement schema, JsonProperty k, JsonElement v)
    {
        JsonElement says = k.Value;
        bool number = v.ValueKind == JsonValueKind.Number, text = v.ValueKind == JsonValueKind.String, array = v.ValueKind == JsonValueKind.Array, obj = v.ValueKind == JsonValueKind.Object;
        switch (k.Name)
        {
            case "$defs": return true;
            case "$ref": return IsValid(root, says.GetString()!.Split('/').Skip(1).Aggregate(root, (e, n) => e.GetProperty(n)), v);
            case "type": return (says.ValueKind == JsonValueKind.Array ? says.EnumerateArray() : new[] { says }.AsEnumerable()).Any(t => IsOfType(v, t.GetString()!));
            case "enum": return says.EnumerateArray().Any(e => JsonElement.DeepEquals(e, v));
            case "const": return JsonElement.DeepEquals(says, v);
            case "minLength": return !text || v.GetString()!.EnumerateRunes().Count() >= says.GetInt32();
            case "maxLength": return !text || v.GetString()!.EnumerateRunes().Count() <= says.GetInt32();
            case "pattern": return !text || Regex.IsMatch(v.GetString()!, says.GetString()!.Replace("$", "\\z", StringComparison.Ordinal), RegexOptions.CultureInvariant);
            case "minimum": return !number || Value(v) >= Value(says);
            case "maximum": return !number || Value(v) <= Value(says);
            case "exclusiveMinimum": return !number || Value(v) > Value(says);
            case "exclusiveMaximum": return !number || Value(v) < Value(says);
            case "multipleOf": return !number || Value(v) % Value(says) == 0;
            case "items":
                int from = schema.TryGetProperty("prefixItems", out JsonElement p) ? p.GetArrayLength() : 0;
                return !array || v.EnumerateArray().Skip(from).All(i => IsValid(root, says, i));
            case "prefixItems": return !array || v.EnumerateArray().Zip(says.EnumerateArray()).All(x => IsValid(root, x.Second, x.First));
            case "minItems": return !array || v.GetArrayLength() >= says.GetInt32();
            case "maxItems": return !array || v.GetArrayLength() <= says.GetInt32();
            case "uniqueItems": return !array || v.EnumerateArray().Select(i => i.GetRawText()).Distinct().Count() == v.GetArrayLength();
            case "contains": return !array || v.EnumerateArray().Any(i => IsValid(root, says, i));
            case "properties": return !obj || says.EnumerateObject().All(x => !v.TryGetProperty(x.Name, out JsonElement m) || IsValid(root, x.Value, m));
            case "required": return !obj || says.EnumerateArray().All(n => v.TryGetProperty(n.GetString()!, out _));
            case "additionalProperties":
                return !obj || v.EnumerateObject().All(m => schema.TryGetProperty("properties", out JsonElement known) && known.TryGetProperty(m.Name, out _) || IsValid(root, says, m.Value));
            case "minProperties": return !obj || v.EnumerateObject().Select(m => m.Name).Distinct().Count() >= says.GetInt32();
            case "maxProperties": return !obj || v.EnumerateObject().Select(m => m.Name).Distinct().Count() <= says.GetInt32();
            case "anyOf": return says.EnumerateArray().Any(s => IsValid(root, s, v));
            case "allOf": return says.EnumerateArray().All(s => IsValid(root, s, v));
            case "oneOf": return says.EnumerateArray().Count(s => IsValid(root, s, v)) == 1;
            case "not": return !IsValid(root, says, v);
            default: throw new InvalidOperationException($"The judge does not know {k.Name}.");
        }
    }

    private static bool IsOfType(JsonElement v, string type) => type switch
    {
        "null" => v.ValueKind == JsonValueKind.Null,
        "boolean" => v.ValueKind is JsonValueKind.True or JsonValueKind.False,
        "integer" => v.ValueKind == JsonValueKind.Number && Value(v) % BigInteger.Pow(10, 200) == 0,
        "number" => v.ValueKind == JsonValueKind.Number,
        "string" => v.ValueKind == JsonValueKind.String,
        "array" => v.ValueKind == JsonValueKind.Array,
        _ => v.ValueKind == JsonValueKind.Object,
    };

    /// <summary>The exact value in units of 10^−200.</summary>
    private static BigInteger Value(JsonElement number)
    {
        string[] parts = number.GetRawText().Split('e', 'E');
        int point = parts[0].IndexOf('.', StringComparison.Ordinal);
        int exponent = (parts.Length > 1 ? int.Parse(parts[1], CultureInfo.InvariantCulture) : 0) - (point < 0 ? 0 : parts[0].Length - point - 1);
        return BigInteger.Parse(parts[0].Replace(".", "", StringComparison.Ordinal), CultureInfo.InvariantCulture) * BigInteger.Pow(10, 200 + exponent);
    }
}
