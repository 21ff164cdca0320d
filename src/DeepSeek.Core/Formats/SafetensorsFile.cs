using System.Text.Json;
using DeepSeek.Tensors;

namespace DeepSeek.Formats;

/// <summary>A tensor of a safetensors file.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">How its numbers are stored.</param>
/// <param name="Shape">Dimensions, outermost first; empty for a single number.</param>
/// <param name="File">The file that holds it.</param>
/// <param name="Offset">Where its data starts in the file.</param>
/// <param name="Bytes">Bytes of its data, which lie inside the file.</param>
internal sealed record SafetensorsTensor(string Name, DType Type, long[] Shape, MappedFile File, long Offset, long Bytes)
{
    /// <summary>Address of its data.</summary>
    public nint Data => File.Address(Offset, Bytes);
}

/// <summary>
/// Reads the header of a safetensors file: the length of a JSON object, the object, then data without holes or overlaps.
/// https://github.com/huggingface/safetensors#format
/// </summary>
internal static class SafetensorsFile
{
    /// <summary>The format's own limit.</summary>
    private const long MaxHeaderBytes = 100_000_000;

    private const int MaxDimensions = 8;

    /// <summary>The tensors, in order of their data.</summary>
    /// <exception cref="InvalidModelFileException">The file is truncated or contradicts itself.</exception>
    /// <exception cref="UnsupportedModelException">A number format is not known.</exception>
    public static List<SafetensorsTensor> Read(MappedFile file)
    {
        if (file.Length < 8) throw new InvalidModelFileException($"'{file.Path}' has {file.Length} bytes, a safetensors file at least 8. It is truncated; download it again.");
        ulong header = file.UInt64(0);
        if (header > (ulong)(file.Length - 8) || header > MaxHeaderBytes)
            throw new InvalidModelFileException($"'{file.Path}' announces a header of {header} bytes, but has {file.Length} bytes in all (and headers at most {MaxHeaderBytes}). It is truncated or no safetensors file.");
        try
        {
            List<SafetensorsTensor> tensors = Parse(file, 8 + (long)header);
            tensors.Sort((a, b) => a.Offset != b.Offset ? a.Offset.CompareTo(b.Offset) : a.Bytes.CompareTo(b.Bytes));
            long end = 8 + (long)header;
            foreach (SafetensorsTensor t in tensors)
            {
                if (t.Offset != end) throw new InvalidModelFileException($"In '{file.Path}', the data of '{t.Name}' starts at byte {t.Offset}, expected {end}, where the tensor before it ends.");
                end += t.Bytes;
            }
            if (end != file.Length) throw new InvalidModelFileException($"'{file.Path}' has {file.Length} bytes, its tensors end at {end}. It is truncated or broken; download it again.");
            return tensors;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            throw new InvalidModelFileException($"The header of '{file.Path}' is broken: {e.Message}", e);
        }
    }

    private static List<SafetensorsTensor> Parse(MappedFile file, long data)
    {
        var tensors = new List<SafetensorsTensor>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        var reader = new Utf8JsonReader(file.Span(8, data - 8));
        Expect(ref reader, JsonTokenType.StartObject, file);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            if (!names.Add(name)) throw new InvalidModelFileException($"In '{file.Path}', the tensor '{Short(name)}' is there twice.");
            if (name == "__metadata__")
            {
                reader.Read();
                reader.Skip();
            }
            else tensors.Add(Tensor(ref reader, file, name, data));
        }
        while (reader.Read()) { } // only spaces may follow
        return tensors;
    }

    private static SafetensorsTensor Tensor(ref Utf8JsonReader reader, MappedFile file, string name, long data)
    {
        string? type = null;
        List<long>? shape = null, offsets = null;
        Expect(ref reader, JsonTokenType.StartObject, file);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("dtype"))
            {
                Expect(ref reader, JsonTokenType.String, file);
                type = reader.GetString();
            }
            else if (reader.ValueTextEquals("shape")) shape = Numbers(ref reader, file, name);
            else if (reader.ValueTextEquals("data_offsets")) offsets = Numbers(ref reader, file, name);
            else throw new InvalidModelFileException($"In '{file.Path}', the tensor '{Short(name)}' has a key '{Short(reader.GetString()!)}', expected dtype, shape and data_offsets.");
        }
        if (type is null || shape is null || offsets is not [long begin, long end])
            throw new InvalidModelFileException($"In '{file.Path}', the tensor '{Short(name)}' lacks one of dtype, shape and two data_offsets.");
        DType stored = DTypes.FromSafetensors(type)
            ?? throw new UnsupportedModelException($"In '{file.Path}', the tensor '{Short(name)}' is stored as '{Short(type)}', which is not known.");
        if (shape.Count > MaxDimensions) throw new InvalidModelFileException($"In '{file.Path}', the tensor '{Short(name)}' has {shape.Count} dimensions, expected at most {MaxDimensions}.");
        Int128 bytes = stored.Info().BlockBytes;
        foreach (long d in shape) bytes = bytes > long.MaxValue ? bytes : bytes * d;
        if (begin > end || end > file.Length - data || bytes != end - begin)
            throw new InvalidModelFileException($"In '{file.Path}', the tensor '{Short(name)}' {type} [{string.Join(", ", shape)}] has data from {begin} to {end}, expected {(bytes > long.MaxValue ? "more than any file's" : $"{bytes}")} bytes inside the {file.Length - data} that follow the header.");
        return new SafetensorsTensor(name, stored, [.. shape], file, data + begin, end - begin);
    }

    private static List<long> Numbers(ref Utf8JsonReader reader, MappedFile file, string name)
    {
        Expect(ref reader, JsonTokenType.StartArray, file);
        var numbers = new List<long>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out long n) || n < 0 || numbers.Count > MaxDimensions)
                throw new InvalidModelFileException($"In '{file.Path}', shape and data_offsets of the tensor '{Short(name)}' must be a few integers from 0.");
            numbers.Add(n);
        }
        return numbers;
    }

    private static void Expect(ref Utf8JsonReader reader, JsonTokenType type, MappedFile file)
    {
        if (!reader.Read() || reader.TokenType != type)
            throw new InvalidModelFileException($"The header of '{file.Path}' has {reader.TokenType} at byte {8 + reader.TokenStartIndex}, expected {type}. It is broken, or no safetensors file.");
    }

    private static string Short(string text) => text.Length > 120 ? text[..120] + "…" : text;
}
