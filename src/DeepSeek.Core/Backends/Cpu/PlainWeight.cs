using System.Runtime.CompilerServices;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>A weight of plain numbers, read row by row as float32.</summary>
internal sealed unsafe class PlainWeight(Weight source, WeightRole role) : DeviceWeight(source, role)
{
    /// <summary>Reads a row. [Columns]</summary>
    public void ReadRow(int row, float* destination)
    {
        byte* p = (byte*)Source.Row(row);
        switch (Source.Type)
        {
            case DType.F32: CacheRows.Load(CacheFormat.F32, p, Columns, 0, Columns, destination); break;
            case DType.F16: CacheRows.Load(CacheFormat.F16, p, Columns, 0, Columns, destination); break;
            case DType.BF16: CacheRows.Load(CacheFormat.BF16, p, Columns, 0, Columns, destination); break;
            default: throw new UnsupportedModelException($"Tensor {Source.Name} has type {Source.Type}; the CPU backend reads F32, F16 and BF16.");
        }
    }
}
