using System.Globalization;
using System.Text.Json;
using System.Text.Unicode;

namespace DeepSeek.Formats;

/// <summary>
/// A configuration with Hugging Face's keys: typed, checked access. A key that is absent or null takes the default; a value of the wrong kind or outside its range is an
/// <see cref="InvalidModelFileException"/> that names key, value and range. Immutable.
/// </summary>
/// <param name="root">A JSON object.</param>
/// <param name="source">The file it is from, for messages.</param>
internal sealed class ModelConfig(JsonElement root, string source)
{
    /// <summary>Largest count or size that any configuration may ask for: far above every published model, low enough for products of two in 64 bits.</summary>
    private const int Largest = 1 << 24;

    /// <summary>An object without keys.</summary>
    public static ModelConfig Empty { get; } = Parse("{}"u8, "(none)");

    /// <summary>The JSON object itself.</summary>
    public JsonElement Root { get; } = root;

    /// <summary>The file it is from, for messages.</summary>
    public string Source { get; } = source;

    /// <summary>Parses a JSON object.</summary>
    /// <exception cref="InvalidModelFileException">It is no JSON object.</exception>
    public static ModelConfig Parse(ReadOnlySpan<byte> utf8, string source)
    {
        if (utf8.StartsWith("\uFEFF"u8)) utf8 = utf8[3..];
        if (!Utf8.IsValid(utf8)) throw new InvalidModelFileException($"'{source}' is no valid UTF-8. The file is broken; download it again.");
        var options = new JsonReaderOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true };
        try
        {
            var strings = new Utf8JsonReader(utf8, options);
            while (strings.Read())
                if (strings.ValueIsEscaped && strings.TokenType is JsonTokenType.String or JsonTokenType.PropertyName) strings.GetString(); // half a surrogate pair throws here, not later
            var reader = new Utf8JsonReader(utf8, options);
            JsonElement root = JsonElement.ParseValue(ref reader);
            if (root.ValueKind == JsonValueKind.Object) return new ModelConfig(root, source);
            throw new InvalidModelFileException($"'{source}' holds a JSON {root.ValueKind}, expected an object.");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new InvalidModelFileException($"'{source}' is no JSON: {e.Message}", e);
        }
    }

    /// <summary>Whether the key is there and not null.</summary>
    public bool Has(string key) => Root.TryGetProperty(key, out JsonElement e) && e.ValueKind != JsonValueKind.Null;

    /// <summary>A value of any kind; null where absent or null.</summary>
    public JsonElement? Find(string key) => Root.TryGetProperty(key, out JsonElement e) && e.ValueKind != JsonValueKind.Null ? e : null;

    /// <summary>An integer that must be there.</summary>
    public int Int(string key, int min = 1, int max = Largest)
        => Has(key) ? Int(key, 0, min, max) : throw new InvalidModelFileException($"'{Source}' lacks '{key}'; expected an integer from {min} to {max}.");

    /// <summary>An integer, or the default.</summary>
    public int Int(string key, int defaultValue, int min, int max)
    {
        if (Find(key) is not { } e) return defaultValue;
        if (e.ValueKind == JsonValueKind.Number && e.TryGetDouble(out double d) && d == Math.Floor(d) && d >= min && d <= max) return (int)d;
        throw Wrong(key, e, string.Create(CultureInfo.InvariantCulture, $"an integer from {min} to {max}"));
    }

    /// <summary>A finite number that must be there.</summary>
    public double Number(string key)
        => Has(key) ? Number(key, 0) : throw new InvalidModelFileException($"'{Source}' lacks '{key}'; expected a number.");

    /// <summary>A finite number, or the default.</summary>
    public double Number(string key, double defaultValue, double min = double.MinValue, double max = double.MaxValue)
    {
        if (Find(key) is not { } e) return defaultValue;
        if (e.ValueKind == JsonValueKind.Number && e.TryGetDouble(out double d) && double.IsFinite(d) && d >= min && d <= max) return d;
        throw Wrong(key, e, min == double.MinValue ? "a finite number" : string.Create(CultureInfo.InvariantCulture, $"a number from {min} to {max}"));
    }

    /// <summary>A boolean, or the default.</summary>
    public bool Bool(string key, bool defaultValue) => Find(key) is not { } e ? defaultValue : e.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw Wrong(key, e, "true or false"),
    };

    /// <summary>A string; null where absent.</summary>
    public string? Text(string key) => Find(key) is not { } e ? null : e.ValueKind == JsonValueKind.String ? e.GetString() : throw Wrong(key, e, "a string");

    /// <summary>A nested object; null where absent.</summary>
    public ModelConfig? Section(string key)
        => Find(key) is not { } e ? null : e.ValueKind == JsonValueKind.Object ? new ModelConfig(e, $"{Source} → {key}") : throw Wrong(key, e, "an object");

    /// <summary>An integer or a list of integers; empty where absent.</summary>
    public IReadOnlyList<int> Ints(string key)
    {
        if (Find(key) is not { } e) return [];
        if (e.ValueKind == JsonValueKind.Number) return [Int(key, 0, 0, int.MaxValue)];
        if (e.ValueKind != JsonValueKind.Array) throw Wrong(key, e, "an integer or a list of integers");
        var list = new List<int>();
        foreach (JsonElement item in e.EnumerateArray())
            list.Add(item.ValueKind == JsonValueKind.Number && item.TryGetInt32(out int i) ? i : throw Wrong(key, e, "a list of integers"));
        return list;
    }

    /// <summary>The error for a value that cannot be.</summary>
    public InvalidModelFileException Wrong(string key, JsonElement value, string expected)
    {
        string seen = value.GetRawText();
        return new InvalidModelFileException($"'{Source}': '{key}' is {(seen.Length > 60 ? seen[..60] + "…" : seen)}, expected {expected}.");
    }
}
