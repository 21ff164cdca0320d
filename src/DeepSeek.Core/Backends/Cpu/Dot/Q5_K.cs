using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>256 elements as in Q4_K, with 32 bytes of fifth bits between scales and half-bytes: bit g of byte i belongs to element i of group g.</summary>
internal readonly unsafe struct Q5_K : IBlockFormat, IPanelFormat
{
    public static int Elements => 256;

    public static int Bytes => 176;

    public static int GroupElements => 32;

    public static bool HasMinima => true;

    public static (int Least, int Most) Range => (0, 31);

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

    public static void Pack(PanelRows rows, long offset, byte* step, float* scales, int stepBytes)
    {
        Q4_K.PackScales(rows, offset, scales, stepBytes);
        Vector512<byte> fifth = Vector512.Create((byte)16);
        for (int i = 0; i < 2; i++)
        {
            rows.Columns(offset + 16 + 16 * i, out Vector512<byte> h0, out Vector512<byte> h1, out Vector512<byte> h2, out Vector512<byte> h3);
            for (int c = 0; c < 4; c++)
            {
                byte* low = step + 2L * c * stepBytes + 256 * i, high = low + stepBytes;
                rows.Nibbles(offset + 48 + 32 * c + 16 * i, 128, low, high);
                AddBits(low, h0, h1, h2, h3, 4, fifth);
                AddBits(high, h0, h1, h2, h3, 3, fifth);
                (h0, h1, h2, h3) = ((h0.AsUInt16() >> 2).AsByte(), (h1.AsUInt16() >> 2).AsByte(), (h2.AsUInt16() >> 2).AsByte(), (h3.AsUInt16() >> 2).AsByte());
            }
        }
    }

    private static void AddBits(byte* to, Vector512<byte> h0, Vector512<byte> h1, Vector512<byte> h2, Vector512<byte> h3, int shift, Vector512<byte> fifth)
    {
        (Vector512.Load(to) | (h0.AsUInt16() << shift).AsByte() & fifth).Store(to);
        (Vector512.Load(to + 64) | (h1.AsUInt16() << shift).AsByte() & fifth).Store(to + 64);
        (Vector512.Load(to + 128) | (h2.AsUInt16() << shift).AsByte() & fifth).Store(to + 128);
        (Vector512.Load(to + 192) | (h3.AsUInt16() << shift).AsByte() & fifth).Store(to + 192);
    }
}
