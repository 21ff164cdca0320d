using System.Runtime.InteropServices;
using DeepSeek.Backends.Cpu.Assembly;
using DeepSeek.Backends.Cpu.Dot;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>A weight on the CPU: the mapped bytes as they are, and how to compute with them. Only vectors (gains, biases) are copied, as float32.</summary>
internal sealed unsafe class CpuWeight : DeviceWeight, IDisposable
{
    private readonly Capabilities capabilities;
    private float* values;

    public CpuWeight(Weight source, WeightRole role, Kernels? kernels = null) : base(source, role)
    {
        // A router's scores decide between experts: they are computed from float32 activations.
        if (role != WeightRole.Router) Blocks = BlockFormat.Of(source.Type);
        if (Blocks is not null) Kernel = kernels?.Stored(source);
        capabilities = kernels?.Capabilities ?? Capabilities.None;
        if (role != WeightRole.Vector) return;
        values = (float*)NativeMemory.AlignedAlloc((nuint)PreparedBytes, 64);
        for (int r = 0; r < Rows; r++) FloatRows.Read(source, r, values + (long)r * Columns);
    }

    /// <summary>The whole-number form of a block format; null where products are computed in floating point.</summary>
    public BlockFormat? Blocks { get; }

    /// <summary>Whether products are float32 throughout: routers, whose scores decide between experts, and weights that bfloat16 would round.</summary>
    public bool IsPlainSum => Role == WeightRole.Router || Source.Type == DType.F32;

    /// <summary>The product of the blocks as they are stored; null where there is none.</summary>
    public StoredKernel? Kernel { get; }

    /// <summary>A vector's numbers. [Columns]</summary>
    public float* Values => values;

    /// <summary>Memory beside the mapped file.</summary>
    public long PreparedBytes => Role == WeightRole.Vector ? (long)Rows * Columns * sizeof(float) : 0;

    /// <summary>A row as float32. [Columns]</summary>
    public void ReadRow(int row, float* to)
    {
        if (Blocks is { } format) format.ReadRow((byte*)Source.Row(row), Columns, to);
        else FloatRows.Read(Source, row, to, capabilities);
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(values);
        values = null;
    }
}
