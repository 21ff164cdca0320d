using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>32 elements: halves d and m, 32 fifth bits, 16 bytes of half-bytes as in Q4_0; element = d·q + m.</summary>
internal readonly unsafe struct Q5_1 : IBlockFormat
{
    public static int Elements => 32;

    public static int Bytes => 24;

    public static int GroupElements => 32;

    public static bool HasMinima => true;

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        *scales = BlockFormat.Half(block);
        *minima = BlockFormat.Half(block + 2);
        (Nibbles.Halves(block + 8) | Nibbles.FifthBits(Unsafe.ReadUnaligned<uint>(block + 4))).AsSByte().Store(q);
    }
}
