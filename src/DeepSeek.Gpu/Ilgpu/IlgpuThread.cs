using DeepSeek.Gpu.Kernels;
using ILGPU;

namespace DeepSeek.Gpu.Ilgpu;

/// <summary>An item that a kernel's entry point makes. Shared memory is taken once, there: on ILGPU's CPU accelerator taking it is something that all items do together.</summary>
internal interface IIlgpuThread<TSelf> : IThread where TSelf : struct, IIlgpuThread<TSelf>
{
    static abstract TSelf Create();
}

/// <summary>How many items a warp has, as a type, so that it is a constant in a kernel's code. A power of two, at least 2.</summary>
internal interface IWarpWidth
{
    int Lanes { get; }
}

/// <summary>NVIDIA's warps.</summary>
internal readonly struct Warps32 : IWarpWidth
{
    public int Lanes => 32;
}

/// <summary>An item of a device whose warps exchange values by shuffles of their own.</summary>
internal readonly struct WarpThread<TWidth>(ArrayView<uint> shared) : IIlgpuThread<WarpThread<TWidth>> where TWidth : struct, IWarpWidth
{
    private readonly ArrayView<uint> shared = shared;

    /// <summary>As much shared memory as the launch asks for.</summary>
    public static WarpThread<TWidth> Create() => new(SharedMemory.GetDynamic<uint>());

    public int Group => Grid.IdxX;

    public int Item => ILGPU.Group.IdxX;

    public int Items => ILGPU.Group.DimX;

    public int Lane => ILGPU.Group.IdxX & (Lanes - 1);

    public int Lanes => default(TWidth).Lanes;

    public void Barrier() => ILGPU.Group.Barrier();

    public float SumLanes(float value)
    {
        if (Lanes > 16) value += Warp.ShuffleXor(value, 16);
        if (Lanes > 8) value += Warp.ShuffleXor(value, 8);
        if (Lanes > 4) value += Warp.ShuffleXor(value, 4);
        if (Lanes > 2) value += Warp.ShuffleXor(value, 2);
        return value + Warp.ShuffleXor(value, 1);
    }

    public float MaxLanes(float value)
    {
        if (Lanes > 16) value = IntrinsicMath.Max(value, Warp.ShuffleXor(value, 16));
        if (Lanes > 8) value = IntrinsicMath.Max(value, Warp.ShuffleXor(value, 8));
        if (Lanes > 4) value = IntrinsicMath.Max(value, Warp.ShuffleXor(value, 4));
        if (Lanes > 2) value = IntrinsicMath.Max(value, Warp.ShuffleXor(value, 2));
        return IntrinsicMath.Max(value, Warp.ShuffleXor(value, 1));
    }

    public float Shared(int i) => shared.Cast<float>()[i];

    public void SetShared(int i, float value) => shared.Cast<float>()[i] = value;

    public uint SharedWord(int i) => shared[i];

    public void SetSharedWord(int i, uint value) => shared[i] = value;

    public int Dot4(uint a, uint b, int c) => Instructions.Dot4(a, b, c);

    public uint Permute(uint a, uint b, uint selector) => Instructions.Permute(a, b, selector);

    public float Fma(float a, float b, float c) => Instructions.Fma(a, b, c);

    public float Sqrt(float x) => MathF.Sqrt(x);

    public float AsFloat(uint bits) => BitConverter.Int32BitsToSingle((int)bits);

    public uint AsWord(float x) => (uint)BitConverter.SingleToInt32Bits(x);
}

/// <summary>An item of any other device: a warp of one, so that nothing is exchanged but through shared memory.</summary>
internal readonly struct LoneThread(ArrayView<uint> shared) : IIlgpuThread<LoneThread>
{
    private readonly ArrayView<uint> shared = shared;

    /// <summary>As much shared memory as a group may ask for: memory of a size that the launch decides is a variable of the whole program in ILGPU's OpenCL, which not every driver takes.</summary>
    public static LoneThread Create() => new(SharedMemory.Allocate<uint>(IlgpuRuntime.LoneSharedWords));

    public int Group => Grid.IdxX;

    public int Item => ILGPU.Group.IdxX;

    public int Items => ILGPU.Group.DimX;

    public int Lane => 0;

    public int Lanes => 1;

    public void Barrier() => Instructions.Barrier();

    public float SumLanes(float value) => value;

    public float MaxLanes(float value) => value;

    public float Shared(int i) => shared.Cast<float>()[i];

    public void SetShared(int i, float value) => shared.Cast<float>()[i] = value;

    public uint SharedWord(int i) => shared[i];

    public void SetSharedWord(int i, uint value) => shared[i] = value;

    public int Dot4(uint a, uint b, int c) => Instructions.Dot4(a, b, c);

    public uint Permute(uint a, uint b, uint selector) => Instructions.Permute(a, b, selector);

    public float Fma(float a, float b, float c) => Instructions.Fma(a, b, c);

    public float Sqrt(float x) => MathF.Sqrt(x);

    public float AsFloat(uint bits) => BitConverter.Int32BitsToSingle((int)bits);

    public uint AsWord(float x) => (uint)BitConverter.SingleToInt32Bits(x);
}
