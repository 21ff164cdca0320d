using DeepSeek.Gpu.Kernels;
using ILGPU;
using ILGPU.Runtime;

namespace DeepSeek.Gpu.Ilgpu;

/// <summary>A buffer in a kernel: views of other element sizes cost nothing, the compiler sees one address.</summary>
internal readonly struct IlgpuMemory(ArrayView<byte> view) : IMemory
{
    private readonly ArrayView<byte> view = view;

    public float Float(long i) => view.Cast<float>()[i];

    public void SetFloat(long i, float value) => view.Cast<float>()[i] = value;

    public uint Word(long i) => view.Cast<uint>()[i];

    public void SetWord(long i, uint value) => view.Cast<uint>()[i] = value;

    /// <summary>One load of 16 bytes: buffers begin at multiples of 256.</summary>
    public Quad Quad(long i) => view.AsAligned(16).Cast<Quad>()[i];

    public uint Half(long i) => view.Cast<ushort>()[i];

    public void SetHalf(long i, uint value) => view.Cast<ushort>()[i] = (ushort)(value & 0xFFFF);

    public uint Byte(long i) => view[i];

    /// <summary>Masked: ILGPU 1.5.3 makes one conversion of float32 → int → byte, which takes negative numbers for 0.</summary>
    public void SetByte(long i, uint value) => view[i] = (byte)(value & 0xFF);
}
