using System.Globalization;
using System.Numerics;
using System.Text;
using System.Text.Json;

namespace DeepSeek.Text.Jinja;

/// <summary>Python's json.dumps and json.loads.</summary>
internal static class Json
{
    public static Str Dump(object? value, bool ensureAscii, string? indent, string itemSeparator, string keySeparator, bool sortKeys, bool trusted, Meter meter)
    {
        var text = new StringBuilder();
        Write(value, 0);
        meter.Write(text.Length);
        return Str.Of(text.ToString(), trusted);

        void Write(object? value, int level)
        {
            meter.Step();
            Meter.CheckStack();
            if (text.Length > Meter.MaxCharacters) meter.Write(text.Length);
            switch (value)
            {
                case Str s:
                    trusted &= s.AllTrusted;
                    Quote(s.Value);
                    break;
                case null: text.Append("null"); break;
                case bool b: text.Append(b ? "true" : "false"); break;
                case long or BigInteger:
                    text.Append(Numbers.IntegerText(value));
                    trusted = false;
                    break;
                case double d:
                    text.Append(Real(d));
                    trusted = false;
                    break;
                case List<object?> or object?[] or Group:
                    Items('[', value is Group g ? [g.Grouper, g.Items] : (IReadOnlyCollection<object?>)value, ']', level, item => Write(item, level + 1));
                    break;
                case Dict dict:
                    var pairs = dict.Items.ToList();
                    if (sortKeys) pairs = [.. Comparison.Sort([.. pairs.Select(object? (p) => p)], p => ((KeyValuePair<object?, object?>)p!).Key, false, meter).Select(p => (KeyValuePair<object?, object?>)p!)];
                    Items('{', pairs, '}', level, pair =>
                    {
                        if (pair.Key is Str key) trusted &= key.AllTrusted;
                        Quote(Key(pair.Key));
                        text.Append(keySeparator);
                        Write(pair.Value, level + 1);
                    });
                    break;
                default: throw Fail.Type($"Object of type {Kind.Name(value)} is not JSON serializable");
            }
        }

        void Items<T>(char open, IReadOnlyCollection<T> items, char close, int level, Action<T> write)
        {
            text.Append(open);
            bool first = true;
            foreach (T item in items)
            {
                if (!first) text.Append(itemSeparator);
                first = false;
                Line(level + 1);
                write(item);
            }
            if (!first) Line(level);
            text.Append(close);
        }

        void Line(int level)
        {
            if (indent is null) return;
            meter.Write((long)indent.Length * level);
            text.Append('\n').Insert(text.Length, indent, level);
        }

        void Quote(string s)
        {
            text.Append('"');
            foreach (char c in s)
            {
                switch (c)
                {
                    case '"': text.Append("\\\""); break;
                    case '\\': text.Append("\\\\"); break;
                    case '\n': text.Append("\\n"); break;
                    case '\r': text.Append("\\r"); break;
                    case '\t': text.Append("\\t"); break;
                    case '\b': text.Append("\\b"); break;
                    case '\f': text.Append("\\f"); break;
                    default:
                        if (c < ' ' || ensureAscii && c > '~') text.Append($"\\u{(int)c:x4}");
                        else text.Append(c);
                        break;
                }
            }
            text.Append('"');
        }
    }

    private static string Real(double d) => double.IsNaN(d) ? "NaN" : double.IsInfinity(d) ? d > 0 ? "Infinity" : "-Infinity" : Numbers.RealText(d);

    private static string Key(object? key) => key switch
    {
        Str s => s.Value,
        null => "null",
        bool b => b ? "true" : "false",
        long or BigInteger => Numbers.IntegerText(key),
        double d => Real(d),
        _ => throw Fail.Type($"keys must be str, int, float, bool or None, not {Kind.Name(key)}"),
    };

    public static object? Load(Str text)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(text.Value);
            return Value(document.RootElement, text.AllTrusted);
        }
        catch (JsonException e)
        {
            throw Fail.Value($"from_json: {e.Message}");
        }
    }

    /// <summary>A JSON value as the language sees it. Its strings are the caller's unless <paramref name="trusted"/>.</summary>
    public static object? Value(JsonElement json, bool trusted = false)
    {
        Meter.CheckStack();
        switch (json.ValueKind)
        {
            case JsonValueKind.Object:
                var dict = new Dict();
                foreach (JsonProperty p in json.EnumerateObject()) dict[Str.Of(Text(p), trusted)] = Value(p.Value, trusted);
                return dict;
            case JsonValueKind.Array: return json.EnumerateArray().Select(i => Value(i, trusted)).ToList();
            case JsonValueKind.String: return Str.Of(Text(json), trusted);
            case JsonValueKind.True: return true;
            case JsonValueKind.False: return false;
            case JsonValueKind.Number:
                string raw = json.GetRawText();
                return raw.AsSpan().IndexOfAny('.', 'e', 'E') < 0 ? Numbers.ParseInteger(raw) : double.Parse(raw, NumberStyles.Float, CultureInfo.InvariantCulture);
            default: return null;
        }
    }

    // A lone surrogate escape is no character of any text that could be tokenised; JsonElement refuses it with an InvalidOperationException.
    private static string Text(JsonElement json)
    {
        try { return json.GetString()!; }
        catch (InvalidOperationException) { throw Fail.Value("a JSON string holds half a surrogate pair"); }
    }

    private static string Text(JsonProperty property)
    {
        try { return property.Name; }
        catch (InvalidOperationException) { throw Fail.Value("a JSON name holds half a surrogate pair"); }
    }
}
