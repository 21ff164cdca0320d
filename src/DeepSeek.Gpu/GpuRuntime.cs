using DeepSeek.Gpu.Kernels;

namespace DeepSeek.Gpu;

/// <summary>Memory of a device. Copies and kernels happen in the order in which they were asked for.</summary>
internal abstract class GpuBuffer<TMemory>(long bytes) : IDisposable where TMemory : struct, IMemory
{
    public long Bytes { get; } = bytes;

    /// <summary>What kernels get.</summary>
    public abstract TMemory Memory { get; }

    /// <summary>Copies bytes in. They are read before the call returns; it need not wait for kernels.</summary>
    public abstract void Upload(long at, ReadOnlySpan<byte> bytes);

    /// <summary>Waits for all that was asked for and copies bytes out.</summary>
    public abstract void Download(long at, Span<byte> bytes);

    /// <summary>Copies bytes from another buffer of the device, or from this one where the ranges do not overlap.</summary>
    public abstract void CopyFrom(GpuBuffer<TMemory> source, long from, long to, long count);

    public abstract void Dispose();
}

/// <summary>
/// A device that runs kernels: memory, launches, one order for all of them. Used by one thread (the engine's) at a time; waits in <see cref="GpuBuffer{TMemory}.Download"/> and
/// <see cref="Synchronise"/> only.
/// </summary>
internal abstract class GpuRuntime<TThread, TMemory> : IDisposable where TThread : struct, IThread where TMemory : struct, IMemory
{
    /// <summary>The device's name.</summary>
    public abstract string Name { get; }

    /// <summary>What it is and what was chosen on it, for people.</summary>
    public abstract string Description { get; }

    /// <summary>Items of a warp.</summary>
    public abstract int Lanes { get; }

    /// <summary>Items of a group that suit kernels over rows; a whole number of warps.</summary>
    public abstract int GroupItems { get; }

    /// <summary>Edge of the square groups of matrix products: Edge² items, a whole number of warps.</summary>
    public abstract int TileEdge { get; }

    /// <summary>Shared memory that a group may have, in words.</summary>
    public abstract int SharedWords { get; }

    /// <summary>Groups that keep the device busy.</summary>
    public abstract int BusyGroups { get; }

    /// <summary>Memory with anything in it, aligned to 256 bytes.</summary>
    public abstract GpuBuffer<TMemory> Allocate(long bytes);

    /// <summary>Runs a kernel behind all that was asked for before.</summary>
    /// <param name="kernel">The kernel with its arguments.</param>
    /// <param name="groups">Groups of the grid; at least 1.</param>
    /// <param name="items">Items of a group; a whole number of warps.</param>
    /// <param name="sharedWords">Shared memory of a group, in words of 32 bits.</param>
    public abstract void Launch<TKernel>(in TKernel kernel, int groups, int items, int sharedWords) where TKernel : struct, IKernel<TThread>;

    /// <summary>Waits for all that was asked for.</summary>
    public abstract void Synchronise();

    public abstract void Dispose();
}
