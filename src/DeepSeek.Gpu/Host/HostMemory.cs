using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using DeepSeek.Gpu.Kernels;

namespace DeepSeek.Gpu.Host;

/// <summary>The process's own memory as a device's. Every access is checked: a kernel that leaves its buffer fails where a device would corrupt another's.</summary>
internal readonly unsafe struct HostMemory(byte* start, long bytes) : IMemory
{
    private readonly byte* start = start;
    private readonly ulong bytes = (ulong)bytes;

    public float Float(long i) => *(float*)At(i, 4);

    public void SetFloat(long i, float value) => *(float*)At(i, 4) = value;

    public uint Word(long i) => *(uint*)At(i, 4);

    public void SetWord(long i, uint value) => *(uint*)At(i, 4) = value;

    public Quad Quad(long i) => *(Quad*)At(i, 16);

    public uint Half(long i) => *(ushort*)At(i, 2);

    public void SetHalf(long i, uint value) => *(ushort*)At(i, 2) = (ushort)value;

    public uint Byte(long i) => *At(i, 1);

    public void SetByte(long i, uint value) => *At(i, 1) = (byte)value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* At(long i, int size)
    {
        ulong at = (ulong)i * (uint)size;
        if (at + (uint)size > bytes || (ulong)i > bytes) Outside(i, size, bytes);
        return start + at;
    }

    private static void Outside(long i, int size, ulong bytes) => throw new InvalidOperationException($"A kernel asked for element {i} of {size} bytes in a buffer of {bytes} bytes.");
}

/// <summary>A piece of the process's memory.</summary>
internal sealed unsafe class HostBuffer : GpuBuffer<HostMemory>
{
    private byte* start;

    public HostBuffer(long bytes) : base(bytes)
    {
        start = (byte*)NativeMemory.AlignedAlloc((nuint)bytes, 256);
        for (long at = 0; at < bytes; at += 1 << 30) NativeMemory.Fill(start + at, (nuint)Math.Min(1 << 30, bytes - at), 0xFF); // NaN: what is read before it was written shows
    }

    public override HostMemory Memory => new(start, Bytes);

    public override void Upload(long at, ReadOnlySpan<byte> bytes)
    {
        Check(at, bytes.Length);
        bytes.CopyTo(new Span<byte>(start + at, bytes.Length));
    }

    public override void Download(long at, Span<byte> bytes)
    {
        Check(at, bytes.Length);
        new ReadOnlySpan<byte>(start + at, bytes.Length).CopyTo(bytes);
    }

    public override void CopyFrom(GpuBuffer<HostMemory> source, long from, long to, long count)
    {
        var other = (HostBuffer)source;
        other.Check(from, count);
        Check(to, count);
        Buffer.MemoryCopy(other.start + from, start + to, count, count);
    }

    public override void Dispose()
    {
        NativeMemory.AlignedFree(start);
        start = null;
    }

    private void Check(long at, long count)
    {
        if (at < 0 || count < 0 || at > Bytes - count) throw new InvalidOperationException($"A copy of {count} bytes at {at} leaves a buffer of {Bytes} bytes.");
    }
}
