using System.Buffers.Binary;
using System.Text;
using DeepSeek.Tensors;

namespace DeepSeek.Formats;

/// <summary>
/// Writes a GGUF v3 file as a stream: first all metadata and the list of tensors, then <see cref="WriteHeader"/>, then each tensor's data in that order, in pieces. Not
/// thread-safe. The stream belongs to the caller.
/// </summary>
internal sealed class GgufWriter(Stream stream)
{
    private const int Alignment = 32;
    private readonly List<(string Name, DType Type, long[] Shape, long Bytes)> tensors = [];
    private readonly HashSet<string> keys = new(StringComparer.Ordinal), names = new(StringComparer.Ordinal);
    private readonly MemoryStream metadata = new();
    private int current;
    private long written;

    /// <summary>Bytes of all tensors' data, without the gaps between them.</summary>
    public long DataBytes => tensors.Sum(t => t.Bytes);

    public void Add(string key, string value)
    {
        Key(key, GgufValueType.String);
        String(value);
    }

    public void Add(string key, bool value)
    {
        Key(key, GgufValueType.Bool);
        metadata.WriteByte(value ? (byte)1 : (byte)0);
    }

    /// <summary>A count or an id, as the 32 bits that readers expect.</summary>
    public void Add(string key, long value)
    {
        Key(key, GgufValueType.UInt32);
        UInt32(checked((uint)value));
    }

    public void Add(string key, float value)
    {
        Key(key, GgufValueType.Float32);
        UInt32(BitConverter.SingleToUInt32Bits(value));
    }

    public void Add(string key, IReadOnlyCollection<string> values)
    {
        Array(key, GgufValueType.String, values.Count);
        foreach (string value in values) String(value);
    }

    public void Add(string key, IReadOnlyCollection<int> values)
    {
        Array(key, GgufValueType.Int32, values.Count);
        foreach (int value in values) UInt32((uint)value);
    }

    /// <summary>A value as it is in another file.</summary>
    public void Add(GgufValue value)
    {
        if (value.IsArray) Array(value.Key, value.Type, value.Count);
        else Key(value.Key, value.Type);
        metadata.Write(value.Raw());
    }

    /// <summary>Announces a tensor. <paramref name="shape"/> is outermost first.</summary>
    public void AddTensor(string name, DType type, long[] shape)
    {
        if (!names.Add(name)) throw new InvalidModelFileException($"The tensor '{name}' would be written twice: two tensors of the source have this name in GGUF.");
        long rows = 1;
        for (int d = 0; d < shape.Length - 1; d++) rows *= shape[d];
        tensors.Add((name, type, shape, rows * type.RowBytes(shape[^1])));
    }

    /// <summary>Writes all that precedes the data.</summary>
    public void WriteHeader()
    {
        var header = new MemoryStream();
        using (var w = new BinaryWriter(header, Encoding.UTF8, leaveOpen: true)) // little-endian on every machine
        {
            w.Write(GgufFile.Magic);
            w.Write(3u);
            w.Write((ulong)tensors.Count);
            w.Write((ulong)keys.Count);
            w.Flush();
            metadata.WriteTo(header);
            long offset = 0;
            foreach ((string name, DType type, long[] shape, long bytes) in tensors)
            {
                byte[] utf8 = Encoding.UTF8.GetBytes(name);
                w.Write((ulong)utf8.Length);
                w.Write(utf8);
                w.Write((uint)shape.Length);
                for (int d = shape.Length - 1; d >= 0; d--) w.Write((ulong)shape[d]);
                w.Write((uint)type.Info().GgufId);
                w.Write((ulong)offset);
                offset += Padded(bytes);
            }
            w.Write(new byte[Padded(header.Position) - header.Position]);
        }
        header.WriteTo(stream);
    }

    /// <summary>Writes the next piece of the current tensor's data; behind its last byte the next tensor becomes the current one.</summary>
    public void WriteData(ReadOnlySpan<byte> piece)
    {
        long bytes = tensors[current].Bytes;
        if (piece.Length > bytes - written) throw new ArgumentException($"'{tensors[current].Name}' has {bytes} bytes, of which {written} are written; {piece.Length} more are too many.", nameof(piece));
        stream.Write(piece);
        written += piece.Length;
        if (written < bytes) return;
        stream.Write(new byte[Padded(bytes) - bytes]);
        (current, written) = (current + 1, 0);
    }

    private static long Padded(long bytes) => (bytes + Alignment - 1) / Alignment * Alignment;

    private void Key(string key, GgufValueType type)
    {
        if (!keys.Add(key)) throw new ArgumentException($"The key '{key}' is there already.", nameof(key));
        String(key);
        UInt32((uint)type);
    }

    private void Array(string key, GgufValueType type, long count)
    {
        Key(key, GgufValueType.Array);
        UInt32((uint)type);
        UInt64((ulong)count);
    }

    private void String(string value)
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(value);
        UInt64((ulong)utf8.Length);
        metadata.Write(utf8);
    }

    private void UInt32(uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        metadata.Write(bytes);
    }

    private void UInt64(ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        metadata.Write(bytes);
    }
}
