using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using DeepSeek.Backends.Cpu.Dot;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>A sum of byte products: acc + Σ w·x by fours: lane i takes elements 4i … 4i + 3.</summary>
internal interface IByteProduct
{
    static abstract Vector256<int> Add(Vector256<int> sum, Vector256<sbyte> w, Vector256<sbyte> x);
}

/// <summary>VPDPBUSD of 256 bits; the sign of w moves to x, because its first operand is unsigned.</summary>
internal readonly struct ByteProductVnni : IByteProduct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Add(Vector256<int> sum, Vector256<sbyte> w, Vector256<sbyte> x) => AvxVnni.MultiplyWideningAndAdd(sum, Avx2.Abs(w), Avx2.Sign(x, w));
}

/// <summary>VPMADDUBSW, VPMADDWD: pairs stay within 2·128·127, which 16 bits hold.</summary>
internal readonly struct ByteProductAvx2 : IByteProduct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Add(Vector256<int> sum, Vector256<sbyte> w, Vector256<sbyte> x)
        => sum + Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(Avx2.Abs(w), Avx2.Sign(x, w)), Vector256<short>.One);
}

/// <summary>SDOT.</summary>
internal readonly struct ByteProductArm : IByteProduct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Add(Vector256<int> sum, Vector256<sbyte> w, Vector256<sbyte> x)
        => Vector256.Create(Dp.DotProduct(sum.GetLower(), w.GetLower(), x.GetLower()), Dp.DotProduct(sum.GetUpper(), w.GetUpper(), x.GetUpper()));
}

/// <summary>Portable vectors. Lanes of a half take other elements of the same 16 than elsewhere, which no sum over a group sees.</summary>
internal readonly struct ByteProductPortable : IByteProduct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Add(Vector256<int> sum, Vector256<sbyte> w, Vector256<sbyte> x)
        => sum + Vector256.Create(Half(w.GetLower(), x.GetLower()), Half(w.GetUpper(), x.GetUpper()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<int> Half(Vector128<sbyte> w, Vector128<sbyte> x)
    {
        (Vector128<short> w0, Vector128<short> w1) = Vector128.Widen(w);
        (Vector128<short> x0, Vector128<short> x1) = Vector128.Widen(x);
        (Vector128<int> a, Vector128<int> b) = Vector128.Widen(w0 * x0);
        (Vector128<int> c, Vector128<int> d) = Vector128.Widen(w1 * x1);
        return a + b + (c + d);
    }
}

/// <summary>
/// Products of block formats with quantised activations by .NET's own intrinsics: each weight row is unpacked once, then multiplied with all tokens. Sums of bytes are exact;
/// float sums go over the groups in order, whatever the count of rows and tokens.
/// </summary>
internal static unsafe class IntegerDot
{
    /// <summary>Bytes of working memory that <see cref="Rows"/> wants.</summary>
    public static int ScratchBytes(int columns) => columns + columns / 4 + columns / 4;

    /// <summary>y[t][n] for rows [first, first + count) and all tokens, without bias.</summary>
    public static void Rows(Capabilities capabilities, BlockFormat format, Weight w, int first, int count, QuantisedRows x, Tensor y, byte* scratch)
    {
        if (capabilities.AvxVnni) Rows<ByteProductVnni>(format, w, first, count, x, y, scratch);
        else if (capabilities.Avx2) Rows<ByteProductAvx2>(format, w, first, count, x, y, scratch);
        else if (capabilities.ArmDot) Rows<ByteProductArm>(format, w, first, count, x, y, scratch);
        else Rows<ByteProductPortable>(format, w, first, count, x, y, scratch);
    }

    private static void Rows<TProduct>(BlockFormat format, Weight w, int first, int count, QuantisedRows x, Tensor y, byte* scratch) where TProduct : struct, IByteProduct
    {
        int columns = w.Columns;
        sbyte* q = (sbyte*)scratch;
        float* scales = (float*)(scratch + columns), minima = scales + columns / 16;
        for (int n = first; n < first + count; n++)
        {
            format.Unpack((byte*)w.Row(n), columns, q, scales, minima);
            float* to = (float*)y.Address + n;
            for (int t = 0; t < x.Rows; t++)
            {
                long at = (long)t * columns;
                sbyte* xq = (sbyte*)x.Q + at;
                float* xs = (float*)x.Scales + at / 32, sums = (float*)x.Sums + at / 32;
                float value = format.GroupElements == 32 ? Dot32<TProduct>(q, scales, xq, xs, columns) : Dot16<TProduct>(q, scales, xq, xs, columns);
                if (format.HasMinima) value += format.GroupElements == 32 ? Plain(minima, sums, columns / 32) : Minima16(minima, (int*)x.NegativeLanes + at / 4, xs, columns);
                to[(long)t * y.Stride] = value;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Dot32<TProduct>(sbyte* q, float* scales, sbyte* x, float* xScales, int columns) where TProduct : struct, IByteProduct
    {
        Vector256<float> even = Vector256<float>.Zero, odd = even;
        int k = 0, g = 0;
        for (; k + 64 <= columns; k += 64, g += 2)
        {
            Vector256<int> a = TProduct.Add(Vector256<int>.Zero, Vector256.Load(q + k), Vector256.Load(x + k));
            Vector256<int> b = TProduct.Add(Vector256<int>.Zero, Vector256.Load(q + k + 32), Vector256.Load(x + k + 32));
            even = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(a), Vector256.Create(scales[g] * xScales[g]), even);
            odd = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(b), Vector256.Create(scales[g + 1] * xScales[g + 1]), odd);
        }
        if (k < columns)
        {
            Vector256<int> a = TProduct.Add(Vector256<int>.Zero, Vector256.Load(q + k), Vector256.Load(x + k));
            even = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(a), Vector256.Create(scales[g] * xScales[g]), even);
        }
        return Vector256.Sum(even + odd);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Dot16<TProduct>(sbyte* q, float* scales, sbyte* x, float* xScales, int columns) where TProduct : struct, IByteProduct
    {
        Vector256<float> sum = Vector256<float>.Zero;
        for (int k = 0, g = 0; k < columns; k += 32, g++)
        {
            Vector256<int> a = TProduct.Add(Vector256<int>.Zero, Vector256.Load(q + k), Vector256.Load(x + k));
            Vector256<float> scale = Vector256.Create(Vector128.Create(scales[2 * g]), Vector128.Create(scales[2 * g + 1])) * xScales[g];
            sum = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(a), scale, sum);
        }
        return Vector256.Sum(sum);
    }

    /// <summary>Minima of 16 elements each, from the sums of fours.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Minima16(float* minima, int* negative, float* xScales, int columns)
    {
        Vector256<float> sum = Vector256<float>.Zero;
        for (int g = 0; g < columns / 32; g++)
        {
            Vector256<float> factor = Vector256.Create(Vector128.Create(minima[2 * g]), Vector128.Create(minima[2 * g + 1])) * xScales[g];
            sum = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(Vector256.Load(negative + 8 * g)), factor, sum);
        }
        return -Vector256.Sum(sum);
    }

    private static float Plain(float* a, float* b, int count)
    {
        Vector256<float> sum = Vector256<float>.Zero;
        int i = 0;
        for (; i + 8 <= count; i += 8) sum = Vector256.FusedMultiplyAdd(Vector256.Load(a + i), Vector256.Load(b + i), sum);
        float rest = 0;
        for (; i < count; i++) rest += a[i] * b[i];
        return Vector256.Sum(sum) + rest;
    }
}
