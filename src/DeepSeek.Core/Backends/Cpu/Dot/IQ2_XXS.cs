using System.Runtime.CompilerServices;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>256 elements: half d, for each 32 elements four numbers of points, four times seven signs and a scale of four bits; element = d·(scale + ½)/4·(±point).</summary>
internal readonly unsafe struct IQ2_XXS : IBlockFormat
{
    public static int Elements => 256;

    public static int Bytes => 66;

    public static int GroupElements => 32;

    public static bool HasMinima => false;

    public static (int Least, int Most) Range => (-43, 43);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        float d = BlockFormat.Half(block) * 0.25f;
        ulong* points = Lattice.Iq2Xxs;
        byte* at = block + 2;
        for (int g = 0; g < 8; g++, at += 8, q += 32)
        {
            uint numbers = Unsafe.ReadUnaligned<uint>(at), rest = Unsafe.ReadUnaligned<uint>(at + 4);
            scales[g] = d * (0.5f + (rest >> 28));
            Lattice.Store(points[(byte)numbers], points[(byte)(numbers >> 8)], points[(byte)(numbers >> 16)], points[numbers >> 24], Lattice.EvenSigns(Lattice.Spread(rest)), q);
        }
    }
}
