using System.Runtime.CompilerServices;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// Cache rows in native memory: an area for each stream, blocks one after the other in it, rows one after the other in a block. The system commits the memory as
/// rows are first written, so a large budget costs nothing until it is used.
/// </summary>
internal sealed unsafe class CpuCache : CacheStorage
{
    /// <summary>Bytes behind the last row that kernels may read (and never use).</summary>
    public const int SlackBytes = 256;

    private readonly nint[] areas;
    private readonly long[] rowBytes;
    private readonly int[] widths;

    public CpuCache(IReadOnlyList<CacheStream> streams, CacheFormat format, int blockTokens, int blockCount) : base(streams, format, blockTokens, blockCount)
    {
        areas = new nint[streams.Count];
        rowBytes = [.. streams.Select(s => RowBytes(format, s.Width))];
        widths = [.. streams.Select(s => s.Width)];
        try
        {
            for (int i = 0; i < areas.Length; i++) areas[i] = (nint)NativePages.Allocate((nuint)(rowBytes[i] * blockTokens * blockCount + SlackBytes), hugePages: false);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Bytes of a row of the stream.</summary>
    public long RowBytesOf(int stream) => rowBytes[stream];

    /// <summary>Numbers of a row of the stream.</summary>
    public int Width(int stream) => widths[stream];

    /// <summary>Bytes of numbers [0, count) of a row, without Q8's scales.</summary>
    public long Bytes(int count) => Format switch { CacheFormat.F32 => 4L * count, CacheFormat.Q8 => count, _ => 2L * count };

    /// <summary>Address of a row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte* Row(int stream, int block, int slot) => (byte*)areas[stream] + ((long)block * BlockTokens + slot) * rowBytes[stream];

    public override void CopyBlock(int from, int to)
    {
        for (int i = 0; i < areas.Length; i++)
        {
            long bytes = rowBytes[i] * BlockTokens;
            Buffer.MemoryCopy(Row(i, from, 0), Row(i, to, 0), bytes, bytes);
        }
    }

    public override void ReadBlock(int block, Span<byte> destination)
    {
        for (int i = 0; i < areas.Length; i++)
        {
            int bytes = checked((int)(rowBytes[i] * BlockTokens));
            new ReadOnlySpan<byte>(Row(i, block, 0), bytes).CopyTo(destination);
            destination = destination[bytes..];
        }
    }

    public override void WriteBlock(int block, ReadOnlySpan<byte> source)
    {
        for (int i = 0; i < areas.Length; i++)
        {
            int bytes = checked((int)(rowBytes[i] * BlockTokens));
            source[..bytes].CopyTo(new Span<byte>(Row(i, block, 0), bytes));
            source = source[bytes..];
        }
    }

    public override void Dispose()
    {
        foreach (ref nint area in areas.AsSpan())
        {
            NativePages.Free((void*)area);
            area = 0;
        }
    }
}
