using System.Runtime.CompilerServices;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>256 elements: half d, 8 scales of 6 bits (upper two bits in 16 bits, lower four in 4 bytes), 8 groups of 32 half-bytes with IQ4_NL's levels; element = d·(scale − 32)·level.</summary>
internal readonly unsafe struct IQ4_XS : IBlockFormat
{
    public static int Elements => 256;

    public static int Bytes => 136;

    public static int GroupElements => 32;

    public static bool HasMinima => false;

    public static (int Least, int Most) Range => (-127, 113);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        float d = BlockFormat.Half(block);
        uint high = Unsafe.ReadUnaligned<ushort>(block + 2);
        for (int g = 0; g < 8; g++)
        {
            int scale = (block[4 + g / 2] >> 4 * (g & 1) & 15) | (int)(high >> 2 * g & 3) << 4;
            scales[g] = d * (scale - 32);
            IQ4_NL.Look(IQ4_NL.Levels, block + 8 + 16 * g, q + 32 * g);
        }
    }
}
