using System.Runtime.CompilerServices;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>256 elements: half d, 64 numbers of points of 4, for each 32 elements four times seven signs and a scale of four bits; element = d·(scale + ½)/2·(±point).</summary>
internal readonly unsafe struct IQ3_XXS : IBlockFormat
{
    public static int Elements => 256;

    public static int Bytes => 98;

    public static int GroupElements => 32;

    public static bool HasMinima => false;

    public static (int Least, int Most) Range => (-62, 62);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        float d = BlockFormat.Half(block) * 0.5f;
        uint* points = Lattice.Iq3Xxs;
        for (int g = 0; g < 8; g++, q += 32)
        {
            ulong numbers = Unsafe.ReadUnaligned<ulong>(block + 2 + 8 * g);
            uint rest = Unsafe.ReadUnaligned<uint>(block + 66 + 4 * g);
            scales[g] = d * (0.5f + (rest >> 28));
            Lattice.Store(Lattice.Join(points[(byte)numbers], points[(byte)(numbers >> 8)]), Lattice.Join(points[(byte)(numbers >> 16)], points[(byte)(numbers >> 24)]),
                Lattice.Join(points[(byte)(numbers >> 32)], points[(byte)(numbers >> 40)]), Lattice.Join(points[(byte)(numbers >> 48)], points[numbers >> 56]),
                Lattice.EvenSigns(Lattice.Spread(rest)), q);
        }
    }
}
