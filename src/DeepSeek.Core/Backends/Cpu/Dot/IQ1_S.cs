using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>256 elements: half d, for each 8 elements the low 8 bits of a point's number, for each 32 elements 4 × 3 high bits, a scale of three bits, the sign of an offset; element = d·(2·scale + 1)·(point ± ⅛).</summary>
internal readonly unsafe struct IQ1_S : IBlockFormat
{
    public static int Elements => 256;

    public static int Bytes => 50;

    public static int GroupElements => 32;

    public static bool HasMinima => false;

    public static (int Least, int Most) Range => (-9, 9);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        float d = BlockFormat.Half(block) * 0.125f;
        ulong* points = Lattice.Iq1STimes8;
        for (int g = 0; g < 8; g++, q += 32)
        {
            uint low = Unsafe.ReadUnaligned<uint>(block + 2 + 4 * g), high = Unsafe.ReadUnaligned<ushort>(block + 34 + 2 * g);
            scales[g] = d * (2 * (high >> 12 & 7) + 1);
            Vector256<sbyte> eights = Vector256.Create(points[(byte)low | (high & 7) << 8], points[(byte)(low >> 8) | (high & 0x38) << 5],
                points[(byte)(low >> 16) | (high & 0x1C0) << 2], points[low >> 24 | (high & 0xE00) >> 1]).AsSByte();
            (eights + Vector256.Create((sbyte)(1 - 2 * (int)(high >> 15)))).Store(q);
        }
    }
}
