using System.Runtime.CompilerServices;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>256 elements: half d, for each 8 elements a number of a point (9 bits) and seven signs, 16 scales of four bits; element = d·(scale + ½)/4·(±point), a scale for each 16.</summary>
internal readonly unsafe struct IQ2_XS : IBlockFormat
{
    public static int Elements => 256;

    public static int Bytes => 74;

    public static int GroupElements => 16;

    public static bool HasMinima => false;

    public static (int Least, int Most) Range => (-43, 43);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        float d = BlockFormat.Half(block) * 0.25f;
        ulong* points = Lattice.Iq2Xs;
        Lattice.Scales(block + 66, d, scales);
        byte* at = block + 2;
        for (int g = 0; g < 8; g++, at += 8, q += 32)
        {
            ulong words = Unsafe.ReadUnaligned<ulong>(at), sevens = words >> 9 & 0x007F_007F_007F_007F;
            sevens = (sevens | sevens >> 8) & 0x0000_FFFF_0000_FFFF;
            Lattice.Store(points[words & 511], points[words >> 16 & 511], points[words >> 32 & 511], points[words >> 48 & 511], Lattice.EvenSigns((uint)(sevens | sevens >> 16)), q);
        }
    }
}
