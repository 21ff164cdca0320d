using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>256 elements: for each 8 elements the low 8 bits of a point's number, then 3 high bits and the sign of an offset; 4 × (4 scales of three bits, 4 bits of the half d); element = d·(2·scale + 1)·(point ± ⅛), a scale for each 16.</summary>
internal readonly unsafe struct IQ1_M : IBlockFormat
{
    public static int Elements => 256;

    public static int Bytes => 56;

    public static int GroupElements => 16;

    public static bool HasMinima => false;

    public static (int Least, int Most) Range => (-9, 9);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        ulong words = Unsafe.ReadUnaligned<ulong>(block + 48);
        float d = SmallFloats.FromF16((ushort)(words >> 12 & 0xF | words >> 24 & 0xF0 | words >> 36 & 0xF00 | words >> 48 & 0xF000)) * 0.125f;
        ulong* points = Lattice.Iq1STimes8;
        for (int g = 0; g < 8; g++, q += 32)
        {
            uint low = Unsafe.ReadUnaligned<uint>(block + 4 * g), high = Unsafe.ReadUnaligned<ushort>(block + 32 + 2 * g);
            int scale = (int)(words >> 16 * (g / 2) + 6 * (g & 1));
            scales[2 * g] = d * (2 * (scale & 7) + 1);
            scales[2 * g + 1] = d * (2 * (scale >> 3 & 7) + 1);
            Vector256<sbyte> eights = Vector256.Create(points[(byte)low | (high & 7) << 8], points[(byte)(low >> 8) | (high & 0x70) << 4],
                points[(byte)(low >> 16) | high & 0x700], points[low >> 24 | (high & 0x7000) >> 4]).AsSByte();
            // The top bits of the four half-bytes, each over the 8 bits of its point.
            uint down = ((high & 8) >> 3 | (high & 0x80) << 1 | (high & 0x800) << 5 | (high & 0x8000) << 9) * 255;
            (eights + (Nibbles.Bits(down).AsSByte() | Vector256<sbyte>.One)).Store(q);
        }
    }
}
