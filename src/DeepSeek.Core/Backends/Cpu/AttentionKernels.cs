using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// The inner loops of attention. Each number of a result is one chain of fused multiplications in a fixed order (scores: along the head; weighted sums: along the
/// keys of a chunk), however many rows are computed together: results do not depend on how rows were grouped.
/// </summary>
internal static unsafe class AttentionKernels
{
    /// <summary>Keys of a chunk: chunks lie at multiples of it and are merged in their order.</summary>
    public const int ChunkKeys = 256;

    /// <summary>Keys that are packed together.</summary>
    public const int PanelKeys = 32;

    /// <summary>Most query rows that a kernel computes together.</summary>
    public const int RowBlock = 8;

    /// <summary>Query rows of the next block: 8, 4, 2 or 1.</summary>
    public static int BlockRows(int left) => left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;

    /// <summary>Packs a panel of 32 keys: packed[d][key]. Loads may go beyond a head's end; what they find there is not stored.</summary>
    public static void PackKeys<TFormat>(nint* rows, int width, int first, int size, float* packed) where TFormat : struct, IRowFormat
    {
        for (int half = 0; half < 2; half++, rows += 16, packed += 16)
            for (int d = 0; d < size; d += 16)
            {
                if (Avx512F.IsSupported && size - d >= 16) Transpose512<TFormat>(rows, width, first + d, packed + d * PanelKeys);
                else Transpose<TFormat>(rows, width, first + d, Math.Min(16, size - d), packed + d * PanelKeys);
            }
    }

    private static void Transpose<TFormat>(nint* rows, int width, int at, int count, float* packed) where TFormat : struct, IRowFormat
    {
        float* square = stackalloc float[256];
        for (int k = 0; k < 16; k++) TFormat.Load((byte*)rows[k], width, at).Store(square + 16 * k);
        if (Vector128.IsHardwareAccelerated && count == 16 && (Sse.IsSupported || AdvSimd.Arm64.IsSupported))
        {
            for (int k = 0; k < 16; k += 4)
                for (int d = 0; d < 16; d += 4) Transpose4(square + 16 * k + d, packed + d * PanelKeys + k);
            return;
        }
        for (int d = 0; d < count; d++)
            for (int k = 0; k < 16; k++) packed[d * PanelKeys + k] = square[16 * k + d];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose4(float* square, float* packed)
    {
        Vector128<float> a = Vector128.Load(square), b = Vector128.Load(square + 16), c = Vector128.Load(square + 32), d = Vector128.Load(square + 48);
        Vector128<float> ac0, ac1, bd0, bd1;
        if (Sse.IsSupported)
        {
            (ac0, ac1, bd0, bd1) = (Sse.UnpackLow(a, c), Sse.UnpackHigh(a, c), Sse.UnpackLow(b, d), Sse.UnpackHigh(b, d));
            Sse.UnpackLow(ac0, bd0).Store(packed);
            Sse.UnpackHigh(ac0, bd0).Store(packed + PanelKeys);
            Sse.UnpackLow(ac1, bd1).Store(packed + 2 * PanelKeys);
            Sse.UnpackHigh(ac1, bd1).Store(packed + 3 * PanelKeys);
            return;
        }
        (ac0, ac1, bd0, bd1) = (AdvSimd.Arm64.ZipLow(a, c), AdvSimd.Arm64.ZipHigh(a, c), AdvSimd.Arm64.ZipLow(b, d), AdvSimd.Arm64.ZipHigh(b, d));
        AdvSimd.Arm64.ZipLow(ac0, bd0).Store(packed);
        AdvSimd.Arm64.ZipHigh(ac0, bd0).Store(packed + PanelKeys);
        AdvSimd.Arm64.ZipLow(ac1, bd1).Store(packed + 2 * PanelKeys);
        AdvSimd.Arm64.ZipHigh(ac1, bd1).Store(packed + 3 * PanelKeys);
    }

    /// <summary>16 rows of 16 numbers, transposed in four rounds of shuffles.</summary>
    private static void Transpose512<TFormat>(nint* rows, int width, int at, float* packed) where TFormat : struct, IRowFormat
    {
        // Rounds one and two: within 128-bit lanes, q[4i + j] holds column 4·lane + j of rows 4i … 4i + 3.
        Vector512<float>* q = stackalloc Vector512<float>[16];
        for (int i = 0; i < 16; i += 4)
        {
            Vector512<float> a = TFormat.Load((byte*)rows[i], width, at), b = TFormat.Load((byte*)rows[i + 1], width, at);
            Vector512<float> c = TFormat.Load((byte*)rows[i + 2], width, at), d = TFormat.Load((byte*)rows[i + 3], width, at);
            Vector512<double> ab0 = Avx512F.UnpackLow(a, b).AsDouble(), ab1 = Avx512F.UnpackHigh(a, b).AsDouble();
            Vector512<double> cd0 = Avx512F.UnpackLow(c, d).AsDouble(), cd1 = Avx512F.UnpackHigh(c, d).AsDouble();
            q[i] = Avx512F.UnpackLow(ab0, cd0).AsSingle();
            q[i + 1] = Avx512F.UnpackHigh(ab0, cd0).AsSingle();
            q[i + 2] = Avx512F.UnpackLow(ab1, cd1).AsSingle();
            q[i + 3] = Avx512F.UnpackHigh(ab1, cd1).AsSingle();
        }
        // Rounds three and four: lanes are gathered.
        for (int j = 0; j < 4; j++)
        {
            Vector512<float> even0 = Avx512F.Shuffle4x128(q[j], q[4 + j], 0x88), odd0 = Avx512F.Shuffle4x128(q[j], q[4 + j], 0xDD);
            Vector512<float> even1 = Avx512F.Shuffle4x128(q[8 + j], q[12 + j], 0x88), odd1 = Avx512F.Shuffle4x128(q[8 + j], q[12 + j], 0xDD);
            Avx512F.Shuffle4x128(even0, even1, 0x88).Store(packed + j * PanelKeys);
            Avx512F.Shuffle4x128(odd0, odd1, 0x88).Store(packed + (4 + j) * PanelKeys);
            Avx512F.Shuffle4x128(even0, even1, 0xDD).Store(packed + (8 + j) * PanelKeys);
            Avx512F.Shuffle4x128(odd0, odd1, 0xDD).Store(packed + (12 + j) * PanelKeys);
        }
    }

    /// <summary>scores[row][key] = q_row · key for a panel of 32 keys; rows lie <see cref="ChunkKeys"/> numbers apart.</summary>
    public static void Scores(float* q, int rows, float* keys, int size, float* scores)
    {
        switch (rows)
        {
            case 8: Scores8(q, keys, size, scores); break;
            case 4: Scores4(q, keys, size, scores); break;
            case 2: Scores2(q, keys, size, scores); break;
            default: Scores1(q, keys, size, scores); break;
        }
    }

    private static void Scores8(float* q, float* keys, int size, float* scores)
    {
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default, a4 = default, a5 = default, a6 = default, a7 = default;
        Vector512<float> b0 = default, b1 = default, b2 = default, b3 = default, b4 = default, b5 = default, b6 = default, b7 = default;
        for (int d = 0; d < size; d++, q += 8, keys += PanelKeys)
        {
            Vector512<float> k0 = Vector512.Load(keys), k1 = Vector512.Load(keys + 16), x = Vector512.Create(q[0]);
            a0 = Fma(x, k0, a0); b0 = Fma(x, k1, b0); x = Vector512.Create(q[1]);
            a1 = Fma(x, k0, a1); b1 = Fma(x, k1, b1); x = Vector512.Create(q[2]);
            a2 = Fma(x, k0, a2); b2 = Fma(x, k1, b2); x = Vector512.Create(q[3]);
            a3 = Fma(x, k0, a3); b3 = Fma(x, k1, b3); x = Vector512.Create(q[4]);
            a4 = Fma(x, k0, a4); b4 = Fma(x, k1, b4); x = Vector512.Create(q[5]);
            a5 = Fma(x, k0, a5); b5 = Fma(x, k1, b5); x = Vector512.Create(q[6]);
            a6 = Fma(x, k0, a6); b6 = Fma(x, k1, b6); x = Vector512.Create(q[7]);
            a7 = Fma(x, k0, a7); b7 = Fma(x, k1, b7);
        }
        Store(scores, a0, b0);
        Store(scores + ChunkKeys, a1, b1);
        Store(scores + 2 * ChunkKeys, a2, b2);
        Store(scores + 3 * ChunkKeys, a3, b3);
        Store(scores + 4 * ChunkKeys, a4, b4);
        Store(scores + 5 * ChunkKeys, a5, b5);
        Store(scores + 6 * ChunkKeys, a6, b6);
        Store(scores + 7 * ChunkKeys, a7, b7);
    }

    private static void Scores4(float* q, float* keys, int size, float* scores)
    {
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        for (int d = 0; d < size; d++, q += 4, keys += PanelKeys)
        {
            Vector512<float> k0 = Vector512.Load(keys), k1 = Vector512.Load(keys + 16), x = Vector512.Create(q[0]);
            a0 = Fma(x, k0, a0); b0 = Fma(x, k1, b0); x = Vector512.Create(q[1]);
            a1 = Fma(x, k0, a1); b1 = Fma(x, k1, b1); x = Vector512.Create(q[2]);
            a2 = Fma(x, k0, a2); b2 = Fma(x, k1, b2); x = Vector512.Create(q[3]);
            a3 = Fma(x, k0, a3); b3 = Fma(x, k1, b3);
        }
        Store(scores, a0, b0);
        Store(scores + ChunkKeys, a1, b1);
        Store(scores + 2 * ChunkKeys, a2, b2);
        Store(scores + 3 * ChunkKeys, a3, b3);
    }

    private static void Scores2(float* q, float* keys, int size, float* scores)
    {
        Vector512<float> a0 = default, a1 = default, b0 = default, b1 = default;
        for (int d = 0; d < size; d++, q += 2, keys += PanelKeys)
        {
            Vector512<float> k0 = Vector512.Load(keys), k1 = Vector512.Load(keys + 16), x = Vector512.Create(q[0]);
            a0 = Fma(x, k0, a0); b0 = Fma(x, k1, b0); x = Vector512.Create(q[1]);
            a1 = Fma(x, k0, a1); b1 = Fma(x, k1, b1);
        }
        Store(scores, a0, b0);
        Store(scores + ChunkKeys, a1, b1);
    }

    private static void Scores1(float* q, float* keys, int size, float* scores)
    {
        Vector512<float> a = default, b = default;
        for (int d = 0; d < size; d++, keys += PanelKeys)
        {
            Vector512<float> x = Vector512.Create(q[d]);
            a = Fma(x, Vector512.Load(keys), a);
            b = Fma(x, Vector512.Load(keys + 16), b);
        }
        Store(scores, a, b);
    }

    /// <summary>
    /// The softmax of a row of scores within its chunk: scores become e^(s − m) for keys [from, limit) and 0 for the others up to 'end'; returns their
    /// sum and m, the largest score (−∞ with sum 0 where there is none).
    /// </summary>
    public static (float Largest, float Sum) Softmax(float* scores, int from, int limit, int end)
    {
        if (limit <= from)
        {
            new Span<float>(scores, end).Clear();
            return (float.NegativeInfinity, 0);
        }
        int padded = (limit + 15) & -16;
        for (int i = 0; i < from; i++) scores[i] = float.NegativeInfinity;
        for (int i = limit; i < padded; i++) scores[i] = float.NegativeInfinity;
        Vector512<float> largest = Vector512.Load(scores), sum = Vector512<float>.Zero;
        for (int i = 16; i < padded; i += 16) largest = Vector512.MaxNative(largest, Vector512.Load(scores + i));
        float m = float.NegativeInfinity;
        for (int i = 0; i < 16; i++) m = largest[i] > m ? largest[i] : m; // a NaN is left out here, and makes the sum NaN
        Vector512<float> shift = Vector512.Create(float.IsNegativeInfinity(m) ? 0 : m);
        for (int i = 0; i < padded; i += 16)
        {
            Vector512<float> p = VectorMath.Exp(Vector512.Load(scores + i) - shift);
            p.Store(scores + i);
            sum += p;
        }
        if (end > padded) new Span<float>(scores + padded, end - padded).Clear();
        return (m, Vector512.Sum(sum));
    }

    /// <summary>sums[row][d] = sums[row][d]·keep[row] + (Σ_key weights[row][key]·value_key[d])·take[row] for d &lt; size, which may be exceeded by up to 31.</summary>
    public static void WeightedSum<TFormat>(float* weights, int rows, int keys, nint* values, int width, int first, int size, float* sums, int stride, float* keep, float* take)
        where TFormat : struct, IRowFormat
    {
        for (int d = 0; d < size; d += 32)
        {
            switch (rows)
            {
                case 8: Sum8<TFormat>(weights, keys, values, width, first + d, sums + d, stride, keep, take); break;
                case 4: Sum4<TFormat>(weights, keys, values, width, first + d, sums + d, stride, keep, take); break;
                case 2: Sum2<TFormat>(weights, keys, values, width, first + d, sums + d, stride, keep, take); break;
                default: Sum1<TFormat>(weights, keys, values, width, first + d, sums + d, keep, take); break;
            }
        }
    }

    private static void Sum8<TFormat>(float* p, int keys, nint* values, int width, int at, float* sums, int stride, float* keep, float* take) where TFormat : struct, IRowFormat
    {
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default, a4 = default, a5 = default, a6 = default, a7 = default;
        Vector512<float> b0 = default, b1 = default, b2 = default, b3 = default, b4 = default, b5 = default, b6 = default, b7 = default;
        for (int k = 0; k < keys; k++, p++)
        {
            byte* row = (byte*)values[k];
            Vector512<float> v0 = TFormat.Load(row, width, at), v1 = TFormat.Load(row, width, at + 16), x = Vector512.Create(p[0]);
            a0 = Fma(x, v0, a0); b0 = Fma(x, v1, b0); x = Vector512.Create(p[ChunkKeys]);
            a1 = Fma(x, v0, a1); b1 = Fma(x, v1, b1); x = Vector512.Create(p[2 * ChunkKeys]);
            a2 = Fma(x, v0, a2); b2 = Fma(x, v1, b2); x = Vector512.Create(p[3 * ChunkKeys]);
            a3 = Fma(x, v0, a3); b3 = Fma(x, v1, b3); x = Vector512.Create(p[4 * ChunkKeys]);
            a4 = Fma(x, v0, a4); b4 = Fma(x, v1, b4); x = Vector512.Create(p[5 * ChunkKeys]);
            a5 = Fma(x, v0, a5); b5 = Fma(x, v1, b5); x = Vector512.Create(p[6 * ChunkKeys]);
            a6 = Fma(x, v0, a6); b6 = Fma(x, v1, b6); x = Vector512.Create(p[7 * ChunkKeys]);
            a7 = Fma(x, v0, a7); b7 = Fma(x, v1, b7);
        }
        Merge(sums, a0, b0, keep[0], take[0]);
        Merge(sums + stride, a1, b1, keep[1], take[1]);
        Merge(sums + 2 * stride, a2, b2, keep[2], take[2]);
        Merge(sums + 3 * stride, a3, b3, keep[3], take[3]);
        Merge(sums + 4 * stride, a4, b4, keep[4], take[4]);
        Merge(sums + 5 * stride, a5, b5, keep[5], take[5]);
        Merge(sums + 6 * stride, a6, b6, keep[6], take[6]);
        Merge(sums + 7 * stride, a7, b7, keep[7], take[7]);
    }

    private static void Sum4<TFormat>(float* p, int keys, nint* values, int width, int at, float* sums, int stride, float* keep, float* take) where TFormat : struct, IRowFormat
    {
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        for (int k = 0; k < keys; k++, p++)
        {
            byte* row = (byte*)values[k];
            Vector512<float> v0 = TFormat.Load(row, width, at), v1 = TFormat.Load(row, width, at + 16), x = Vector512.Create(p[0]);
            a0 = Fma(x, v0, a0); b0 = Fma(x, v1, b0); x = Vector512.Create(p[ChunkKeys]);
            a1 = Fma(x, v0, a1); b1 = Fma(x, v1, b1); x = Vector512.Create(p[2 * ChunkKeys]);
            a2 = Fma(x, v0, a2); b2 = Fma(x, v1, b2); x = Vector512.Create(p[3 * ChunkKeys]);
            a3 = Fma(x, v0, a3); b3 = Fma(x, v1, b3);
        }
        Merge(sums, a0, b0, keep[0], take[0]);
        Merge(sums + stride, a1, b1, keep[1], take[1]);
        Merge(sums + 2 * stride, a2, b2, keep[2], take[2]);
        Merge(sums + 3 * stride, a3, b3, keep[3], take[3]);
    }

    private static void Sum2<TFormat>(float* p, int keys, nint* values, int width, int at, float* sums, int stride, float* keep, float* take) where TFormat : struct, IRowFormat
    {
        Vector512<float> a0 = default, a1 = default, b0 = default, b1 = default;
        for (int k = 0; k < keys; k++, p++)
        {
            byte* row = (byte*)values[k];
            Vector512<float> v0 = TFormat.Load(row, width, at), v1 = TFormat.Load(row, width, at + 16), x = Vector512.Create(p[0]);
            a0 = Fma(x, v0, a0); b0 = Fma(x, v1, b0); x = Vector512.Create(p[ChunkKeys]);
            a1 = Fma(x, v0, a1); b1 = Fma(x, v1, b1);
        }
        Merge(sums, a0, b0, keep[0], take[0]);
        Merge(sums + stride, a1, b1, keep[1], take[1]);
    }

    private static void Sum1<TFormat>(float* p, int keys, nint* values, int width, int at, float* sums, float* keep, float* take) where TFormat : struct, IRowFormat
    {
        Vector512<float> a = default, b = default;
        for (int k = 0; k < keys; k++)
        {
            Vector512<float> x = Vector512.Create(p[k]);
            a = Fma(x, TFormat.Load((byte*)values[k], width, at), a);
            b = Fma(x, TFormat.Load((byte*)values[k], width, at + 16), b);
        }
        Merge(sums, a, b, keep[0], take[0]);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Fma(Vector512<float> x, Vector512<float> y, Vector512<float> sum) => Vector512.FusedMultiplyAdd(x, y, sum);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* p, Vector512<float> a, Vector512<float> b)
    {
        a.Store(p);
        b.Store(p + 16);
    }

    /// <summary>sums = sums·keep + (a | b)·take: the one way in which chunks are merged.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Merge(float* sums, Vector512<float> a, Vector512<float> b, float keep, float take)
    {
        Vector512<float> k = Vector512.Create(keep), t = Vector512.Create(take);
        Fma(Vector512.Load(sums), k, a * t).Store(sums);
        Fma(Vector512.Load(sums + 16), k, b * t).Store(sums + 16);
    }

    /// <summary>The same for 32 sums that lie in memory.</summary>
    public static void Merge(float* sums, float* chunk, float keep, float take) => Merge(sums, Vector512.Load(chunk), Vector512.Load(chunk + 16), keep, take);
}
