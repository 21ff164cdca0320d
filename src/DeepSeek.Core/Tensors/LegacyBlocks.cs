using System.Buffers.Binary;

namespace DeepSeek.Tensors;

/// <summary>Blocks of 32 with one scale d (and one minimum m), float16. Element j &lt; 16 is a low nibble, j + 16 the high one of the same byte.</summary>
internal static class LegacyBlocks
{
    /// <summary>{d, 16 bytes}: d·(q − 8).</summary>
    public static void Q4_0(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b);
        for (int j = 0; j < 16; j++)
        {
            y[j] = ((b[2 + j] & 15) - 8) * d;
            y[j + 16] = ((b[2 + j] >> 4) - 8) * d;
        }
    }

    /// <summary>{d, m, 16 bytes}: d·q + m.</summary>
    public static void Q4_1(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b), m = Dequantise.Half(b[2..]);
        for (int j = 0; j < 16; j++)
        {
            y[j] = (b[4 + j] & 15) * d + m;
            y[j + 16] = (b[4 + j] >> 4) * d + m;
        }
    }

    /// <summary>{d, 32 fifth bits, 16 bytes}: d·(q − 16).</summary>
    public static void Q5_0(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b);
        uint high = BinaryPrimitives.ReadUInt32LittleEndian(b[2..]);
        for (int j = 0; j < 16; j++)
        {
            y[j] = ((b[6 + j] & 15 | (int)(high >> j & 1) << 4) - 16) * d;
            y[j + 16] = ((b[6 + j] >> 4 | (int)(high >> j + 16 & 1) << 4) - 16) * d;
        }
    }

    /// <summary>{d, m, 32 fifth bits, 16 bytes}: d·q + m.</summary>
    public static void Q5_1(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b), m = Dequantise.Half(b[2..]);
        uint high = BinaryPrimitives.ReadUInt32LittleEndian(b[4..]);
        for (int j = 0; j < 16; j++)
        {
            y[j] = (b[8 + j] & 15 | (int)(high >> j & 1) << 4) * d + m;
            y[j + 16] = (b[8 + j] >> 4 | (int)(high >> j + 16 & 1) << 4) * d + m;
        }
    }

    /// <summary>{d, 32 signed bytes}: d·q.</summary>
    public static void Q8_0(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b);
        for (int j = 0; j < 32; j++) y[j] = (sbyte)b[2 + j] * d;
    }

    /// <summary>{d, d·Σq, 32 signed bytes}: d·q.</summary>
    public static void Q8_1(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b);
        for (int j = 0; j < 32; j++) y[j] = (sbyte)b[4 + j] * d;
    }
}
