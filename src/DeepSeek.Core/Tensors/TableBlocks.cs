using System.Buffers.Binary;

namespace DeepSeek.Tensors;

/// <summary>Blocks whose elements are numbers of entries in a small table, or ternary digits.</summary>
internal static class TableBlocks
{
    /// <summary>Values of IQ4_NL and IQ4_XS: denser near zero.</summary>
    public static ReadOnlySpan<sbyte> NonLinear => [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

    /// <summary>Twice the values of OCP FP4 e2m1.</summary>
    public static ReadOnlySpan<sbyte> DoubledE2M1 => [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

    /// <summary>{d, 16 bytes}: blocks of 32; d·table[q].</summary>
    public static void IQ4_NL(ReadOnlySpan<byte> b, Span<float> y) => Nibbles(b[2..18], Dequantise.Half(b), NonLinear, y);

    /// <summary>{d, 8 × 2 high bits of scales, 8 × 4 low bits of scales, 128 bytes}: sub-blocks of 32; d·(s − 32)·table[q].</summary>
    public static void IQ4_XS(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b);
        ushort high = BinaryPrimitives.ReadUInt16LittleEndian(b[2..]);
        for (int g = 0; g < 8; g++)
        {
            int scale = b[4 + g / 2] >> g % 2 * 4 & 15 | (high >> g * 2 & 3) << 4;
            Nibbles(b.Slice(8 + g * 16, 16), d * (scale - 32), NonLinear, y.Slice(g * 32, 32));
        }
    }

    /// <summary>{e8m0 exponent, 16 bytes}: blocks of 32; 2^(e − 127)·e2m1[q].</summary>
    public static void MXFP4(ReadOnlySpan<byte> b, Span<float> y) => Nibbles(b[1..17], HalfE8M0(b[0]), DoubledE2M1, y);

    /// <summary>{48 bytes of 5 ternary digits, 4 bytes of 4, d}: d·(t − 1). Digits are the leading ones of the byte read as a fraction of 256 to base 3.</summary>
    public static void TQ1_0(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b[52..]);
        int o = 0;
        o = Digits(b[..32], 5, d, y, o);
        o = Digits(b[32..48], 5, d, y, o);
        Digits(b[48..52], 4, d, y, o);
    }

    /// <summary>{64 bytes of 2 bits, d}: d·(q − 1).</summary>
    public static void TQ2_0(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b[64..]);
        for (int i = 0; i < 256; i++) y[i] = ((b[i / 128 * 32 + i % 32] >> i / 32 % 4 * 2 & 3) - 1) * d;
    }

    /// <summary>2^(e − 128), exact down to e = 0; 255 stands for 2^127 here.</summary>
    private static float HalfE8M0(byte e) => BitConverter.UInt32BitsToSingle(e < 2 ? 0x00200000u << e : (uint)(e - 1) << 23);

    private static void Nibbles(ReadOnlySpan<byte> q, float d, ReadOnlySpan<sbyte> table, Span<float> y)
    {
        for (int j = 0; j < 16; j++)
        {
            y[j] = table[q[j] & 15] * d;
            y[j + 16] = table[q[j] >> 4] * d;
        }
    }

    private static int Digits(ReadOnlySpan<byte> bytes, int count, float d, Span<float> y, int o)
    {
        for (int n = 0, power = 1; n < count; n++, power *= 3)
            foreach (byte b in bytes)
                y[o++] = (((byte)(b * power) * 3 >> 8) - 1) * d;
        return o;
    }
}
