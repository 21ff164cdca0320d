using System.Runtime.CompilerServices;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// Cache rows in native memory: block after block, in a block stream after stream, row after row. The system commits the memory as blocks are first written, so a large
/// budget costs nothing until it is used; a block holds all streams, so the pages committed are full ones, huge pages too.
/// </summary>
internal sealed unsafe class CpuCache : CacheStorage
{
    /// <summary>Bytes behind the last row that kernels may read (and never use).</summary>
    public const int SlackBytes = 256;

    private readonly long[] offsets, rowBytes;
    private readonly int[] widths;
    private byte* memory;

    public CpuCache(IReadOnlyList<CacheStream> streams, CacheFormat format, int blockTokens, int blockCount, Capabilities capabilities) : base(streams, format, blockTokens, blockCount)
    {
        Capabilities = capabilities;
        widths = [.. streams.Select(s => s.Width)];
        rowBytes = [.. streams.Select(s => RowBytes(format, s.Width))];
        offsets = new long[streams.Count];
        for (int i = 1; i < offsets.Length; i++) offsets[i] = offsets[i - 1] + rowBytes[i - 1] * blockTokens;
        long bytes = BlockBytes * blockCount + SlackBytes;
        try
        {
            memory = (byte*)NativePages.Allocate((nuint)bytes);
        }
        catch (OutOfMemoryException e)
        {
            throw new ModelMemoryException($"The attention cache needs {bytes} bytes, which the system refuses. Set a smaller CacheBytes, a shorter context or a smaller CacheType.", e);
        }
    }

    /// <summary>What may be asked to read its rows.</summary>
    public Capabilities Capabilities { get; }

    /// <summary>Bytes of a row of the stream.</summary>
    public long RowBytesOf(int stream) => rowBytes[stream];

    /// <summary>Numbers of a row of the stream.</summary>
    public int Width(int stream) => widths[stream];

    /// <summary>Bytes of numbers [0, count) of a row, without Q8's scales.</summary>
    public long Bytes(int count) => Format switch { CacheFormat.F32 => 4L * count, CacheFormat.Q8 => count, _ => 2L * count };

    /// <summary>Address of a row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte* Row(int stream, int block, int slot) => memory + block * BlockBytes + offsets[stream] + slot * rowBytes[stream];

    public override void CopyBlock(int from, int to) => Buffer.MemoryCopy(memory + from * BlockBytes, memory + to * BlockBytes, BlockBytes, BlockBytes);

    public override void ReadBlock(int block, Span<byte> destination) => new ReadOnlySpan<byte>(memory + block * BlockBytes, checked((int)BlockBytes)).CopyTo(destination);

    public override void WriteBlock(int block, ReadOnlySpan<byte> source)
        => source[..checked((int)BlockBytes)].CopyTo(new Span<byte>(memory + block * BlockBytes, checked((int)BlockBytes)));

    public override void Dispose()
    {
        NativePages.Free(memory);
        memory = null;
    }
}
