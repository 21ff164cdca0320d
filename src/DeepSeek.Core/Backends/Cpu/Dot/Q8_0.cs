using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>32 elements: half d, 32 signed bytes; element = d·q.</summary>
internal readonly unsafe struct Q8_0 : IBlockFormat
{
    public static int Elements => 32;

    public static int Bytes => 34;

    public static int GroupElements => 32;

    public static bool HasMinima => false;

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        *scales = BlockFormat.Half(block);
        Vector256.Load((sbyte*)block + 2).Store(q);
    }
}
