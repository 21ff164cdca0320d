using System.Runtime.InteropServices;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Backends.Cpu;

/// <summary>Weights of random blocks, in memory of their own that ends with the last row: reading past it would be noticed by a guard page sooner or later.</summary>
internal sealed unsafe class RandomWeights : IDisposable
{
    private readonly byte* memory;
    private readonly byte* scales;

    public RandomWeights(DType type, int rows, int columns, int seed)
    {
        Random random = new(seed);
        nuint bytes = (nuint)(type.RowBytes(columns) * rows);
        memory = (byte*)NativeMemory.Alloc(bytes);
        Span<byte> all = new(memory, (int)bytes);
        random.NextBytes(all);
        BlockScales? blockScales = null;
        switch (type)
        {
            case DType.F32:
                foreach (ref float f in MemoryMarshal.Cast<byte, float>(all)) f = (float)(random.NextDouble() - 0.5);
                break;
            case DType.F16:
                foreach (ref ushort h in MemoryMarshal.Cast<byte, ushort>(all)) h = SmallFloats.ToF16((float)(random.NextDouble() - 0.5) * (random.Next(8) == 0 ? 1e-5f : 1));
                break;
            case DType.BF16:
                foreach (ref ushort h in MemoryMarshal.Cast<byte, ushort>(all)) h = SmallFloats.ToBF16((float)(random.NextDouble() - 0.5));
                break;
            case DType.F8E4M3:
                foreach (ref byte b in all)
                    if ((b & 0x7F) == 0x7F) b = 0x10;
                int high = (rows + 127) / 128, wide = (columns + 127) / 128;
                scales = (byte*)NativeMemory.Alloc((nuint)(high * wide * 4));
                for (int i = 0; i < high * wide; i++) ((float*)scales)[i] = (float)random.NextDouble();
                blockScales = new BlockScales((nint)scales, DType.F32, 128, 128, wide);
                break;
            default:
                TameScales(type, all, random);
                break;
        }
        Weight = new Weight("test", type, rows, columns, (nint)memory, blockScales);
    }

    public Weight Weight { get; }

    /// <summary>Row as float32, by the specification.</summary>
    public float[] Row(int row)
    {
        float[] y = new float[Weight.Columns];
        Dequantise.Row(Weight, row, y);
        return y;
    }

    /// <summary>Makes the halves that scale a block ordinary numbers; all other bits stay random.</summary>
    private static void TameScales(DType type, Span<byte> all, Random random)
    {
        DTypeInfo info = type.Info();
        int[] halves = type switch
        {
            DType.Q4_1 or DType.Q5_1 or DType.Q4_K or DType.Q5_K => [0, 2],
            DType.Q2_K => [80, 82],
            DType.Q3_K => [108],
            DType.Q6_K => [208],
            DType.TQ1_0 => [52],
            DType.TQ2_0 => [64],
            DType.IQ1_M or DType.MXFP4 => [],
            _ => [0],
        };
        for (int at = 0; at < all.Length; at += info.BlockBytes)
        {
            foreach (int half in halves)
                MemoryMarshal.Cast<byte, ushort>(all.Slice(at + half, 2))[0] = SmallFloats.ToF16((float)(random.NextDouble() - 0.3) * 0.02f);
            if (type == DType.MXFP4) all[at] = (byte)random.Next(115, 125);
            if (type == DType.IQ1_M) // its half is spread over the top bits of four words of scales
                for (int i = 0, h = SmallFloats.ToF16(0.01f); i < 4; i++) all[at + 48 + 2 * i + 1] = (byte)(all[at + 48 + 2 * i + 1] & 0x0F | (h >> 4 * i & 15) << 4);
        }
    }

    public void Dispose()
    {
        NativeMemory.Free(memory);
        NativeMemory.Free(scales);
    }
}
