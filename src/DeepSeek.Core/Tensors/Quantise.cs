using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace DeepSeek.Tensors;

/// <summary>The way back from float32 to stored blocks, for the formats that can be written. The simple formats round as the reference implementation does, to the same bytes.</summary>
internal static class Quantise
{
    /// <summary>Whether <see cref="Row"/> writes that format.</summary>
    public static bool Writes(DType type) => type is DType.F32 or DType.F16 or DType.BF16 or DType.Q4_0 or DType.Q4_1 or DType.Q5_0 or DType.Q5_1 or DType.Q8_0 or DType.Q4_K or DType.Q5_K or DType.Q6_K;

    /// <summary>Consecutive blocks: <paramref name="x"/> is a whole number of them, <paramref name="blocks"/> has exactly their bytes.</summary>
    /// <param name="type">The format.</param>
    /// <param name="x">The numbers.</param>
    /// <param name="blocks">Takes their blocks.</param>
    /// <param name="search">Whether the scales of the simple 4- and 5-bit formats are searched too, as those of K-blocks always are, instead of the reference's.</param>
    /// <exception cref="UnsupportedModelException">The format cannot be written.</exception>
    public static void Row(DType type, ReadOnlySpan<float> x, Span<byte> blocks, bool search = false)
    {
        DTypeInfo info = type.Info();
        if (x.Length % info.BlockElements != 0 || blocks.Length != x.Length / info.BlockElements * info.BlockBytes)
            throw new ArgumentException($"{x.Length} numbers do not make {blocks.Length} bytes of {info.Name}: a block is {info.BlockElements} in {info.BlockBytes} bytes.", nameof(x));
        switch (type)
        {
            case DType.F32:
                MemoryMarshal.AsBytes(x).CopyTo(blocks);
                return;
            case DType.F16:
                for (int i = 0; i < x.Length; i++) BinaryPrimitives.WriteUInt16LittleEndian(blocks[(2 * i)..], SmallFloats.ToF16(x[i]));
                return;
            case DType.BF16:
                for (int i = 0; i < x.Length; i++) BinaryPrimitives.WriteUInt16LittleEndian(blocks[(2 * i)..], SmallFloats.ToBF16(x[i]));
                return;
        }
        for (int i = 0, o = 0; i < x.Length; i += info.BlockElements, o += info.BlockBytes)
        {
            ReadOnlySpan<float> values = x.Slice(i, info.BlockElements);
            Span<byte> block = blocks.Slice(o, info.BlockBytes);
            switch (type)
            {
                case DType.Q4_0: Symmetric(values, block, 8, search); break;
                case DType.Q5_0: Symmetric(values, block, 16, search); break;
                case DType.Q4_1: Affine(values, block, 15, search); break;
                case DType.Q5_1: Affine(values, block, 31, search); break;
                case DType.Q8_0: Q8_0(values, block); break;
                case DType.Q4_K: KQuantise.Affine(values, block, fiveBits: false); break;
                case DType.Q5_K: KQuantise.Affine(values, block, fiveBits: true); break;
                case DType.Q6_K: KQuantise.Symmetric(values, block); break;
                default: throw new UnsupportedModelException($"{info.Name} cannot be written. F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K can.");
            }
        }
    }

    internal static void WriteHalf(Span<byte> b, float value) => BinaryPrimitives.WriteUInt16LittleEndian(b, SmallFloats.ToF16(value));

    private static float Rounded(float value) => SmallFloats.FromF16(SmallFloats.ToF16(value));

    /// <summary>q = ⌊x / d + ½⌋ + half, where d = −(the number of largest magnitude) / half, which so falls on the end of the range that has one step more.</summary>
    private static void Symmetric(ReadOnlySpan<float> x, Span<byte> b, int half, bool search)
    {
        float largest = 0;
        foreach (float v in x)
            if (MathF.Abs(v) > MathF.Abs(largest)) largest = v;
        float d = largest / -half, inverse = d == 0 ? 0 : 1 / d;
        WriteHalf(b, d);
        Span<byte> q = stackalloc byte[32];
        for (int j = 0; j < 32; j++) q[j] = (byte)Math.Clamp((int)((double)x[j] * inverse + (half + 0.5)), 0, 2 * half - 1);
        if (search)
        {
            Span<float> w = stackalloc float[32];
            Span<byte> found = stackalloc byte[32];
            ScaleSearch.Weigh(x, w);
            float plain = ScaleSearch.RoundSymmetric(x, w, Dequantise.Half(b), half, q), fit = Rounded(ScaleSearch.FitSymmetric(x, w, half));
            if (ScaleSearch.RoundSymmetric(x, w, fit, half, found) < plain)
            {
                WriteHalf(b, fit);
                q = found;
            }
        }
        Pack(b[2..], half == 16, q);
    }

    /// <summary>q = ⌊(x − min) / d + ½⌋ with d = (max − min) / steps.</summary>
    private static void Affine(ReadOnlySpan<float> x, Span<byte> b, int steps, bool search)
    {
        float min = float.MaxValue, max = float.MinValue;
        foreach (float v in x) (min, max) = (Math.Min(min, v), Math.Max(max, v));
        float d = (max - min) / steps, inverse = d == 0 ? 0 : 1 / d;
        WriteHalf(b, d);
        WriteHalf(b[2..], min);
        Span<byte> q = stackalloc byte[32];
        for (int j = 0; j < 32; j++) q[j] = (byte)Math.Clamp((int)((x[j] - min) * inverse + 0.5f), 0, steps);
        if (search)
        {
            Span<float> w = stackalloc float[32];
            Span<byte> found = stackalloc byte[32];
            ScaleSearch.Weigh(x, w);
            float plain = ScaleSearch.RoundAffine(x, w, Dequantise.Half(b), -Dequantise.Half(b[2..]), steps, q);
            (float scale, float minimum) = ScaleSearch.FitAffine(x, w, steps, onlyNegative: false);
            if (ScaleSearch.RoundAffine(x, w, Rounded(scale), Rounded(minimum), steps, found) < plain)
            {
                WriteHalf(b, scale);
                WriteHalf(b[2..], -minimum);
                q = found;
            }
        }
        Pack(b[4..], steps == 31, q);
    }

    /// <summary>Fifth bits (where there are any), then nibbles: j low, j + 16 high.</summary>
    private static void Pack(Span<byte> b, bool fifthBits, ReadOnlySpan<byte> q)
    {
        uint high = 0;
        for (int j = 0; j < 32; j++) high |= (uint)(q[j] >> 4) << j;
        if (fifthBits) BinaryPrimitives.WriteUInt32LittleEndian(b, high);
        Span<byte> nibbles = fifthBits ? b[4..] : b;
        for (int j = 0; j < 16; j++) nibbles[j] = (byte)(q[j] & 15 | q[j + 16] << 4);
    }

    private static void Q8_0(ReadOnlySpan<float> x, Span<byte> b)
    {
        float largest = 0;
        foreach (float v in x) largest = Math.Max(largest, MathF.Abs(v));
        float d = largest / 127, inverse = d == 0 ? 0 : 1 / d;
        WriteHalf(b, d);
        for (int j = 0; j < 32; j++) b[2 + j] = (byte)(sbyte)MathF.Round(x[j] * inverse, MidpointRounding.AwayFromZero);
    }
}
