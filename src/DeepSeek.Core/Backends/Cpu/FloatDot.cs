using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// Products of weight rows in a floating-point format with float32 activations. Each number of the result is summed in the same order, whatever the count of rows and tokens.
/// </summary>
internal static unsafe class FloatDot
{
    /// <summary>Row streams of a product with one token.</summary>
    private const int Streams = 4;

    /// <summary>Partial sums of a product: 16 of even stretches of 16 columns, 16 of odd ones.</summary>
    private const int LaneCount = 32;

    /// <summary>y[t][n] for rows [first, first + count) and all tokens.</summary>
    /// <param name="w">The weight.</param>
    /// <param name="first">First row.</param>
    /// <param name="count">Rows.</param>
    /// <param name="x">Activations. [T, Columns]</param>
    /// <param name="y">Products, without bias. [T, Rows]</param>
    /// <param name="row">Working memory for a row. [Columns]</param>
    public static void Rows(Weight w, int first, int count, Tensor x, Tensor y, float* row)
    {
        int n = first;
        if (x.Rows == 1)
        {
            int each = count / Streams;
            switch (w.Type)
            {
                case DType.F32: Quarters<LoadF32>(w, first, each, x, y); break;
                case DType.F16: Quarters<LoadF16>(w, first, each, x, y); break;
                case DType.BF16: Quarters<LoadBF16>(w, first, each, x, y); break;
                case DType.F8E4M3: Quarters<LoadE4M3>(w, first, each, x, y); break;
                default: each = 0; break;
            }
            n += each * Streams;
        }
        for (; n < first + count; n++)
        {
            switch (w.Type)
            {
                case DType.F32: Row<LoadF32>(w, n, (byte*)w.Row(n), w.Scales, x, y); break;
                case DType.F16: Row<LoadF16>(w, n, (byte*)w.Row(n), w.Scales, x, y); break;
                case DType.BF16: Row<LoadBF16>(w, n, (byte*)w.Row(n), w.Scales, x, y); break;
                case DType.F8E4M3: Row<LoadE4M3>(w, n, (byte*)w.Row(n), w.Scales, x, y); break;
                default:
                    FloatRows.Read(w, n, row);
                    Row<LoadF32>(w, n, (byte*)row, null, x, y);
                    break;
            }
        }
    }

    /// <summary>One token: rows from four far places at once, because a stream alone does not keep the memory busy.</summary>
    private static void Quarters<TLoad>(Weight w, int first, int each, Tensor x, Tensor y) where TLoad : struct, IFloatLoader
    {
        float* sums = stackalloc float[Streams], parts = stackalloc float[Streams];
        float* from = (float*)x.Address, to = (float*)y.Address;
        BlockScales? scales = w.Scales;
        long distance = each * w.RowBytes;
        for (int n = first; n < first + each; n++)
        {
            byte* weights = (byte*)w.Row(n);
            if (scales is null)
            {
                Four<TLoad>(weights, distance, from, w.Columns, sums);
            }
            else
            {
                for (int i = 0; i < Streams; i++) sums[i] = 0;
                for (int k = 0; k < w.Columns; k += scales.BlockColumns)
                {
                    Four<TLoad>(weights + k * TLoad.Bytes, distance, from + k, Math.Min(scales.BlockColumns, w.Columns - k), parts);
                    for (int i = 0; i < Streams; i++) sums[i] += FloatRows.Scale(scales, n + i * each, k) * parts[i];
                }
            }
            for (int i = 0; i < Streams; i++) to[n + i * each] = sums[i];
        }
    }

    /// <summary>Four rows times one token.</summary>
    private static void Four<TLoad>(byte* w, long distance, float* x, int count, float* sums) where TLoad : struct, IFloatLoader
    {
        float* lanes = stackalloc float[4 * LaneCount];
        int done = FourRows<TLoad>(w, distance, x, count, lanes);
        for (int r = 0; r < 4; r++) sums[r] = Finish<TLoad>(w + r * distance, x, done, count, lanes + r * LaneCount);
    }

    // The loops stand alone: where a method calls another, the compiler keeps vectors in memory that live across the call, even in the loop before it.

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int FourRows<TLoad>(byte* w0, long distance, float* x, int count, float* lanes) where TLoad : struct, IFloatLoader
    {
        byte* w1 = w0 + distance, w2 = w1 + distance, w3 = w2 + distance;
        Vector512<float> a0 = Vector512<float>.Zero, b0 = a0, a1 = a0, b1 = a0, a2 = a0, b2 = a0, a3 = a0, b3 = a0;
        long i = 0;
        for (; i + 32 <= count; i += 32)
        {
            long at = i * TLoad.Bytes, next = at + 16 * TLoad.Bytes;
            Vector512<float> v = Vector512.Load(x + i), u = Vector512.Load(x + i + 16);
            a0 = Vector512.FusedMultiplyAdd(TLoad.Load(w0 + at), v, a0);
            a1 = Vector512.FusedMultiplyAdd(TLoad.Load(w1 + at), v, a1);
            a2 = Vector512.FusedMultiplyAdd(TLoad.Load(w2 + at), v, a2);
            a3 = Vector512.FusedMultiplyAdd(TLoad.Load(w3 + at), v, a3);
            b0 = Vector512.FusedMultiplyAdd(TLoad.Load(w0 + next), u, b0);
            b1 = Vector512.FusedMultiplyAdd(TLoad.Load(w1 + next), u, b1);
            b2 = Vector512.FusedMultiplyAdd(TLoad.Load(w2 + next), u, b2);
            b3 = Vector512.FusedMultiplyAdd(TLoad.Load(w3 + next), u, b3);
        }
        Store(lanes, a0, b0);
        Store(lanes + LaneCount, a1, b1);
        Store(lanes + 2 * LaneCount, a2, b2);
        Store(lanes + 3 * LaneCount, a3, b3);
        return (int)i;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* lanes, Vector512<float> even, Vector512<float> odd)
    {
        even.Store(lanes);
        odd.Store(lanes + 16);
    }

    /// <summary>Adds what is left of a sum, less than 32 products, to its even lanes, then both halves up.</summary>
    private static float Finish<TLoad>(byte* w, float* x, int done, int count, float* lanes) where TLoad : struct, IFloatLoader
    {
        for (int i = done; i < count; i += 16)
        {
            bool whole = i + 16 <= count;
            Vector512<float> v = whole ? TLoad.Load(w + i * TLoad.Bytes) : FloatRows.LoadRest<TLoad>(w + i * TLoad.Bytes, count - i);
            Vector512.FusedMultiplyAdd(v, whole ? Vector512.Load(x + i) : FloatRows.LoadRest<LoadF32>((byte*)(x + i), count - i), Vector512.Load(lanes)).Store(lanes);
        }
        return Vector512.Sum(Vector512.Load(lanes) + Vector512.Load(lanes + 16));
    }

    private static void Row<TLoad>(Weight w, int n, byte* weights, BlockScales? scales, Tensor x, Tensor y) where TLoad : struct, IFloatLoader
    {
        int t = 0, columns = w.Columns;
        for (; t + 4 <= x.Rows; t += 4)
        {
            float* x0 = (float*)x.Address + (long)t * x.Stride, y0 = (float*)y.Address + (long)t * y.Stride + n;
            if (scales is null)
            {
                Four<TLoad>(weights, x0, x.Stride, columns, out float a, out float b, out float c, out float d);
                (y0[0], y0[y.Stride], y0[2L * y.Stride], y0[3L * y.Stride]) = (a, b, c, d);
                continue;
            }
            (float sa, float sb, float sc, float sd) = (0, 0, 0, 0);
            for (int k = 0; k < columns; k += scales.BlockColumns)
            {
                float s = FloatRows.Scale(scales, n, k);
                Four<TLoad>(weights + k * TLoad.Bytes, x0 + k, x.Stride, Math.Min(scales.BlockColumns, columns - k), out float a, out float b, out float c, out float d);
                (sa, sb, sc, sd) = (sa + s * a, sb + s * b, sc + s * c, sd + s * d);
            }
            (y0[0], y0[y.Stride], y0[2L * y.Stride], y0[3L * y.Stride]) = (sa, sb, sc, sd);
        }
        for (; t < x.Rows; t++)
        {
            float* x0 = (float*)x.Address + (long)t * x.Stride, y0 = (float*)y.Address + (long)t * y.Stride + n;
            if (scales is null)
            {
                *y0 = One<TLoad>(weights, x0, columns);
                continue;
            }
            float sum = 0;
            for (int k = 0; k < columns; k += scales.BlockColumns)
                sum += FloatRows.Scale(scales, n, k) * One<TLoad>(weights + k * TLoad.Bytes, x0 + k, Math.Min(scales.BlockColumns, columns - k));
            *y0 = sum;
        }
    }

    private static float One<TLoad>(byte* w, float* x, int count) where TLoad : struct, IFloatLoader
    {
        float* lanes = stackalloc float[LaneCount];
        return Finish<TLoad>(w, x, OneRow<TLoad>(w, x, count, lanes), count, lanes);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int OneRow<TLoad>(byte* w, float* x, int count, float* lanes) where TLoad : struct, IFloatLoader
    {
        Vector512<float> a = Vector512<float>.Zero, b = a;
        long i = 0;
        for (; i + 32 <= count; i += 32)
        {
            a = Vector512.FusedMultiplyAdd(TLoad.Load(w + i * TLoad.Bytes), Vector512.Load(x + i), a);
            b = Vector512.FusedMultiplyAdd(TLoad.Load(w + (i + 16) * TLoad.Bytes), Vector512.Load(x + i + 16), b);
        }
        Store(lanes, a, b);
        return (int)i;
    }

    /// <summary>One row times four tokens.</summary>
    private static void Four<TLoad>(byte* w, float* x, int stride, int count, out float y0, out float y1, out float y2, out float y3) where TLoad : struct, IFloatLoader
    {
        float* lanes = stackalloc float[4 * LaneCount];
        int done = FourTokens<TLoad>(w, x, stride, count, lanes);
        y0 = Finish<TLoad>(w, x, done, count, lanes);
        y1 = Finish<TLoad>(w, x + stride, done, count, lanes + LaneCount);
        y2 = Finish<TLoad>(w, x + 2L * stride, done, count, lanes + 2 * LaneCount);
        y3 = Finish<TLoad>(w, x + 3L * stride, done, count, lanes + 3 * LaneCount);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int FourTokens<TLoad>(byte* w, float* x, long stride, int count, float* lanes) where TLoad : struct, IFloatLoader
    {
        float* x1 = x + stride, x2 = x1 + stride, x3 = x2 + stride;
        Vector512<float> a0 = Vector512<float>.Zero, b0 = a0, a1 = a0, b1 = a0, a2 = a0, b2 = a0, a3 = a0, b3 = a0;
        long i = 0;
        for (; i + 32 <= count; i += 32)
        {
            Vector512<float> v = TLoad.Load(w + i * TLoad.Bytes), u = TLoad.Load(w + (i + 16) * TLoad.Bytes);
            a0 = Vector512.FusedMultiplyAdd(v, Vector512.Load(x + i), a0);
            a1 = Vector512.FusedMultiplyAdd(v, Vector512.Load(x1 + i), a1);
            a2 = Vector512.FusedMultiplyAdd(v, Vector512.Load(x2 + i), a2);
            a3 = Vector512.FusedMultiplyAdd(v, Vector512.Load(x3 + i), a3);
            b0 = Vector512.FusedMultiplyAdd(u, Vector512.Load(x + i + 16), b0);
            b1 = Vector512.FusedMultiplyAdd(u, Vector512.Load(x1 + i + 16), b1);
            b2 = Vector512.FusedMultiplyAdd(u, Vector512.Load(x2 + i + 16), b2);
            b3 = Vector512.FusedMultiplyAdd(u, Vector512.Load(x3 + i + 16), b3);
        }
        Store(lanes, a0, b0);
        Store(lanes + LaneCount, a1, b1);
        Store(lanes + 2 * LaneCount, a2, b2);
        Store(lanes + 3 * LaneCount, a3, b3);
        return (int)i;
    }
}
