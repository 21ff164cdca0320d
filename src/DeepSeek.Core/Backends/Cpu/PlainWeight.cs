using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>A weight in its stored form, read row by row as float32; vectors are kept as float32.</summary>
internal sealed unsafe class PlainWeight : DeviceWeight
{
    public PlainWeight(Weight source, WeightRole role) : base(source, role)
    {
        if (role != WeightRole.Vector) return;
        Values = (float*)NativePages.Allocate((nuint)(4L * (Columns + 16)));
        ReadRow(0, Values);
    }

    /// <summary>A vector's numbers; null for a matrix. [Columns]</summary>
    public float* Values { get; }

    /// <summary>Reads a row. [Columns]</summary>
    public void ReadRow(int row, float* destination)
    {
        byte* p = (byte*)Source.Row(row);
        switch (Source.Type)
        {
            case DType.F32: CacheRows.Load<F32Rows>(p, Columns, destination); break;
            case DType.F16: CacheRows.Load<F16Rows>(p, Columns, destination); break;
            case DType.BF16: CacheRows.Load<BF16Rows>(p, Columns, destination); break;
            default: Dequantise.Row(Source, row, new Span<float>(destination, Columns)); break;
        }
    }
}
