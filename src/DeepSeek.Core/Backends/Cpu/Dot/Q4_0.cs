using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>32 elements: half d, 16 bytes; element i is d·(low half of byte i − 8), element 16 + i its high half.</summary>
internal readonly unsafe struct Q4_0 : IBlockFormat
{
    public static int Elements => 32;

    public static int Bytes => 18;

    public static int GroupElements => 32;

    public static bool HasMinima => false;

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        *scales = BlockFormat.Half(block);
        (Nibbles.Halves(block + 2).AsSByte() - Vector256.Create((sbyte)8)).Store(q);
    }
}
