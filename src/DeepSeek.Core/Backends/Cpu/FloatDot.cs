using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// Products of weight rows in a floating-point format with float32 activations. Each number of the result is summed in the same order, whatever the count of rows and tokens.
/// </summary>
internal static unsafe class FloatDot
{
    /// <summary>y[t][n] for rows [first, first + count) and all tokens.</summary>
    /// <param name="w">The weight.</param>
    /// <param name="first">First row.</param>
    /// <param name="count">Rows.</param>
    /// <param name="x">Activations. [T, Columns]</param>
    /// <param name="y">Products, without bias. [T, Rows]</param>
    /// <param name="row">Working memory for a row. [Columns]</param>
    public static void Rows(Weight w, int first, int count, Tensor x, Tensor y, float* row)
    {
        for (int n = first; n < first + count; n++)
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
        Vector512<float> a = Vector512<float>.Zero, b = a;
        int i = 0;
        for (; TLoad.LoadsFour && i + 64 <= count; i += 64)
        {
            TLoad.LoadFour(w + i * TLoad.Bytes, out Vector512<float> p, out Vector512<float> q, out Vector512<float> r, out Vector512<float> s);
            a = Vector512.FusedMultiplyAdd(p, Vector512.Load(x + i), a);
            b = Vector512.FusedMultiplyAdd(q, Vector512.Load(x + i + 16), b);
            a = Vector512.FusedMultiplyAdd(r, Vector512.Load(x + i + 32), a);
            b = Vector512.FusedMultiplyAdd(s, Vector512.Load(x + i + 48), b);
        }
        for (; i + 32 <= count; i += 32)
        {
            a = Vector512.FusedMultiplyAdd(TLoad.Load(w + i * TLoad.Bytes), Vector512.Load(x + i), a);
            b = Vector512.FusedMultiplyAdd(TLoad.Load(w + (i + 16) * TLoad.Bytes), Vector512.Load(x + i + 16), b);
        }
        for (; i < count; i += 16)
        {
            bool whole = i + 16 <= count;
            Vector512<float> v = whole ? TLoad.Load(w + i * TLoad.Bytes) : FloatRows.LoadRest<TLoad>(w + i * TLoad.Bytes, count - i);
            a = Vector512.FusedMultiplyAdd(v, whole ? Vector512.Load(x + i) : FloatRows.LoadRest<LoadF32>((byte*)(x + i), count - i), a);
        }
        return Vector512.Sum(a + b);
    }

    private static void Four<TLoad>(byte* w, float* x, int stride, int count, out float y0, out float y1, out float y2, out float y3) where TLoad : struct, IFloatLoader
    {
        float* x1 = x + stride, x2 = x1 + stride, x3 = x2 + stride;
        Vector512<float> a0 = Vector512<float>.Zero, b0 = a0, a1 = a0, b1 = a0, a2 = a0, b2 = a0, a3 = a0, b3 = a0;
        int i = 0;
        for (; TLoad.LoadsFour && i + 64 <= count; i += 64)
        {
            TLoad.LoadFour(w + i * TLoad.Bytes, out Vector512<float> p, out Vector512<float> q, out Vector512<float> r, out Vector512<float> s);
            a0 = Vector512.FusedMultiplyAdd(r, Vector512.Load(x + i + 32), Vector512.FusedMultiplyAdd(p, Vector512.Load(x + i), a0));
            a1 = Vector512.FusedMultiplyAdd(r, Vector512.Load(x1 + i + 32), Vector512.FusedMultiplyAdd(p, Vector512.Load(x1 + i), a1));
            a2 = Vector512.FusedMultiplyAdd(r, Vector512.Load(x2 + i + 32), Vector512.FusedMultiplyAdd(p, Vector512.Load(x2 + i), a2));
            a3 = Vector512.FusedMultiplyAdd(r, Vector512.Load(x3 + i + 32), Vector512.FusedMultiplyAdd(p, Vector512.Load(x3 + i), a3));
            b0 = Vector512.FusedMultiplyAdd(s, Vector512.Load(x + i + 48), Vector512.FusedMultiplyAdd(q, Vector512.Load(x + i + 16), b0));
            b1 = Vector512.FusedMultiplyAdd(s, Vector512.Load(x1 + i + 48), Vector512.FusedMultiplyAdd(q, Vector512.Load(x1 + i + 16), b1));
            b2 = Vector512.FusedMultiplyAdd(s, Vector512.Load(x2 + i + 48), Vector512.FusedMultiplyAdd(q, Vector512.Load(x2 + i + 16), b2));
            b3 = Vector512.FusedMultiplyAdd(s, Vector512.Load(x3 + i + 48), Vector512.FusedMultiplyAdd(q, Vector512.Load(x3 + i + 16), b3));
        }
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
        for (; i < count; i += 16)
        {
            bool whole = i + 16 <= count;
            Vector512<float> v = whole ? TLoad.Load(w + i * TLoad.Bytes) : FloatRows.LoadRest<TLoad>(w + i * TLoad.Bytes, count - i);
            a0 = Vector512.FusedMultiplyAdd(v, whole ? Vector512.Load(x + i) : FloatRows.LoadRest<LoadF32>((byte*)(x + i), count - i), a0);
            a1 = Vector512.FusedMultiplyAdd(v, whole ? Vector512.Load(x1 + i) : FloatRows.LoadRest<LoadF32>((byte*)(x1 + i), count - i), a1);
            a2 = Vector512.FusedMultiplyAdd(v, whole ? Vector512.Load(x2 + i) : FloatRows.LoadRest<LoadF32>((byte*)(x2 + i), count - i), a2);
            a3 = Vector512.FusedMultiplyAdd(v, whole ? Vector512.Load(x3 + i) : FloatRows.LoadRest<LoadF32>((byte*)(x3 + i), count - i), a3);
        }
        (y0, y1, y2, y3) = (Vector512.Sum(a0 + b0), Vector512.Sum(a1 + b1), Vector512.Sum(a2 + b2), Vector512.Sum(a3 + b3));
    }
}
