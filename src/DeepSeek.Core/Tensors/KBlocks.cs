using System.Buffers.Binary;

namespace DeepSeek.Tensors;

/// <summary>Blocks of 256 made of sub-blocks of 16 or 32, whose scales (and minima) are small integers times the block's float16 d (and dmin).</summary>
internal static class KBlocks
{
    /// <summary>{16 × (4-bit scale, 4-bit minimum), 64 bytes of 2 bits, d, dmin}: sub-blocks of 16; d·s·q − dmin·m.</summary>
    public static void Q2_K(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b[80..]), min = Dequantise.Half(b[82..]);
        for (int i = 0; i < 256; i++)
        {
            byte scale = b[i / 16];
            // Element i: byte i mod 32 of its half's 32 bytes, bits 2·(i div 32 mod 4).
            int q = b[16 + i / 128 * 32 + i % 32] >> i / 32 % 4 * 2 & 3;
            y[i] = d * (scale & 15) * q - min * (scale >> 4);
        }
    }

    /// <summary>{32 bytes of third bits, 64 bytes of 2 bits, 12 bytes of 6-bit scales, d}: sub-blocks of 16; d·(s − 32)·(q − 4).</summary>
    public static void Q3_K(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b[108..]);
        for (int i = 0; i < 256; i++)
        {
            int g = i / 16; // low four bits of scale g: nibbles of bytes 0-7; high two: bits 2·(g div 4) of bytes 8-11
            int scale = (b[96 + g % 8] >> g / 8 * 4 & 15) | (b[104 + g % 4] >> g / 4 * 2 & 3) << 4;
            int q = b[32 + i / 128 * 32 + i % 32] >> i / 32 % 4 * 2 & 3 | (b[i % 32] >> i / 32 & 1) << 2;
            y[i] = d * (scale - 32) * (q - 4);
        }
    }

    /// <summary>{d, dmin, 12 bytes of 6-bit scales and minima, 128 bytes of nibbles}: sub-blocks of 32; d·s·q − dmin·m.</summary>
    public static void Q4_K(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b), min = Dequantise.Half(b[2..]);
        for (int g = 0; g < 8; g++)
        {
            (int scale, int minimum) = ScaleAndMinimum(b[4..16], g);
            float s = d * scale, m = min * minimum;
            for (int j = 0; j < 32; j++) y[g * 32 + j] = s * (b[16 + g / 2 * 32 + j] >> g % 2 * 4 & 15) - m;
        }
    }

    /// <summary>{d, dmin, 12 bytes of 6-bit scales and minima, 32 bytes of fifth bits, 128 bytes of nibbles}: sub-blocks of 32; d·s·q − dmin·m.</summary>
    public static void Q5_K(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b), min = Dequantise.Half(b[2..]);
        for (int g = 0; g < 8; g++)
        {
            (int scale, int minimum) = ScaleAndMinimum(b[4..16], g);
            float s = d * scale, m = min * minimum;
            for (int j = 0; j < 32; j++) y[g * 32 + j] = s * (b[48 + g / 2 * 32 + j] >> g % 2 * 4 & 15 | (b[16 + j] >> g & 1) << 4) - m;
        }
    }

    /// <summary>{128 bytes of nibbles, 64 bytes of the two bits above, 16 signed 8-bit scales, d}: sub-blocks of 16; d·s·(q − 32).</summary>
    public static void Q6_K(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b[208..]);
        for (int i = 0; i < 256; i++)
        {
            // In each half of 128, quarter k of 32: nibbles k div 2 of bytes 32·(k mod 2) + l, and bits 2k of byte l above.
            int half = i / 128, quarter = i / 32 % 4, l = i % 32;
            int low = b[half * 64 + quarter % 2 * 32 + l] >> quarter / 2 * 4 & 15, high = b[128 + half * 32 + l] >> quarter * 2 & 3;
            y[i] = d * (sbyte)b[192 + i / 16] * ((low | high << 4) - 32);
        }
    }

    /// <summary>{d as float32, 256 signed bytes, 16 sums}: d·q.</summary>
    public static void Q8_K(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = BinaryPrimitives.ReadSingleLittleEndian(b);
        for (int j = 0; j < 256; j++) y[j] = d * (sbyte)b[4 + j];
    }

    /// <summary>
    /// Six-bit scale and minimum of sub-block g in the 12 bytes of Q4_K and Q5_K: those of 0-3 are the low six bits of bytes g and g + 4; those of 4-7 have their low four bits
    /// in byte g + 4 and their high two in the high bits of bytes g − 4 and g.
    /// </summary>
    public static (int Scale, int Minimum) ScaleAndMinimum(ReadOnlySpan<byte> s, int g)
        => g < 4 ? (s[g] & 63, s[g + 4] & 63) : (s[g + 4] & 15 | s[g - 4] >> 6 << 4, s[g + 4] >> 4 | s[g] >> 6 << 4);
}
