using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>256 elements: 16 bytes of a scale (low half) and a minimum (high half), 64 bytes of two bits, halves d and dmin; element = d·scale·q − dmin·minimum, both for each 16.</summary>
internal readonly unsafe struct Q2_K : IBlockFormat
{
    public static int Elements => 256;

    public static int Bytes => 84;

    public static int GroupElements => 16;

    public static bool HasMinima => true;

    public static (int Least, int Most) Range => (0, 3);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        Vector128<byte> both = Vector128.Load(block), four = Vector128.Create((byte)15);
        Nibbles.Scale((both & four).AsSByte(), BlockFormat.Half(block + 80), scales);
        Nibbles.Scale(((both.AsUInt16() >> 4).AsByte() & four).AsSByte(), -BlockFormat.Half(block + 82), minima);
        Nibbles.Twos(block + 16, 0, q);
        Nibbles.Twos(block + 48, 0, q + 128);
    }
}
