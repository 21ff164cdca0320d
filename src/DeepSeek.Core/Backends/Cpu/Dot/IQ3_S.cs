using System.Runtime.CompilerServices;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>256 elements: half d, for each 4 elements the low 8 bits of a point's number, 64 high bits, 256 signs, 8 scales of four bits; element = d·(2·scale + 1)·(±point).</summary>
internal readonly unsafe struct IQ3_S : IBlockFormat
{
    public static int Elements => 256;

    public static int Bytes => 110;

    public static int GroupElements => 32;

    public static bool HasMinima => false;

    public static (int Least, int Most) Range => (-15, 15);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        float d = BlockFormat.Half(block);
        uint* points = Lattice.Iq3S;
        for (int g = 0; g < 8; g++, q += 32)
        {
            ulong numbers = Unsafe.ReadUnaligned<ulong>(block + 2 + 8 * g);
            uint high = block[66 + g];
            scales[g] = d * (1 + 2 * (block[106 + g / 2] >> 4 * (g & 1) & 15));
            Lattice.Store(Lattice.Join(points[(byte)numbers | (high & 1) << 8], points[(byte)(numbers >> 8) | (high & 2) << 7]),
                Lattice.Join(points[(byte)(numbers >> 16) | (high & 4) << 6], points[(byte)(numbers >> 24) | (high & 8) << 5]),
                Lattice.Join(points[(byte)(numbers >> 32) | (high & 16) << 4], points[(byte)(numbers >> 40) | (high & 32) << 3]),
                Lattice.Join(points[(byte)(numbers >> 48) | (high & 64) << 2], points[(uint)(numbers >> 56) | (high & 128) << 1]),
                Unsafe.ReadUnaligned<uint>(block + 74 + 4 * g), q);
        }
    }
}
