using System.Buffers.Binary;

namespace DeepSeek.Tensors;

/// <summary>Blocks of 256 whose groups of 8 (or 4) elements are points of a lattice (<see cref="Grids"/>), with signs or an offset apart, in sub-blocks of 16 or 32.</summary>
internal static class GridBlocks
{
    /// <summary>{d, 8 × (4 point numbers, 4 × 7 sign bits, 4-bit scale)}: d·(s + ½)/4·(±point).</summary>
    public static void IQ2_XXS(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b);
        for (int g = 0; g < 8; g++)
        {
            uint rest = BinaryPrimitives.ReadUInt32LittleEndian(b[(6 + g * 8)..]);
            float s = d * (0.5f + (rest >> 28)) * 0.25f;
            for (int l = 0; l < 4; l++) Signed(Grids.Iq2Xxs(b[2 + g * 8 + l]), s, Signs(rest >> 7 * l), y.Slice(g * 32 + l * 8, 8));
        }
    }

    /// <summary>{d, 32 × (9-bit point number, 7 sign bits), 16 × 4-bit scale}: d·(s + ½)/4·(±point).</summary>
    public static void IQ2_XS(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b);
        for (int i = 0; i < 32; i++)
        {
            ushort q = BinaryPrimitives.ReadUInt16LittleEndian(b[(2 + i * 2)..]);
            float s = d * (0.5f + (b[66 + i / 4] >> i / 2 % 2 * 4 & 15)) * 0.25f;
            Signed(Grids.Iq2Xs(q & 511), s, Signs((uint)q >> 9), y.Slice(i * 8, 8));
        }
    }

    /// <summary>{d, 32 × 8 low bits of point numbers, 32 × 8 signs, 32 × 2 high bits, 16 × 4-bit scale}: d·(s + ½)/4·(±point).</summary>
    public static void IQ2_S(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b);
        for (int i = 0; i < 32; i++)
        {
            int point = b[2 + i] | (b[66 + i / 4] >> i % 4 * 2 & 3) << 8;
            float s = d * (0.5f + (b[74 + i / 4] >> i / 2 % 2 * 4 & 15)) * 0.25f;
            Signed(Grids.Iq2S(point), s, b[34 + i], y.Slice(i * 8, 8));
        }
    }

    /// <summary>{d, 64 point numbers, 8 × (4 × 7 sign bits, 4-bit scale)}: d·(s + ½)/2·(±point), points of 4.</summary>
    public static void IQ3_XXS(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b);
        for (int g = 0; g < 8; g++)
        {
            uint rest = BinaryPrimitives.ReadUInt32LittleEndian(b[(66 + g * 4)..]);
            float s = d * (0.5f + (rest >> 28)) * 0.5f;
            for (int l = 0; l < 4; l++)
            {
                int signs = Signs(rest >> 7 * l), at = g * 32 + l * 8;
                Signed(Grids.Iq3Xxs(b[2 + at / 4]), s, signs, y.Slice(at, 4));
                Signed(Grids.Iq3Xxs(b[3 + at / 4]), s, signs >> 4, y.Slice(at + 4, 4));
            }
        }
    }

    /// <summary>{d, 64 × 8 low bits of point numbers, 64 high bits, 32 × 8 signs, 8 × 4-bit scale}: d·(2s + 1)·(±point), points of 4.</summary>
    public static void IQ3_S(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b);
        for (int i = 0; i < 64; i++)
        {
            int point = b[2 + i] | (b[66 + i / 8] >> i % 8 & 1) << 8;
            float s = d * (1 + 2 * (b[106 + i / 16] >> i / 8 % 2 * 4 & 15));
            Signed(Grids.Iq3S(point), s, b[74 + i / 2] >> i % 2 * 4, y.Slice(i * 4, 4));
        }
    }

    /// <summary>{d, 32 × 8 low bits of point numbers, 8 × (4 × 3 high bits, 3-bit scale, sign of the offset)}: d·(2s + 1)·(point ± ⅛).</summary>
    public static void IQ1_S(ReadOnlySpan<byte> b, Span<float> y)
    {
        float d = Dequantise.Half(b);
        for (int i = 0; i < 32; i++)
        {
            ushort high = BinaryPrimitives.ReadUInt16LittleEndian(b[(34 + i / 4 * 2)..]);
            Offset(Grids.Iq1S(b[2 + i] | (high >> i % 4 * 3 & 7) << 8), d * (2 * (high >> 12 & 7) + 1), high >= 0x8000, y.Slice(i * 8, 8));
        }
    }

    /// <summary>{32 × 8 low bits of point numbers, 32 × (3 high bits, sign of the offset), 4 × (4 × 3-bit scale, 4 bits of d)}: d·(2s + 1)·(point ± ⅛).</summary>
    public static void IQ1_M(ReadOnlySpan<byte> b, Span<float> y)
    {
        int bits = 0;
        for (int k = 0; k < 4; k++) bits |= BinaryPrimitives.ReadUInt16LittleEndian(b[(48 + k * 2)..]) >> 12 << 4 * k;
        float d = SmallFloats.FromF16((ushort)bits);
        for (int i = 0; i < 32; i++)
        {
            int high = b[32 + i / 2] >> i % 2 * 4 & 15, scale = BinaryPrimitives.ReadUInt16LittleEndian(b[(48 + i / 8 * 2)..]) >> i / 2 % 4 * 3 & 7;
            Offset(Grids.Iq1S(b[i] | (high & 7) << 8), d * (2 * scale + 1), high >= 8, y.Slice(i * 8, 8));
        }
    }

    /// <summary>Eight signs from seven bits: the eighth makes the number of minus signs even.</summary>
    private static int Signs(uint seven)
    {
        int bits = (int)seven & 127;
        return bits | (int.PopCount(bits) & 1) << 7;
    }

    private static void Signed(ulong point, float scale, int signs, Span<float> y)
    {
        for (int j = 0; j < y.Length; j++)
        {
            float value = scale * (byte)(point >> 8 * j);
            y[j] = (signs >> j & 1) == 0 ? value : -value;
        }
    }

    private static void Offset(ulong point, float scale, bool down, Span<float> y)
    {
        float offset = down ? -0.125f : 0.125f;
        for (int j = 0; j < y.Length; j++) y[j] = scale * ((sbyte)(point >> 8 * j) + offset);
    }
}
