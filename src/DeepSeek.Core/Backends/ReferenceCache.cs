using System.Buffers.Binary;
using System.Runtime.InteropServices;
using DeepSeek.Tensors;

namespace DeepSeek.Backends;

/// <summary>The reference backend's cache: for each stream one stretch of memory, block after block, row after row.</summary>
internal sealed unsafe class ReferenceCache : CacheStorage
{
    private const int QuantGroup = 32;
    private readonly byte*[] data;

    public ReferenceCache(IReadOnlyList<CacheStream> streams, CacheFormat format, int blockTokens, int blockCount) : base(streams, format, blockTokens, blockCount)
    {
        data = new byte*[streams.Count];
        for (int s = 0; s < data.Length; s++) data[s] = (byte*)NativeMemory.AllocZeroed((nuint)blockCount, (nuint)StreamBlockBytes(s));
    }

    /// <summary>Stores a row of numbers.</summary>
    public void Write(int stream, int block, int slot, ReadOnlySpan<float> row)
    {
        Span<byte> bytes = Row(stream, block, slot);
        switch (Format)
        {
            case CacheFormat.F32: MemoryMarshal.AsBytes(row).CopyTo(bytes); break;
            case CacheFormat.F16: for (int i = 0; i < row.Length; i++) BinaryPrimitives.WriteUInt16LittleEndian(bytes[(2 * i)..], SmallFloats.ToF16(row[i])); break;
            case CacheFormat.BF16: for (int i = 0; i < row.Length; i++) BinaryPrimitives.WriteUInt16LittleEndian(bytes[(2 * i)..], SmallFloats.ToBF16(row[i])); break;
            default: WriteQ8(bytes, row); break;
        }
    }

    /// <summary>Reads a row of numbers back.</summary>
    public void Read(int stream, int block, int slot, Span<float> row)
    {
        ReadOnlySpan<byte> bytes = Row(stream, block, slot);
        switch (Format)
        {
            case CacheFormat.F32: bytes.CopyTo(MemoryMarshal.AsBytes(row)); break;
            case CacheFormat.F16: for (int i = 0; i < row.Length; i++) row[i] = SmallFloats.FromF16(BinaryPrimitives.ReadUInt16LittleEndian(bytes[(2 * i)..])); break;
            case CacheFormat.BF16: for (int i = 0; i < row.Length; i++) row[i] = SmallFloats.FromBF16(BinaryPrimitives.ReadUInt16LittleEndian(bytes[(2 * i)..])); break;
            default:
                ReadOnlySpan<float> scales = Scales(bytes, row.Length);
                for (int i = 0; i < row.Length; i++) row[i] = (sbyte)bytes[i] * scales[i / QuantGroup];
                break;
        }
    }

    public override void CopyBlock(int from, int to)
    {
        for (int s = 0; s < data.Length; s++) StreamBlock(s, from).CopyTo(StreamBlock(s, to));
    }

    public override void ReadBlock(int block, Span<byte> destination)
    {
        for (int s = 0; s < data.Length; s++)
        {
            StreamBlock(s, block).CopyTo(destination);
            destination = destination[StreamBlock(s, block).Length..];
        }
    }

    public override void WriteBlock(int block, ReadOnlySpan<byte> source)
    {
        for (int s = 0; s < data.Length; s++)
        {
            Span<byte> target = StreamBlock(s, block);
            source[..target.Length].CopyTo(target);
            source = source[target.Length..];
        }
    }

    public override void Dispose()
    {
        for (int s = 0; s < data.Length; s++)
        {
            NativeMemory.Free(data[s]);
            data[s] = null;
        }
    }

    /// <summary>Scale of a group: its largest magnitude / 127.</summary>
    private static void WriteQ8(Span<byte> bytes, ReadOnlySpan<float> row)
    {
        Span<float> scales = Scales(bytes, row.Length);
        for (int first = 0; first < row.Length; first += QuantGroup)
        {
            ReadOnlySpan<float> group = row.Slice(first, Math.Min(QuantGroup, row.Length - first));
            float max = 0;
            foreach (float x in group) max = Math.Max(max, Math.Abs(x));
            scales[first / QuantGroup] = max / 127;
            for (int i = 0; i < group.Length; i++) bytes[first + i] = (byte)(sbyte)(max == 0 ? 0 : MathF.Round(group[i] * 127 / max));
        }
    }

    private static Span<float> Scales(Span<byte> row, int width) => MemoryMarshal.Cast<byte, float>(row[((width + 3) / 4 * 4)..]);

    private static ReadOnlySpan<float> Scales(ReadOnlySpan<byte> row, int width) => MemoryMarshal.Cast<byte, float>(row[((width + 3) / 4 * 4)..]);

    private long StreamBlockBytes(int stream) => RowBytes(Format, Streams[stream].Width) * BlockTokens;

    private Span<byte> StreamBlock(int stream, int block) => new(data[stream] + block * StreamBlockBytes(stream), (int)StreamBlockBytes(stream));

    private Span<byte> Row(int stream, int block, int slot)
    {
        int bytes = (int)RowBytes(Format, Streams[stream].Width);
        return StreamBlock(stream, block).Slice(slot * bytes, bytes);
    }
}
