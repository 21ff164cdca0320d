using System.Globalization;
using DeepSeek.Tensors;

namespace DeepSeek.Formats;

/// <summary>A tensor of a GGUF file.</summary>
/// <param name="Name">Its name in the file.</param>
/// <param name="Type">How its numbers are stored.</param>
/// <param name="Shape">Dimensions, outermost first: the reverse of the file's order.</param>
/// <param name="File">The file (of a split model) that holds it.</param>
/// <param name="Offset">Where its data starts in that file.</param>
/// <param name="Bytes">Bytes of its data, which lie inside the file.</param>
internal sealed record GgufTensor(string Name, DType Type, long[] Shape, MappedFile File, long Offset, long Bytes)
{
    /// <summary>Address of its data.</summary>
    public nint Data => File.Address(Offset, Bytes);
}

/// <summary>
/// A GGUF model, version 2 or 3, in one file or split into <c>-00001-of-0000N</c>: metadata and a list of tensors, checked against the file's length before anything
/// is believed. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Immutable; thread-safe; owns the mapped files.
/// </summary>
internal sealed class GgufFile : IDisposable
{
    /// <summary>"GGUF" as a little-endian number.</summary>
    public const uint Magic = 0x46554747;

    private const int MaxNameBytes = 65_535;
    private const int MaxDimensions = 4;
    private const int MaxAlignment = 1 << 20;
    private readonly List<MappedFile> files = [];
    private readonly Dictionary<string, GgufValue> metadata = new(StringComparer.Ordinal);
    private readonly Dictionary<string, GgufTensor> tensors = new(StringComparer.Ordinal);
    private readonly List<GgufTensor> ordered = [];

    private GgufFile(string path) => Path = path;

    /// <summary>The file; the first one of a split model.</summary>
    public string Path { get; private set; }

    /// <summary>2 or 3.</summary>
    public uint Version { get; private set; }

    /// <summary>Metadata by key, of the first file.</summary>
    public IReadOnlyDictionary<string, GgufValue> Metadata => metadata;

    /// <summary>Tensors of all files, in file order.</summary>
    public IReadOnlyList<GgufTensor> Tensors => ordered;

    /// <summary>Opens a model; any part of a split one finds the others.</summary>
    /// <exception cref="InvalidModelFileException">A file is missing, truncated, or contradicts itself.</exception>
    /// <exception cref="UnsupportedModelException">Another version, a big-endian file, or an unknown number format.</exception>
    public static GgufFile Open(string path, bool privateCopy = false)
    {
        var gguf = new GgufFile(path);
        try
        {
            (string stem, int count) = SplitName(path);
            if (count > 0) gguf.Path = PartPath(stem, 1, count);
            gguf.Add(MappedFile.Open(gguf.Path, privateCopy));
            long announced = gguf.Integer("split.count") ?? 1;
            if (announced <= 1) return gguf;
            if (announced != count)
                throw new InvalidModelFileException($"'{gguf.Path}' is part of a model split into {announced} files, but its name says {(count > 0 ? $"{count}" : "nothing of it")}. Restore the names NAME-00001-of-{announced:D5}.gguf, and so on.");
            for (int i = 2; i <= count; i++)
            {
                string next = PartPath(stem, i, count);
                if (!File.Exists(next)) throw new InvalidModelFileException($"Part {i} of {count} of the split model is missing: there is no file '{next}'. Download all parts into one folder.");
                gguf.Add(MappedFile.Open(next, privateCopy), i - 1);
            }
            if (gguf.Integer("split.tensors.count") is { } total && total != gguf.ordered.Count)
                throw new InvalidModelFileException($"The {count} files of '{gguf.Path}' hold {gguf.ordered.Count} tensors, the first one announces {total}. The parts may be of different models.");
            return gguf;
        }
        catch
        {
            gguf.Dispose();
            throw;
        }
    }

    /// <summary>A tensor; null where there is none of that name.</summary>
    public GgufTensor? Tensor(string name) => tensors.GetValueOrDefault(name);

    /// <summary>A string; null where absent.</summary>
    /// <exception cref="InvalidModelFileException">The value is of another kind.</exception>
    public string? Text(string key) => metadata.GetValueOrDefault(key)?.Text();

    /// <summary>An integer; null where absent.</summary>
    /// <exception cref="InvalidModelFileException">The value is of another kind.</exception>
    public long? Integer(string key) => metadata.GetValueOrDefault(key)?.Integer();

    /// <summary>A number; null where absent.</summary>
    /// <exception cref="InvalidModelFileException">The value is of another kind.</exception>
    public double? Number(string key) => metadata.GetValueOrDefault(key)?.Number();

    /// <summary>A boolean; null where absent.</summary>
    /// <exception cref="InvalidModelFileException">The value is of another kind.</exception>
    public bool? Bool(string key) => metadata.GetValueOrDefault(key)?.Bool();

    /// <summary>An array of strings, decoded on each call; null where absent.</summary>
    /// <exception cref="InvalidModelFileException">The value is of another kind.</exception>
    public string[]? Strings(string key) => metadata.GetValueOrDefault(key)?.Strings();

    /// <summary>An array of integers, decoded on each call; null where absent.</summary>
    /// <exception cref="InvalidModelFileException">The value is of another kind.</exception>
    public long[]? Integers(string key) => metadata.GetValueOrDefault(key)?.Integers();

    public void Dispose()
    {
        foreach (MappedFile file in files) file.Dispose();
    }

    /// <summary>What precedes <c>-00001-of-0000N.gguf</c>, and N; 0 for any other name.</summary>
    private static (string Stem, int Count) SplitName(string path)
    {
        const int Digits = 5;
        const string Example = "-00001-of-00000.gguf";
        if (path.Length < Example.Length) return (path, 0);
        ReadOnlySpan<char> tail = path.AsSpan(path.Length - Example.Length);
        return tail[0] == '-' && tail.Slice(1 + Digits, 4) is "-of-" && tail[^5..] is ".gguf"
            && int.TryParse(tail.Slice(1, Digits), NumberStyles.None, CultureInfo.InvariantCulture, out _) && int.TryParse(tail.Slice(Digits + 5, Digits), NumberStyles.None, CultureInfo.InvariantCulture, out int count)
            ? (path[..^Example.Length], count) : (path, 0);
    }

    private static string PartPath(string stem, int part, int count) => string.Create(CultureInfo.InvariantCulture, $"{stem}-{part:D5}-of-{count:D5}.gguf");

    /// <summary>Parses one file. Part 0 gives the model's metadata; the others only say which part they are.</summary>
    private void Add(MappedFile file, int part = 0)
    {
        files.Add(file);
        var reader = new Reader(file);
        uint version = ReadMagicAndVersion(ref reader);
        ulong tensorCount = reader.Count("tensors", 8 + 4 + 8 + 4 + 8), keyCount = reader.Count("metadata keys", 8 + 4 + 1);
        Dictionary<string, GgufValue> keys = part == 0 ? metadata : new(StringComparer.Ordinal);
        for (ulong i = 0; i < keyCount; i++) ReadKey(ref reader, keys);
        if (part == 0) Version = version;
        else if (keys.GetValueOrDefault("split.no")?.Integer() is var no && no != part)
            throw new InvalidModelFileException($"'{file.Path}' says it is part {no?.ToString(CultureInfo.InvariantCulture) ?? "(none)"} (counted from 0), its name says {part}.");
        ReadTensors(ref reader, (int)tensorCount, Alignment(file, keys));
    }

    private static uint ReadMagicAndVersion(ref Reader reader)
    {
        MappedFile file = reader.File;
        uint magic = reader.UInt32();
        if (magic != Magic) throw new InvalidModelFileException($"'{file.Path}' starts with 0x{magic:X8}, a GGUF file with 0x{Magic:X8} (\"GGUF\").");
        uint version = reader.UInt32();
        if (version is 2 or 3) return version;
        if (version is 0x02000000 or 0x03000000)
            throw new UnsupportedModelException($"'{file.Path}' is a big-endian GGUF file; only little-endian ones are read. Convert it again, or download the little-endian one.");
        throw new UnsupportedModelException($"'{file.Path}' is GGUF version {version}; versions 2 and 3 are read. Convert the model again with a current converter.");
    }

    private static void ReadKey(ref Reader reader, Dictionary<string, GgufValue> keys)
    {
        MappedFile file = reader.File;
        string key = reader.Name("a metadata key");
        GgufValueType type = Type(reader.UInt32());
        GgufValue value;
        if (type == GgufValueType.Array)
        {
            GgufValueType element = Type(reader.UInt32());
            if (element == GgufValueType.Array) throw new UnsupportedModelException($"In '{file.Path}', the metadata key '{key}' holds an array of arrays, which no known model uses.");
            int width = GgufValue.Width(element);
            ulong count = reader.Count($"elements in '{key}'", width == 0 ? 8u : (uint)width);
            value = new GgufValue(key, element, file, reader.Position, (long)count);
            if (width > 0) reader.Skip(count * (ulong)width);
            else for (ulong i = 0; i < count; i++) reader.SkipString();
        }
        else
        {
            value = new GgufValue(key, type, file, reader.Position);
            if (type == GgufValueType.String) reader.SkipString();
            else reader.Skip((ulong)GgufValue.Width(type));
        }
        if (!keys.TryAdd(key, value)) throw new InvalidModelFileException($"In '{file.Path}', the metadata key '{key}' is there twice.");

        GgufValueType Type(uint number) => number <= (uint)GgufValueType.Float64 ? (GgufValueType)number
            : throw new InvalidModelFileException($"In '{file.Path}', the metadata key '{key}' has a value of kind {number}; the kinds are 0 to 12.");
    }

    private static int Alignment(MappedFile file, Dictionary<string, GgufValue> keys)
    {
        long alignment = keys.GetValueOrDefault("general.alignment")?.Integer() ?? 32;
        return alignment is >= 1 and <= MaxAlignment && long.IsPow2(alignment) ? (int)alignment
            : throw new InvalidModelFileException($"In '{file.Path}', general.alignment is {alignment}, expected a power of two up to {MaxAlignment}.");
    }

    private void ReadTensors(ref Reader reader, int count, int alignment)
    {
        MappedFile file = reader.File;
        int first = ordered.Count;
        for (int i = 0; i < count; i++)
        {
            GgufTensor tensor = ReadTensor(ref reader, alignment);
            if (!tensors.TryAdd(tensor.Name, tensor)) throw new InvalidModelFileException($"In '{file.Path}', the tensor '{tensor.Name}' is there twice.");
            ordered.Add(tensor);
        }
        long data = (reader.Position + alignment - 1) / alignment * alignment, end = data;
        for (int i = first; i < ordered.Count; i++)
        {
            GgufTensor t = ordered[i];
            if (data > file.Length || t.Offset > file.Length - data || t.Bytes > file.Length - data - t.Offset)
                throw new InvalidModelFileException($"In '{file.Path}', the tensor '{t.Name}' needs {t.Bytes} bytes at {(decimal)data + t.Offset}, the file ends at {file.Length}. It is truncated or broken; download it again.");
            tensors[t.Name] = ordered[i] = t with { Offset = data + t.Offset };
        }
        foreach (GgufTensor t in ordered.Skip(first).OrderBy(t => t.Offset))
        {
            if (t.Offset < end) throw new InvalidModelFileException($"In '{file.Path}', the data of the tensor '{t.Name}' at {t.Offset} overlaps that of another one, which ends at {end}.");
            end = t.Offset + t.Bytes;
        }
    }

    /// <summary>A tensor whose offset is still relative to the start of the data.</summary>
    private static GgufTensor ReadTensor(ref Reader reader, int alignment)
    {
        MappedFile file = reader.File;
        string name = reader.Name("a tensor's name");
        uint dimensions = reader.UInt32();
        if (dimensions is 0 or > MaxDimensions) throw new InvalidModelFileException($"In '{file.Path}', the tensor '{name}' has {dimensions} dimensions, expected 1 to {MaxDimensions}.");
        var shape = new long[dimensions];
        ulong elements = 1;
        for (int d = shape.Length - 1; d >= 0; d--)
        {
            ulong size = reader.UInt64();
            if (size == 0 || size > long.MaxValue / 16 / elements)
                throw new InvalidModelFileException($"In '{file.Path}', dimension {shape.Length - 1 - d} of the tensor '{name}' is {size}, which cannot be.");
            elements *= size;
            shape[d] = (long)size;
        }
        uint number = reader.UInt32();
        DType type = DTypes.FromGguf(number)
            ?? throw new UnsupportedModelException($"In '{file.Path}', the tensor '{name}' is stored in the number format {number}, which is not known. Choose a file in another quantisation, such as Q4_K_M or Q8_0.");
        DTypeInfo info = type.Info();
        if (shape[^1] % info.BlockElements != 0)
            throw new InvalidModelFileException($"In '{file.Path}', the tensor '{name}' has rows of {shape[^1]} elements, which {info.Name} stores in blocks of {info.BlockElements}.");
        ulong offset = reader.UInt64();
        if (offset % (ulong)alignment != 0 || offset > long.MaxValue / 2)
            throw new InvalidModelFileException($"In '{file.Path}', the data of the tensor '{name}' starts at {offset}, expected a multiple of {alignment} inside the file.");
        return new GgufTensor(name, type, shape, file, (long)offset, (long)(elements / (ulong)info.BlockElements * (ulong)info.BlockBytes));
    }

    /// <summary>Reads the header forward; every step is checked against the file's end.</summary>
    private ref struct Reader(MappedFile file)
    {
        public MappedFile File { get; } = file;

        public long Position { get; private set; }

        public uint UInt32()
        {
            uint value = File.UInt32(Position);
            Position += 4;
            return value;
        }

        public ulong UInt64()
        {
            ulong value = File.UInt64(Position);
            Position += 8;
            return value;
        }

        /// <summary>A count of things that each need at least <paramref name="leastBytes"/> bytes of what is left of the file.</summary>
        public ulong Count(string what, uint leastBytes)
        {
            ulong count = UInt64();
            if (count > (ulong)(File.Length - Position) / leastBytes || count > int.MaxValue)
                throw new InvalidModelFileException($"'{File.Path}' announces {count} {what}, but only {File.Length - Position} bytes follow. The file is truncated or broken; download it again.");
            return count;
        }

        public void Skip(ulong bytes)
        {
            File.Address(Position, bytes > long.MaxValue ? -1 : (long)bytes);
            Position += (long)bytes;
        }

        public void SkipString() => Skip(UInt64());

        public string Name(string what)
        {
            ulong bytes = UInt64();
            if (bytes is 0 or > MaxNameBytes) throw new InvalidModelFileException($"In '{File.Path}', {what} at byte {Position} has {bytes} bytes, expected 1 to {MaxNameBytes}.");
            string name = GgufValue.Decode(File.Span(Position, (long)bytes), File, what);
            Position += (long)bytes;
            return name;
        }
    }
}
