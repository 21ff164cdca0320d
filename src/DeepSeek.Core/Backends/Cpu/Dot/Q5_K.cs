using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>256 elements as in Q4_K, with 32 bytes of fifth bits between scales and half-bytes: bit g of byte i belongs to element i of group g.</summary>
internal readonly unsafe struct Q5_K : IBlockFormat
{
    public static int Elements => 256;

    public static int Bytes => 176;

    public static int GroupElements => 32;

    public static bool HasMinima => true;

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        Q4_K.Scales(block, scales, minima);
        Vector256<byte> mask = Vector256.Create((byte)15), fifth = Vector256.Create((byte)16);
        Vector256<ushort> high = Vector256.Load(block + 16).AsUInt16();
        for (int c = 0; c < 4; c++)
        {
            Vector256<byte> v = Vector256.Load(block + 48 + 32 * c);
            (v & mask | high.AsByte() << 4 & fifth).AsSByte().Store(q + 64 * c);
            ((v.AsUInt16() >> 4).AsByte() & mask | (high << 3).AsByte() & fifth).AsSByte().Store(q + 64 * c + 32);
            high >>= 2;
        }
    }
}
