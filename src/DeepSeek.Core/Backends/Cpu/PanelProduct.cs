using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using DeepSeek.Backends.Cpu.Dot;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// Sums of products of bytes, for 16 rows of a packed panel and 4 tokens of a tile: rows are the lanes, four columns each. Sums: [4 tokens, 16 rows].
/// </summary>
internal unsafe interface IPanelSum
{
    /// <param name="w">q + 128 of 16 rows × 4 columns, vectors 64 bytes apart.</param>
    /// <param name="x">Four columns of each of four tokens, 16 bytes apart.</param>
    /// <param name="count">How many times four columns: 4 or 8.</param>
    /// <param name="least">The least q of the format.</param>
    /// <param name="negative">−128 times the tokens' sums of x.</param>
    /// <param name="sums">Σ q·x.</param>
    static abstract void Sum(byte* w, int* x, int count, int least, int* negative, int* sums);
}

/// <summary>VPDPBUSD of 256 bits.</summary>
internal readonly unsafe struct PanelSumVnni : IPanelSum
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Sum(byte* w, int* x, int count, int least, int* negative, int* sums)
    {
        Vector256<int> a0 = Vector256.Create(negative[0]), a1 = Vector256.Create(negative[1]), a2 = Vector256.Create(negative[2]), a3 = Vector256.Create(negative[3]);
        Vector256<int> b0 = a0, b1 = a1, b2 = a2, b3 = a3;
        for (int k = 0; k < count; k++, w += 64, x += 4)
        {
            Vector256<byte> u = Vector256.Load(w), v = Vector256.Load(w + 32);
            Vector256<sbyte> x0 = Vector256.Create(x[0]).AsSByte(), x1 = Vector256.Create(x[1]).AsSByte(), x2 = Vector256.Create(x[2]).AsSByte(), x3 = Vector256.Create(x[3]).AsSByte();
            a0 = AvxVnni.MultiplyWideningAndAdd(a0, u, x0);
            b0 = AvxVnni.MultiplyWideningAndAdd(b0, v, x0);
            a1 = AvxVnni.MultiplyWideningAndAdd(a1, u, x1);
            b1 = AvxVnni.MultiplyWideningAndAdd(b1, v, x1);
            a2 = AvxVnni.MultiplyWideningAndAdd(a2, u, x2);
            b2 = AvxVnni.MultiplyWideningAndAdd(b2, v, x2);
            a3 = AvxVnni.MultiplyWideningAndAdd(a3, u, x3);
            b3 = AvxVnni.MultiplyWideningAndAdd(b3, v, x3);
        }
        PanelProduct.Store(sums, a0, a1, a2, a3, b0, b1, b2, b3);
    }
}

/// <summary>VPMADDUBSW where q − least is at most 15: eight sums of pairs stay within 16 bits (8·2·15·127).</summary>
internal readonly unsafe struct PanelSumFour : IPanelSum
{
    public const int Range = 15;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Sum(byte* w, int* x, int count, int least, int* negative, int* sums)
    {
        Vector256<short> a0 = Vector256<short>.Zero, a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
        Vector256<byte> offset = Vector256.Create((byte)(128 + least));
        for (int k = 0; k < count; k++, w += 64, x += 4)
        {
            Vector256<byte> u = Vector256.Load(w) - offset, v = Vector256.Load(w + 32) - offset;
            Vector256<sbyte> x0 = Vector256.Create(x[0]).AsSByte(), x1 = Vector256.Create(x[1]).AsSByte();
            a0 += Avx2.MultiplyAddAdjacent(u, x0);
            b0 += Avx2.MultiplyAddAdjacent(v, x0);
            a1 += Avx2.MultiplyAddAdjacent(u, x1);
            b1 += Avx2.MultiplyAddAdjacent(v, x1);
            Vector256<sbyte> x2 = Vector256.Create(x[2]).AsSByte(), x3 = Vector256.Create(x[3]).AsSByte();
            a2 += Avx2.MultiplyAddAdjacent(u, x2);
            b2 += Avx2.MultiplyAddAdjacent(v, x2);
            a3 += Avx2.MultiplyAddAdjacent(u, x3);
            b3 += Avx2.MultiplyAddAdjacent(v, x3);
        }
        Vector256<short> one = Vector256<short>.One;
        // Σ q·x is Σ (q − least)·x plus least times Σ x.
        Vector256<int> m0 = Vector256.Create(-(negative[0] >> 7) * least), m1 = Vector256.Create(-(negative[1] >> 7) * least);
        Vector256<int> m2 = Vector256.Create(-(negative[2] >> 7) * least), m3 = Vector256.Create(-(negative[3] >> 7) * least);
        PanelProduct.Store(sums, Avx2.MultiplyAddAdjacent(a0, one) + m0, Avx2.MultiplyAddAdjacent(a1, one) + m1, Avx2.MultiplyAddAdjacent(a2, one) + m2, Avx2.MultiplyAddAdjacent(a3, one) + m3,
            Avx2.MultiplyAddAdjacent(b0, one) + m0, Avx2.MultiplyAddAdjacent(b1, one) + m1, Avx2.MultiplyAddAdjacent(b2, one) + m2, Avx2.MultiplyAddAdjacent(b3, one) + m3);
    }
}

/// <summary>VPMADDUBSW where q − least is at most 63: two sums of pairs stay within 16 bits (2·2·63·127).</summary>
internal readonly unsafe struct PanelSumSix : IPanelSum
{
    public const int Range = 63;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Sum(byte* w, int* x, int count, int least, int* negative, int* sums)
    {
        // Σ q·x is Σ (q − least)·x plus least times Σ x.
        Vector256<int> a0 = Vector256.Create(-(negative[0] >> 7) * least), a1 = Vector256.Create(-(negative[1] >> 7) * least);
        Vector256<int> a2 = Vector256.Create(-(negative[2] >> 7) * least), a3 = Vector256.Create(-(negative[3] >> 7) * least);
        Vector256<int> b0 = a0, b1 = a1, b2 = a2, b3 = a3;
        Vector256<byte> offset = Vector256.Create((byte)(128 + least));
        for (int k = 0; k < count; k += 2, w += 128, x += 8)
        {
            Vector256<byte> u = Vector256.Load(w) - offset, v = Vector256.Load(w + 32) - offset, p = Vector256.Load(w + 64) - offset, q = Vector256.Load(w + 96) - offset;
            Add(ref a0, ref b0, u, v, p, q, x[0], x[4]);
            Add(ref a1, ref b1, u, v, p, q, x[1], x[5]);
            Add(ref a2, ref b2, u, v, p, q, x[2], x[6]);
            Add(ref a3, ref b3, u, v, p, q, x[3], x[7]);
        }
        PanelProduct.Store(sums, a0, a1, a2, a3, b0, b1, b2, b3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(ref Vector256<int> a, ref Vector256<int> b, Vector256<byte> u, Vector256<byte> v, Vector256<byte> p, Vector256<byte> q, int x, int y)
    {
        Vector256<sbyte> first = Vector256.Create(x).AsSByte(), second = Vector256.Create(y).AsSByte();
        a += Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(u, first) + Avx2.MultiplyAddAdjacent(p, second), Vector256<short>.One);
        b += Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(v, first) + Avx2.MultiplyAddAdjacent(q, second), Vector256<short>.One);
    }
}

/// <summary>VPMADDUBSW for all bytes: the sign of q moves to x, pairs stay within 16 bits (2·128·127).</summary>
internal readonly unsafe struct PanelSumEight : IPanelSum
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Sum(byte* w, int* x, int count, int least, int* negative, int* sums)
    {
        Vector256<int> a0 = Vector256<int>.Zero, a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
        for (int k = 0; k < count; k++, w += 64, x += 4)
        {
            Vector256<sbyte> u = (Vector256.Load(w) ^ Vector256.Create((byte)0x80)).AsSByte(), v = (Vector256.Load(w + 32) ^ Vector256.Create((byte)0x80)).AsSByte();
            Vector256<byte> p = Avx2.Abs(u), q = Avx2.Abs(v);
            Add(ref a0, ref b0, u, v, p, q, x[0]);
            Add(ref a1, ref b1, u, v, p, q, x[1]);
            Add(ref a2, ref b2, u, v, p, q, x[2]);
            Add(ref a3, ref b3, u, v, p, q, x[3]);
        }
        PanelProduct.Store(sums, a0, a1, a2, a3, b0, b1, b2, b3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(ref Vector256<int> a, ref Vector256<int> b, Vector256<sbyte> u, Vector256<sbyte> v, Vector256<byte> p, Vector256<byte> q, int x)
    {
        Vector256<sbyte> four = Vector256.Create(x).AsSByte();
        a += Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(p, Avx2.Sign(four, u)), Vector256<short>.One);
        b += Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(q, Avx2.Sign(four, v)), Vector256<short>.One);
    }
}

/// <summary>SDOT by element: one register of activations serves four tokens.</summary>
internal readonly unsafe struct PanelSumArm : IPanelSum
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Sum(byte* w, int* x, int count, int least, int* negative, int* sums)
    {
        for (int half = 0; half < 2; half++) Half(w + 32 * half, x, count, sums + 8 * half);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Half(byte* w, int* x, int count, int* sums)
    {
        Vector128<int> a0 = Vector128<int>.Zero, a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
        for (int k = 0; k < count; k++, w += 64, x += 4)
        {
            Vector128<sbyte> u = (Vector128.Load(w) ^ Vector128.Create((byte)0x80)).AsSByte(), v = (Vector128.Load(w + 16) ^ Vector128.Create((byte)0x80)).AsSByte(), t = Vector128.Load(x).AsSByte();
            a0 = Dp.DotProductBySelectedQuadruplet(a0, u, t, 0);
            b0 = Dp.DotProductBySelectedQuadruplet(b0, v, t, 0);
            a1 = Dp.DotProductBySelectedQuadruplet(a1, u, t, 1);
            b1 = Dp.DotProductBySelectedQuadruplet(b1, v, t, 1);
            a2 = Dp.DotProductBySelectedQuadruplet(a2, u, t, 2);
            b2 = Dp.DotProductBySelectedQuadruplet(b2, v, t, 2);
            a3 = Dp.DotProductBySelectedQuadruplet(a3, u, t, 3);
            b3 = Dp.DotProductBySelectedQuadruplet(b3, v, t, 3);
        }
        Store(sums, a0, b0);
        Store(sums + 16, a1, b1);
        Store(sums + 32, a2, b2);
        Store(sums + 48, a3, b3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(int* sums, Vector128<int> a, Vector128<int> b)
    {
        a.Store(sums);
        b.Store(sums + 4);
    }
}

/// <summary>How a format's scales and minima lie, as a type argument.</summary>
internal interface IPanelShape
{
    /// <summary>Groups of a step's 32 columns: 1 or 2.</summary>
    static abstract int Groups { get; }

    static abstract bool HasMinima { get; }
}

internal readonly struct PanelPlain : IPanelShape
{
    public static int Groups => 1;
    public static bool HasMinima => false;
}

internal readonly struct PanelMinima : IPanelShape
{
    public static int Groups => 1;
    public static bool HasMinima => true;
}

internal readonly struct PanelSixteens : IPanelShape
{
    public static int Groups => 2;
    public static bool HasMinima => false;
}

internal readonly struct PanelSixteensMinima : IPanelShape
{
    public static int Groups => 2;
    public static bool HasMinima => true;
}

/// <summary>
/// The product of packed byte panels by .NET's own intrinsics, where no assembled kernel runs: the same argument block, panels and tiles (<see cref="BytePanels"/>), tiles of four tokens,
/// and the same order of float sums.
/// </summary>
internal static unsafe class PanelProduct
{
    /// <summary>Tokens of a tile.</summary>
    public const int Tokens = 4;

    private const int HalfRows = 16;

    /// <summary>The product for a format; null where the processor has no products of bytes.</summary>
    public static delegate*<long*, void> Of(Capabilities capabilities, BlockFormat format)
    {
        int range = format.Most - format.Least;
        if (capabilities.AvxVnni) return Of<PanelSumVnni>(format);
        if (capabilities.Avx2) return range <= PanelSumFour.Range ? Of<PanelSumFour>(format) : range <= PanelSumSix.Range ? Of<PanelSumSix>(format) : Of<PanelSumEight>(format);
        return capabilities.ArmDot ? Of<PanelSumArm>(format) : null;
    }

    private static delegate*<long*, void> Of<TSum>(BlockFormat format) where TSum : struct, IPanelSum
        => format.GroupElements == 32
            ? format.HasMinima ? &Run<TSum, PanelMinima> : &Run<TSum, PanelPlain>
            : format.HasMinima ? &Run<TSum, PanelSixteensMinima> : &Run<TSum, PanelSixteens>;

    /// <summary>Tiles times a panel. Fields: as the assembled kernels have them; the last is the format's least q.</summary>
    [SkipLocalsInit, MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Run<TSum, TShape>(long* fields) where TSum : struct, IPanelSum where TShape : struct, IPanelShape
    {
        const int tileStep = 52 * Tokens, factors = 32 * Tokens;
        int* sums = stackalloc int[Tokens * HalfRows];
        float* results = stackalloc float[Tokens * HalfRows];
        int panelStep = 1024 + 128 * TShape.Groups * (TShape.HasMinima ? 2 : 1), least = (int)fields[10];
        byte* tile = (byte*)fields[1], next = (byte*)fields[8], y = (byte*)fields[3];
        long steps = fields[2], stride = fields[4], advance = fields[9];
        for (long n = fields[5]; n > 0; n--, tile += steps * tileStep, y += Tokens * stride)
            for (int half = 0; half < 2; half++)
            {
                int rows = BitOperations.PopCount((ulong)fields[6 + half]);
                if (rows == 0) break;
                byte* w = (byte*)fields[0] + 512 * half, x = tile;
                float* scales = (float*)((byte*)fields[0] + 1024) + HalfRows * half;
                for (int i = 0; i < Tokens * HalfRows; i += 8) Vector256<float>.Zero.Store(results + i);
                for (long step = 0; step < steps; step++, w += panelStep, x += tileStep, scales = (float*)((byte*)scales + panelStep))
                {
                    if (half == 0 && Sse.IsSupported)
                    {
                        Sse.Prefetch1(next);
                        Sse.Prefetch1(next + 64);
                        next += advance;
                    }
                    int* negative = (int*)(x + factors) + (TShape.Groups == 1 ? 0 : 3 * Tokens);
                    float* tokenScales = (float*)(x + factors) + Tokens, tokenSums = tokenScales + Tokens;
                    for (int g = 0; g < TShape.Groups; g++)
                    {
                        TSum.Sum(w + 512 / TShape.Groups * g, (int*)(x + 128 / TShape.Groups * g), 8 / TShape.Groups, least, negative + Tokens * g, sums);
                        Vector256<float> low = Vector256.Load(scales + 32 * g), high = Vector256.Load(scales + 32 * g + 8);
                        for (int t = 0; t < Tokens; t++)
                        {
                            Vector256<float> scale = Vector256.Create(tokenScales[t]);
                            Add(results + HalfRows * t, Vector256.ConvertToSingle(Vector256.Load(sums + HalfRows * t)), low * scale);
                            Add(results + HalfRows * t + 8, Vector256.ConvertToSingle(Vector256.Load(sums + HalfRows * t + 8)), high * scale);
                        }
                        if (!TShape.HasMinima) continue;
                        low = Vector256.Load(scales + 32 * TShape.Groups + 32 * g);
                        high = Vector256.Load(scales + 32 * TShape.Groups + 32 * g + 8);
                        for (int t = 0; t < Tokens; t++)
                        {
                            Vector256<float> sum = Vector256.Create(TShape.Groups == 1 ? tokenSums[t] : negative[Tokens * g + t] * tokenScales[t]);
                            Add(results + HalfRows * t, sum, low);
                            Add(results + HalfRows * t + 8, sum, high);
                        }
                    }
                }
                for (int t = 0; t < Tokens; t++)
                {
                    float* to = (float*)(y + t * stride) + HalfRows * half;
                    for (int r = 0; r < rows; r++) to[r] = results[HalfRows * t + r];
                }
            }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(float* to, Vector256<float> a, Vector256<float> b) => Vector256.FusedMultiplyAdd(a, b, Vector256.Load(to)).Store(to);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(int* sums, Vector256<int> a0, Vector256<int> a1, Vector256<int> a2, Vector256<int> a3, Vector256<int> b0, Vector256<int> b1, Vector256<int> b2, Vector256<int> b3)
    {
        a0.Store(sums);
        b0.Store(sums + 8);
        a1.Store(sums + 16);
        b1.Store(sums + 24);
        a2.Store(sums + 32);
        b2.Store(sums + 40);
        a3.Store(sums + 48);
        b3.Store(sums + 56);
    }
}
