using DeepSeek.Gpu.Host;
using DeepSeek.Gpu.Kernels;

namespace DeepSeek.Gpu.Tests;

/// <summary>The host's runtime, counting what costs time on a device: launches, copies to it, and every wait for it.</summary>
internal sealed class CountingRuntime : GpuRuntime<HostThread, HostMemory>
{
    private readonly HostRuntime host = new();

    public int Launches { get; private set; }

    public int Uploads { get; private set; }

    /// <summary>Times that somebody waited: copies from the device, and <see cref="Synchronise"/>.</summary>
    public int Waits { get; private set; }

    /// <summary>Bytes copied from the device.</summary>
    public long BytesRead { get; private set; }

    public int Allocations { get; private set; }

    public override string Name => host.Name;

    public override string Description => host.Description;

    public override int Lanes => host.Lanes;

    public override int GroupItems => host.GroupItems;

    public override int TileEdge => host.TileEdge;

    public override int SharedWords => host.SharedWords;

    public override int BusyGroups => host.BusyGroups;

    public override GpuBuffer<HostMemory> Allocate(long bytes)
    {
        Allocations++;
        return new CountingBuffer(this, host.Allocate(bytes));
    }

    public override void Launch<TKernel>(in TKernel kernel, int groups, int items, int sharedWords)
    {
        Launches++;
        host.Launch(kernel, groups, items, sharedWords);
    }

    public override void Synchronise() => Waits++;

    public override void Dispose() => host.Dispose();

    private sealed class CountingBuffer(CountingRuntime runtime, GpuBuffer<HostMemory> buffer) : GpuBuffer<HostMemory>(buffer.Bytes)
    {
        public override HostMemory Memory => buffer.Memory;

        public override void Upload(long at, ReadOnlySpan<byte> bytes)
        {
            runtime.Uploads++;
            buffer.Upload(at, bytes);
        }

        public override void Download(long at, Span<byte> bytes)
        {
            runtime.Waits++;
            runtime.BytesRead += bytes.Length;
            buffer.Download(at, bytes);
        }

        public override void CopyFrom(GpuBuffer<HostMemory> source, long from, long to, long count) => buffer.CopyFrom(source is CountingBuffer counting ? counting.Inner : source, from, to, count);

        public override void Dispose() => buffer.Dispose();

        private GpuBuffer<HostMemory> Inner => buffer;
    }
}
