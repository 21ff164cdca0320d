using DeepSeek.Gpu.Kernels;
using DeepSeek.Tensors;

namespace DeepSeek.Gpu;

/// <summary>
/// The activations: one buffer that is used as a stack. A tensor's address is its byte in it, so that the buffer can be replaced by a larger one; it grows while the largest step so far
/// is run for the first time, and never after.
/// </summary>
internal sealed class ScratchMemory<TThread, TMemory>(GpuRuntime<TThread, TMemory> runtime) : IDisposable where TThread : struct, IThread where TMemory : struct, IMemory
{
    private const long FirstBytes = 1 << 20;
    private const int Alignment = 256;
    private GpuBuffer<TMemory> buffer = runtime.Allocate(FirstBytes);

    public GpuBuffer<TMemory> Buffer => buffer;

    public TMemory Memory => buffer.Memory;

    /// <summary>The present height in bytes.</summary>
    public long Height { get; private set; }

    public Tensor Rent(int rows, int columns)
    {
        long start = Height, end = start + ((long)rows * columns * sizeof(float) + Alignment - 1) / Alignment * Alignment;
        if (end > buffer.Bytes) Grow(end);
        Height = end;
        return new Tensor((nint)start, rows, columns, columns);
    }

    public void Release(long mark) => Height = mark;

    public void Dispose() => buffer.Dispose();

    private void Grow(long bytes)
    {
        GpuBuffer<TMemory> larger = runtime.Allocate(Math.Max(bytes, 2 * buffer.Bytes));
        if (Height > 0) larger.CopyFrom(buffer, 0, 0, Height);
        runtime.Synchronise();
        buffer.Dispose();
        buffer = larger;
    }
}
