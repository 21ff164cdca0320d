using DeepSeek.Backends;
using DeepSeek.Gpu.Kernels;

namespace DeepSeek.Gpu;

/// <summary>The attention cache in device memory: a buffer a stream, block after block, row after row.</summary>
internal sealed class GpuCache<TThread, TMemory> : CacheStorage where TThread : struct, IThread where TMemory : struct, IMemory
{
    private readonly GpuBuffer<TMemory>[] buffers;

    public GpuCache(GpuRuntime<TThread, TMemory> runtime, IReadOnlyList<CacheStream> streams, CacheFormat format, int blockTokens, int blockCount) : base(streams, format, blockTokens, blockCount)
    {
        buffers = new GpuBuffer<TMemory>[streams.Count];
        try
        {
            for (int s = 0; s < buffers.Length; s++) buffers[s] = runtime.Allocate(Math.Max(16, StreamBlockBytes(s) * blockCount));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public TMemory Memory(int stream) => buffers[stream].Memory;

    public override void CopyBlock(int from, int to)
    {
        for (int s = 0; s < buffers.Length; s++)
            if (StreamBlockBytes(s) is > 0 and var bytes) buffers[s].CopyFrom(buffers[s], from * bytes, to * bytes, bytes);
    }

    public override void ReadBlock(int block, Span<byte> destination)
    {
        for (int s = 0; s < buffers.Length; s++)
        {
            int bytes = (int)StreamBlockBytes(s);
            if (bytes > 0) buffers[s].Download((long)block * bytes, destination[..bytes]);
            destination = destination[bytes..];
        }
    }

    public override void WriteBlock(int block, ReadOnlySpan<byte> source)
    {
        for (int s = 0; s < buffers.Length; s++)
        {
            int bytes = (int)StreamBlockBytes(s);
            if (bytes > 0) buffers[s].Upload((long)block * bytes, source[..bytes]);
            source = source[bytes..];
        }
    }

    public override void Dispose()
    {
        foreach (GpuBuffer<TMemory>? buffer in buffers) buffer?.Dispose();
        Array.Clear(buffers);
    }

    private long StreamBlockBytes(int stream) => RowBytes(Format, Streams[stream].Width) * BlockTokens;
}
