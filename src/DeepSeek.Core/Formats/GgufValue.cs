using System.Buffers.Binary;
using System.Text;

namespace DeepSeek.Formats;

/// <summary>The kinds of GGUF metadata values, with their numbers in the file.</summary>
internal enum GgufValueType : uint
{
    UInt8, Int8, UInt16, Int16, UInt32, Int32, Float32, Bool, String, Array, UInt64, Int64, Float64,
}

/// <summary>
/// A metadata value, or an array of them, as a place in the file: decoded when asked, so that opening a file with a vocabulary of 150,000 tokens costs nothing.
/// </summary>
internal sealed class GgufValue
{
    private static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);
    private readonly MappedFile file;
    private readonly long offset;

    /// <summary>A value whose bytes the parser has seen to lie inside the file.</summary>
    public GgufValue(string key, GgufValueType type, MappedFile file, long offset, long count = -1)
        => (Key, Type, this.file, this.offset, Count) = (key, type, file, offset, count);

    /// <summary>Its key, for messages.</summary>
    public string Key { get; }

    /// <summary>The kind of the value, or of an array's elements.</summary>
    public GgufValueType Type { get; }

    /// <summary>Elements of an array; −1 for a single value.</summary>
    public long Count { get; }

    public bool IsArray => Count >= 0;

    /// <summary>A string.</summary>
    /// <exception cref="InvalidModelFileException">It is of another kind, or no UTF-8.</exception>
    public string Text() => !IsArray && Type == GgufValueType.String ? Decode(file.Span(offset + 8, (long)file.UInt64(offset)), file, $"the value of '{Key}'") : throw Wrong("a string");

    /// <summary>A boolean.</summary>
    /// <exception cref="InvalidModelFileException">It is of another kind.</exception>
    public bool Bool() => !IsArray && Type == GgufValueType.Bool ? file.Byte(offset) != 0 : throw Wrong("a boolean");

    /// <summary>An integer of any width.</summary>
    /// <exception cref="InvalidModelFileException">It is of another kind or above 2⁶³ − 1.</exception>
    public long Integer() => IsArray ? throw Wrong("an integer") : IntegerAt(offset);

    /// <summary>A number of any kind.</summary>
    /// <exception cref="InvalidModelFileException">It is of another kind.</exception>
    public double Number() => IsArray ? throw Wrong("a number") : NumberAt(offset);

    /// <summary>An array of integers of any width, decoded.</summary>
    /// <exception cref="InvalidModelFileException">It is of another kind.</exception>
    public long[] Integers() => Decode("an array of integers", IntegerAt);

    /// <summary>An array of numbers of any kind, decoded.</summary>
    /// <exception cref="InvalidModelFileException">It is of another kind.</exception>
    public double[] Numbers() => Decode("an array of numbers", NumberAt);

    /// <summary>An array of strings, decoded.</summary>
    /// <exception cref="InvalidModelFileException">It is of another kind, or one is no UTF-8.</exception>
    public string[] Strings()
    {
        if (!IsArray || Type != GgufValueType.String) throw Wrong("an array of strings");
        var strings = new string[Count];
        long at = offset;
        for (int i = 0; i < strings.Length; i++)
        {
            long bytes = (long)file.UInt64(at);
            strings[i] = Decode(file.Span(at + 8, bytes), file, $"element {i} of '{Key}'");
            at += 8 + bytes;
        }
        return strings;
    }

    /// <summary>An array of strings as their UTF-8 bytes, decoded one after the other: for (index, bytes).</summary>
    /// <exception cref="InvalidModelFileException">It is of another kind.</exception>
    public void ForEachUtf8(Action<int, ReadOnlySpan<byte>> visit)
    {
        if (!IsArray || Type != GgufValueType.String) throw Wrong("an array of strings");
        long at = offset;
        for (int i = 0; i < Count; i++)
        {
            long bytes = (long)file.UInt64(at);
            visit(i, file.Span(at + 8, bytes));
            at += 8 + bytes;
        }
    }

    /// <summary>For people: the value, or an array's kind and length.</summary>
    public override string ToString() => IsArray ? $"{Type}[{Count}]" : Type switch
    {
        GgufValueType.String => Text(),
        GgufValueType.Bool => Bool() ? "true" : "false",
        GgufValueType.Float32 or GgufValueType.Float64 => Number().ToString("R", System.Globalization.CultureInfo.InvariantCulture),
        GgufValueType.UInt64 => file.UInt64(offset).ToString(System.Globalization.CultureInfo.InvariantCulture),
        _ => Integer().ToString(System.Globalization.CultureInfo.InvariantCulture),
    };

    /// <summary>The raw bytes of a value or of an array of fixed-width elements, as they are copied from file to file; strings keep their lengths.</summary>
    public ReadOnlySpan<byte> Raw()
    {
        if (Type != GgufValueType.String) return file.Span(offset, (IsArray ? Count : 1) * Width(Type));
        long at = offset;
        for (long i = IsArray ? Count : 1; i > 0; i--) at += 8 + (long)file.UInt64(at);
        return file.Span(offset, at - offset);
    }

    /// <summary>Bytes of a value of that kind; 0 for strings and arrays.</summary>
    public static int Width(GgufValueType type) => type switch
    {
        GgufValueType.UInt8 or GgufValueType.Int8 or GgufValueType.Bool => 1,
        GgufValueType.UInt16 or GgufValueType.Int16 => 2,
        GgufValueType.UInt32 or GgufValueType.Int32 or GgufValueType.Float32 => 4,
        GgufValueType.UInt64 or GgufValueType.Int64 or GgufValueType.Float64 => 8,
        _ => 0,
    };

    /// <summary>UTF-8 that must be valid.</summary>
    /// <exception cref="InvalidModelFileException">It is not.</exception>
    public static string Decode(ReadOnlySpan<byte> utf8, MappedFile file, string what)
    {
        try { return Strict.GetString(utf8); }
        catch (DecoderFallbackException e)
        {
            throw new InvalidModelFileException($"In '{file.Path}', {what} is no valid UTF-8 (bytes {Convert.ToHexString(utf8[..Math.Min(utf8.Length, 24)])}). The file is broken; download it again.", e);
        }
    }

    private T[] Decode<T>(string expected, Func<long, T> at)
    {
        int width = Width(Type);
        if (!IsArray || width == 0 || Type == GgufValueType.Bool) throw Wrong(expected);
        var values = new T[Count];
        for (int i = 0; i < values.Length; i++) values[i] = at(offset + (long)i * width);
        return values;
    }

    private long IntegerAt(long at) => Type switch
    {
        GgufValueType.UInt8 => file.Byte(at),
        GgufValueType.Int8 => (sbyte)file.Byte(at),
        GgufValueType.UInt16 => file.UInt16(at),
        GgufValueType.Int16 => (short)file.UInt16(at),
        GgufValueType.UInt32 => file.UInt32(at),
        GgufValueType.Int32 => (int)file.UInt32(at),
        GgufValueType.UInt64 => file.UInt64(at) is var u && u <= long.MaxValue ? (long)u : throw Wrong("an integer below 2^63"),
        GgufValueType.Int64 => (long)file.UInt64(at),
        _ => throw Wrong("an integer"),
    };

    private double NumberAt(long at) => Type switch
    {
        GgufValueType.Float32 => BinaryPrimitives.ReadSingleLittleEndian(file.Span(at, 4)),
        GgufValueType.Float64 => BinaryPrimitives.ReadDoubleLittleEndian(file.Span(at, 8)),
        GgufValueType.UInt64 => file.UInt64(at),
        GgufValueType.Bool or GgufValueType.String => throw Wrong("a number"),
        _ => IntegerAt(at),
    };

    private InvalidModelFileException Wrong(string expected)
    {
        string seen = IsArray ? $"an array of {Count} {Type}" : Type == GgufValueType.UInt64 ? $"UInt64 {file.UInt64(offset)}" : $"a {Type}";
        return new($"In '{file.Path}', the metadata key '{Key}' holds {seen}, expected {expected}.");
    }
}
