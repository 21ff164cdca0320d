using System.Text;
using System.Text.Json;

namespace DeepSeek.Text.ToolCalls;

/// <summary>Reads the parts of a block one after the other, and remembers whether more text might still make one of them fit.</summary>
internal ref struct CallReader(ReadOnlySpan<char> text)
{
    private readonly ReadOnlySpan<char> text = text;

    /// <summary>Where the next part begins.</summary>
    public int Position { get; private set; }

    /// <summary>What became of the last part.</summary>
    public Outcome Outcome { get; private set; }

    public readonly bool IsAtEnd => Position >= text.Length;

    public readonly ReadOnlySpan<char> Rest => text[Position..];

    public void SkipWhiteSpace()
    {
        while (Position < text.Length && char.IsWhiteSpace(text[Position])) Position++;
    }

    /// <summary>Exactly this.</summary>
    public bool Literal(string literal)
    {
        if (Rest.StartsWith(literal))
        {
            Position += literal.Length;
            Outcome = Outcome.Complete;
            return true;
        }
        Outcome = literal.AsSpan().StartsWith(Rest) ? Outcome.Incomplete : Outcome.Malformed;
        return false;
    }

    /// <summary>Everything up to this literal, which is passed; <paramref name="forbidden"/> characters in between make it malformed.</summary>
    public bool Until(string literal, string forbidden, out string value)
    {
        value = "";
        int end = Rest.IndexOf(literal);
        ReadOnlySpan<char> between = end < 0 ? Rest[..^Tail(Rest, literal)] : Rest[..end];
        if (between.IndexOfAny(forbidden) >= 0) Outcome = Outcome.Malformed;
        else if (end < 0) Outcome = Outcome.Incomplete;
        else
        {
            value = between.ToString();
            Position += end + literal.Length;
            Outcome = Outcome.Complete;
            return true;
        }
        return false;
    }

    /// <summary>A JSON object.</summary>
    public bool Object(out JsonElement value)
    {
        value = default;
        if (IsAtEnd)
        {
            Outcome = Outcome.Incomplete;
            return false;
        }
        if (text[Position] != '{')
        {
            Outcome = Outcome.Malformed;
            return false;
        }
        // In windows that grow: an object is short, what follows it may be long.
        for (int window = 2048; ; window = window > Rest.Length / 4 ? Rest.Length : window * 4)
        {
            ReadOnlySpan<char> rest = Rest[..Math.Min(window, Rest.Length)];
            if (char.IsHighSurrogate(rest[^1])) rest = rest[..^1];
            byte[] bytes = new byte[Encoding.UTF8.GetByteCount(rest)];
            Encoding.UTF8.GetBytes(rest, bytes);
            try
            {
                if (ObjectLength(bytes) is { } length)
                {
                    value = Parse(bytes.AsMemory(0, length));
                    Position += Encoding.UTF8.GetCharCount(bytes, 0, length);
                    Outcome = Outcome.Complete;
                    return true;
                }
            }
            catch (JsonException)
            {
                Outcome = Outcome.Malformed;
                return false;
            }
            if (window < Rest.Length) continue;
            Outcome = Outcome.Incomplete;
            return false;
        }
    }

    /// <summary>How many bytes the object at the beginning takes; null where it goes on.</summary>
    private static int? ObjectLength(byte[] bytes)
    {
        var reader = new Utf8JsonReader(bytes, isFinalBlock: false, default);
        do
        {
            if (!reader.Read()) return null;
        }
        while (reader.CurrentDepth > 0 || reader.TokenType != JsonTokenType.EndObject);
        return (int)reader.BytesConsumed;
    }

    /// <summary>A JSON document of its own memory. Half surrogate pairs, which no string can hold, count as malformed.</summary>
    public static JsonElement Parse(ReadOnlyMemory<byte> utf8)
    {
        using JsonDocument document = JsonDocument.Parse(utf8);
        try
        {
            Visit(document.RootElement);
        }
        catch (InvalidOperationException e)
        {
            throw new JsonException("half a surrogate pair", e);
        }
        return document.RootElement.Clone();

        static void Visit(JsonElement element)
        {
            if (element.ValueKind == JsonValueKind.String) element.GetString();
            else if (element.ValueKind == JsonValueKind.Array)
                foreach (JsonElement item in element.EnumerateArray()) Visit(item);
            else if (element.ValueKind == JsonValueKind.Object)
                foreach (JsonProperty p in element.EnumerateObject()) Visit(p.Value);
        }
    }

    /// <summary>Arguments that are an object, or a string that holds one.</summary>
    public static bool TryArguments(JsonElement value, out JsonElement arguments)
    {
        arguments = value;
        if (value.ValueKind != JsonValueKind.String) return value.ValueKind == JsonValueKind.Object;
        try
        {
            arguments = Parse(Encoding.UTF8.GetBytes(value.GetString()!));
            return arguments.ValueKind == JsonValueKind.Object;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    private static int Tail(ReadOnlySpan<char> text, string literal)
    {
        int length = Math.Min(text.Length, literal.Length - 1);
        while (length > 0 && !text.EndsWith(literal.AsSpan(0, length))) length--;
        return length;
    }
}
