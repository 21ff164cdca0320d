using System.Buffers.Binary;
using System.Runtime.InteropServices;
using DeepSeek.Tensors;

namespace DeepSeek.Gpu;

/// <summary>Turns rows as files have them into rows as kernels read them: block after block into plane after plane (<c>Kernels/Formats/Planes.cs</c>). Numbers stay what they are.</summary>
internal static unsafe class RowPacking
{
    /// <summary>Packs a row.</summary>
    /// <param name="weight">The matrix.</param>
    /// <param name="row">The row.</param>
    /// <param name="format">The device's form.</param>
    /// <param name="target">Exactly the row's bytes.</param>
    public static void Pack(Weight weight, int row, GpuFormat format, Span<byte> target)
    {
        target.Clear();
        var source = new ReadOnlySpan<byte>((void*)weight.Row(row), checked((int)weight.RowBytes));
        int columns = weight.Columns, groups = (columns + 31) / 32;
        switch (format)
        {
            case GpuFormat.F32: Dequantise.Row(weight, row, MemoryMarshal.Cast<byte, float>(target)[..columns]); return;
            case GpuFormat.F16 or GpuFormat.BF16: source.CopyTo(target); return;
            case GpuFormat.F8: PackF8(weight, row, source, target); return;
        }
        DTypeInfo info = weight.Type.Info();
        Span<byte> q = stackalloc byte[256];
        for (int block = 0, g = 0; g < groups; block++, g += info.BlockElements / 32)
        {
            ReadOnlySpan<byte> b = source.Slice(block * info.BlockBytes, info.BlockBytes);
            switch (weight.Type)
            {
                case DType.Q8_0:
                    b[2..].CopyTo(target[(32 * g)..]);
                    b[..2].CopyTo(target[(32 * groups + 2 * g)..]);
                    break;
                case DType.Q4_0 or DType.IQ4_NL:
                    b[2..].CopyTo(target[(16 * g)..]);
                    b[..2].CopyTo(target[(16 * groups + 2 * g)..]);
                    break;
                case DType.Q4_1:
                    b[4..].CopyTo(target[(16 * g)..]);
                    b[..4].CopyTo(target[(16 * groups + 4 * g)..]);
                    break;
                case DType.MXFP4:
                    b[1..].CopyTo(target[(16 * g)..]);
                    target[16 * groups + g] = b[0];
                    break;
                case DType.Q5_0:
                    b[6..].CopyTo(target[(16 * g)..]);
                    Fifth(b[2..6], target[(16 * groups + 4 * g)..]);
                    b[..2].CopyTo(target[(20 * groups + 2 * g)..]);
                    break;
                case DType.Q5_1:
                    b[8..].CopyTo(target[(16 * g)..]);
                    Fifth(b[4..8], target[(16 * groups + 4 * g)..]);
                    b[..4].CopyTo(target[(20 * groups + 4 * g)..]);
                    break;
                case DType.Q2_K:
                    for (int i = 0; i < 256; i++) q[i] = (byte)(b[16 + i / 128 * 32 + i % 32] >> i / 32 % 4 * 2 & 3);
                    Pairs(q, 0, target[(8 * g)..]);
                    b[..16].CopyTo(target[(8 * groups + 2 * g)..]);
                    b[80..84].CopyTo(target[(10 * groups + g / 2)..]);
                    break;
                case DType.Q3_K:
                    for (int i = 0; i < 256; i++) q[i] = (byte)(b[32 + i / 128 * 32 + i % 32] >> i / 32 % 4 * 2 & 3 | (b[i % 32] >> i / 32 & 1) << 2);
                    Pairs(q, 0, target[(8 * g)..]);
                    Bits(q, 2, target[(8 * groups + 4 * g)..]);
                    for (int s = 0; s < 16; s++) target[12 * groups + 2 * g + s] = (byte)(((b[96 + s % 8] >> s / 8 * 4 & 15) | (b[104 + s % 4] >> s / 4 * 2 & 3) << 4) - 32);
                    b[108..110].CopyTo(target[(14 * groups + g / 4)..]);
                    break;
                case DType.Q4_K:
                    for (int i = 0; i < 256; i++) q[i] = (byte)(b[16 + i / 64 * 32 + i % 32] >> i / 32 % 2 * 4 & 15);
                    Nibbles(q, target[(16 * g)..]);
                    ScalesAndMinima(b, target[(16 * groups + 2 * g)..]);
                    b[..4].CopyTo(target[(18 * groups + g / 2)..]);
                    break;
                case DType.Q5_K:
                    for (int i = 0; i < 256; i++) q[i] = (byte)(b[48 + i / 64 * 32 + i % 32] >> i / 32 % 2 * 4 & 15 | (b[16 + i % 32] >> i / 32 & 1) << 4);
                    Nibbles(q, target[(16 * g)..]);
                    Bits(q, 4, target[(16 * groups + 4 * g)..]);
                    ScalesAndMinima(b, target[(20 * groups + 2 * g)..]);
                    b[..4].CopyTo(target[(22 * groups + g / 2)..]);
                    break;
                case DType.Q6_K:
                    for (int i = 0; i < 256; i++) q[i] = (byte)(b[i / 128 * 64 + i / 32 % 2 * 32 + i % 32] >> i / 64 % 2 * 4 & 15 | (b[128 + i / 128 * 32 + i % 32] >> i / 32 % 4 * 2 & 3) << 4);
                    Nibbles(q, target[(16 * g)..]);
                    Pairs(q, 4, target[(16 * groups + 8 * g)..]);
                    b[192..208].CopyTo(target[(24 * groups + 2 * g)..]);
                    b[208..210].CopyTo(target[(26 * groups + g / 4)..]);
                    break;
                case DType.IQ4_XS:
                    b[8..136].CopyTo(target[(16 * g)..]);
                    int high = BinaryPrimitives.ReadUInt16LittleEndian(b[2..]);
                    for (int s = 0; s < 8; s++) target[16 * groups + g + s] = (byte)((b[4 + s / 2] >> s % 2 * 4 & 15 | (high >> s * 2 & 3) << 4) - 32);
                    b[..2].CopyTo(target[(17 * groups + g / 4)..]);
                    break;
                default:
                    LatticeBlocks.Expand(weight.Type, b, MemoryMarshal.Cast<byte, sbyte>(target.Slice(32 * g, 256)), MemoryMarshal.Cast<byte, float>(target.Slice(32 * groups + 8 * g, 64)));
                    break;
            }
        }
    }

    private static void PackF8(Weight weight, int row, ReadOnlySpan<byte> source, Span<byte> target)
    {
        source.CopyTo(target);
        Span<float> scales = MemoryMarshal.Cast<byte, float>(target[((weight.Columns + 3) / 4 * 4)..]);
        if (weight.Scales is not { } s)
        {
            scales[0] = 1;
            return;
        }
        byte* from = (byte*)s.Data + (long)((row + s.RowOffset) / s.BlockRows) * s.Stride * s.Type.Info().BlockBytes;
        for (int block = 0; block * s.BlockColumns < weight.Columns; block++) scales[block] = Dequantise.Scale(s.Type, from, block);
    }

    /// <summary>The low four bits of whole groups.</summary>
    private static void Nibbles(ReadOnlySpan<byte> q, Span<byte> plane)
    {
        for (int g = 0; g < q.Length / 32; g++)
            for (int j = 0; j < 16; j++) plane[16 * g + j] = (byte)(q[32 * g + j] & 15 | (q[32 * g + 16 + j] & 15) << 4);
    }

    /// <summary>Two bits, from <paramref name="shift"/> on, of whole groups.</summary>
    private static void Pairs(ReadOnlySpan<byte> q, int shift, Span<byte> plane)
    {
        for (int half = 0; half < q.Length / 16; half++)
            for (int b = 0; b < 4; b++)
                plane[4 * half + b] = (byte)((q[16 * half + b] >> shift & 3) | (q[16 * half + 4 + b] >> shift & 3) << 2 | (q[16 * half + 8 + b] >> shift & 3) << 4 | (q[16 * half + 12 + b] >> shift & 3) << 6);
    }

    /// <summary>A single bit of whole groups.</summary>
    private static void Bits(ReadOnlySpan<byte> q, int shift, Span<byte> plane)
    {
        for (int i = 0; i < q.Length; i++) plane[i / 32 * 4 + i % 4] |= (byte)((q[i] >> shift & 1) << i / 4 % 8);
    }

    /// <summary>The fifth bits of a legacy block: bit e of a word for element e.</summary>
    private static void Fifth(ReadOnlySpan<byte> bits, Span<byte> plane)
    {
        uint word = BinaryPrimitives.ReadUInt32LittleEndian(bits);
        for (int e = 0; e < 32; e++) plane[e % 4] |= (byte)((word >> e & 1) << e / 4);
    }

    /// <summary>The packed six-bit scales and minima of Q4_K and Q5_K, a byte each.</summary>
    private static void ScalesAndMinima(ReadOnlySpan<byte> block, Span<byte> plane)
    {
        for (int s = 0; s < 8; s++)
        {
            (int scale, int minimum) = KBlocks.ScaleAndMinimum(block[4..16], s);
            (plane[2 * s], plane[2 * s + 1]) = ((byte)scale, (byte)minimum);
        }
    }
}

/// <summary>Blocks of lattice points and of ternary digits as signed bytes with a float32 scale for every 16: exactly what they stand for.</summary>
internal static class LatticeBlocks
{
    /// <param name="type">The block's format.</param>
    /// <param name="b">The block.</param>
    /// <param name="q">Its integers. [256]</param>
    /// <param name="scales">Their scales. [16]</param>
    public static void Expand(DType type, ReadOnlySpan<byte> b, Span<sbyte> q, Span<float> scales)
    {
        float d = type switch { DType.IQ1_M => MiddleScale(b), DType.TQ1_0 => Dequantise.Half(b[52..]), DType.TQ2_0 => Dequantise.Half(b[64..]), _ => Dequantise.Half(b) };
        switch (type)
        {
            case DType.IQ2_XXS:
                for (int i = 0; i < 32; i++)
                {
                    uint rest = BinaryPrimitives.ReadUInt32LittleEndian(b[(6 + i / 4 * 8)..]);
                    scales[i / 2] = d * (0.5f + (rest >> 28)) * 0.25f;
                    Signed(Grids.Iq2Xxs(b[2 + i / 4 * 8 + i % 4]), Even(rest >> 7 * (i % 4)), q.Slice(8 * i, 8));
                }
                break;
            case DType.IQ2_XS:
                for (int i = 0; i < 32; i++)
                {
                    ushort point = BinaryPrimitives.ReadUInt16LittleEndian(b[(2 + i * 2)..]);
                    scales[i / 2] = d * (0.5f + (b[66 + i / 4] >> i / 2 % 2 * 4 & 15)) * 0.25f;
                    Signed(Grids.Iq2Xs(point & 511), Even((uint)point >> 9), q.Slice(8 * i, 8));
                }
                break;
            case DType.IQ2_S:
                for (int i = 0; i < 32; i++)
                {
                    scales[i / 2] = d * (0.5f + (b[74 + i / 4] >> i / 2 % 2 * 4 & 15)) * 0.25f;
                    Signed(Grids.Iq2S(b[2 + i] | (b[66 + i / 4] >> i % 4 * 2 & 3) << 8), b[34 + i], q.Slice(8 * i, 8));
                }
                break;
            case DType.IQ3_XXS:
                for (int i = 0; i < 64; i++)
                {
                    uint rest = BinaryPrimitives.ReadUInt32LittleEndian(b[(66 + i / 8 * 4)..]);
                    scales[i / 4] = d * (0.5f + (rest >> 28)) * 0.5f;
                    Signed(Grids.Iq3Xxs(b[2 + i]), Even(rest >> 7 * (i / 2 % 4)) >> i % 2 * 4, q.Slice(4 * i, 4));
                }
                break;
            case DType.IQ3_S:
                for (int i = 0; i < 64; i++)
                {
                    scales[i / 4] = d * (1 + 2 * (b[106 + i / 16] >> i / 8 % 2 * 4 & 15));
                    Signed(Grids.Iq3S(b[2 + i] | (b[66 + i / 8] >> i % 8 & 1) << 8), b[74 + i / 2] >> i % 2 * 4, q.Slice(4 * i, 4));
                }
                break;
            case DType.IQ1_S:
                for (int i = 0; i < 32; i++)
                {
                    int high = BinaryPrimitives.ReadUInt16LittleEndian(b[(34 + i / 4 * 2)..]);
                    scales[i / 2] = d * (2 * (high >> 12 & 7) + 1) * 0.125f;
                    Offset(Grids.Iq1S(b[2 + i] | (high >> i % 4 * 3 & 7) << 8), high >= 0x8000, q.Slice(8 * i, 8));
                }
                break;
            case DType.IQ1_M:
                for (int i = 0; i < 32; i++)
                {
                    int high = b[32 + i / 2] >> i % 2 * 4 & 15, scale = BinaryPrimitives.ReadUInt16LittleEndian(b[(48 + i / 8 * 2)..]) >> i / 2 % 4 * 3 & 7;
                    scales[i / 2] = d * (2 * scale + 1) * 0.125f;
                    Offset(Grids.Iq1S(b[i] | (high & 7) << 8), high >= 8, q.Slice(8 * i, 8));
                }
                break;
            case DType.TQ1_0:
                scales.Fill(d);
                int o = Digits(b[..32], 5, q, 0);
                o = Digits(b[32..48], 5, q, o);
                Digits(b[48..52], 4, q, o);
                break;
            default: // TQ2_0
                scales.Fill(d);
                for (int i = 0; i < 256; i++) q[i] = (sbyte)((b[i / 128 * 32 + i % 32] >> i / 32 % 4 * 2 & 3) - 1);
                break;
        }
    }

    /// <summary>The scale of IQ1_M, four bits of it above each word of small scales.</summary>
    private static float MiddleScale(ReadOnlySpan<byte> b)
    {
        int bits = 0;
        for (int k = 0; k < 4; k++) bits |= BinaryPrimitives.ReadUInt16LittleEndian(b[(48 + k * 2)..]) >> 12 << 4 * k;
        return SmallFloats.FromF16((ushort)bits);
    }

    /// <summary>Eight signs from seven bits: the eighth makes the number of minus signs even.</summary>
    private static int Even(uint seven) => (int)(seven & 127) | (int.PopCount((int)seven & 127) & 1) << 7;

    private static void Signed(ulong point, int signs, Span<sbyte> q)
    {
        for (int j = 0; j < q.Length; j++)
        {
            int value = (byte)(point >> 8 * j);
            q[j] = (sbyte)((signs >> j & 1) == 0 ? value : -value);
        }
    }

    /// <summary>Eighths: point ± ⅛.</summary>
    private static void Offset(ulong point, bool down, Span<sbyte> q)
    {
        for (int j = 0; j < q.Length; j++) q[j] = (sbyte)(8 * (sbyte)(point >> 8 * j) + (down ? -1 : 1));
    }

    private static int Digits(ReadOnlySpan<byte> bytes, int count, Span<sbyte> q, int o)
    {
        for (int n = 0, power = 1; n < count; n++, power *= 3)
            foreach (byte b in bytes) q[o++] = (sbyte)(((byte)(b * power) * 3 >> 8) - 1);
        return o;
    }
}
