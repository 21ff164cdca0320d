using System.Runtime.CompilerServices;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>256 elements: half d, for each 8 elements the low 8 bits of a point's number, 8 signs, 2 high bits; 16 scales of four bits; element = d·(scale + ½)/4·(±point), a scale for each 16.</summary>
internal readonly unsafe struct IQ2_S : IBlockFormat
{
    public static int Elements => 256;

    public static int Bytes => 82;

    public static int GroupElements => 16;

    public static bool HasMinima => false;

    public static (int Least, int Most) Range => (-43, 43);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        float d = BlockFormat.Half(block) * 0.25f;
        ulong* points = Lattice.Iq2S;
        Lattice.Scales(block + 74, d, scales);
        for (int g = 0; g < 8; g++, q += 32)
        {
            uint low = Unsafe.ReadUnaligned<uint>(block + 2 + 4 * g), high = block[66 + g];
            Lattice.Store(points[(byte)low | (high & 3) << 8], points[(byte)(low >> 8) | (high & 12) << 6], points[(byte)(low >> 16) | (high & 48) << 4], points[low >> 24 | (high & 192) << 2],
                Unsafe.ReadUnaligned<uint>(block + 34 + 4 * g), q);
        }
    }
}
