namespace DeepSeek.Backends;

/// <summary>A cache in two places. Each part knows all streams, with no width where the other one has them, so that a stream's number is the same in both.</summary>
internal sealed class SplitCache : CacheStorage
{
    private readonly CacheStorage host, device;
    private readonly bool[] onDevice;
    private readonly byte[] hostBlock, deviceBlock;

    public SplitCache(Backend host, Backend device, Func<CacheStream, bool> isOnDevice, IReadOnlyList<CacheStream> streams, CacheFormat format, int blockTokens, int blockCount)
        : base(streams, format, blockTokens, blockCount)
    {
        onDevice = [.. streams.Select(isOnDevice)];
        this.host = host.CreateCache(Part(false), format, blockTokens, blockCount);
        try { this.device = device.CreateCache(Part(true), format, blockTokens, blockCount); }
        catch
        {
            this.host.Dispose();
            throw;
        }
        (hostBlock, deviceBlock) = (new byte[this.host.BlockBytes], new byte[this.device.BlockBytes]);
        CacheStream[] Part(bool side) => [.. streams.Select((s, i) => onDevice[i] == side ? s : s with { Width = 0 })];
    }

    /// <summary>Whether a stream's rows are on the device.</summary>
    public bool IsOnDevice(int stream) => onDevice[stream];

    /// <summary>The part on that side.</summary>
    public CacheStorage Part(bool isDevice) => isDevice ? device : host;

    public override void CopyBlock(int from, int to)
    {
        host.CopyBlock(from, to);
        device.CopyBlock(from, to);
    }

    public override void ReadBlock(int block, Span<byte> destination)
    {
        host.ReadBlock(block, hostBlock);
        device.ReadBlock(block, deviceBlock);
        for (int s = 0, at = 0, hostAt = 0, deviceAt = 0; s < onDevice.Length; s++)
        {
            int bytes = StreamBytes(s);
            ref int from = ref onDevice[s] ? ref deviceAt : ref hostAt;
            (onDevice[s] ? deviceBlock : hostBlock).AsSpan(from, bytes).CopyTo(destination[at..]);
            (at, from) = (at + bytes, from + bytes);
        }
    }

    public override void WriteBlock(int block, ReadOnlySpan<byte> source)
    {
        for (int s = 0, at = 0, hostAt = 0, deviceAt = 0; s < onDevice.Length; s++)
        {
            int bytes = StreamBytes(s);
            ref int to = ref onDevice[s] ? ref deviceAt : ref hostAt;
            source.Slice(at, bytes).CopyTo((onDevice[s] ? deviceBlock : hostBlock).AsSpan(to));
            (at, to) = (at + bytes, to + bytes);
        }
        host.WriteBlock(block, hostBlock);
        device.WriteBlock(block, deviceBlock);
    }

    public override void Dispose()
    {
        host.Dispose();
        device.Dispose();
    }

    private int StreamBytes(int stream) => checked((int)(RowBytes(Format, Streams[stream].Width) * BlockTokens));
}
