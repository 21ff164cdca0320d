using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using DeepSeek.Backends.Cpu.Dot;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// The inner loops of attention. Each number of a result is one chain of fused multiplications in a fixed order (scores: along the head; weighted sums: along the
/// keys of a chunk), however many rows are computed together: results do not depend on how rows were grouped. Kernels are compiled with full optimisation at once
/// (AggressiveOptimization): a first version without it would be a hundred times slower, for the whole of a first prompt.
/// </summary>
internal static unsafe class AttentionKernels
{
    /// <summary>Keys of a chunk: chunks lie at multiples of it and are merged in their order.</summary>
    public const int ChunkKeys = 256;

    /// <summary>Keys that are packed together.</summary>
    public const int PanelKeys = 32;

    /// <summary>Most query rows that a kernel computes together.</summary>
    public const int RowBlock = 8;

    /// <summary>The same where registers are sixteen of 256 bits.</summary>
    private const int NarrowRows = 4;

    /// <summary>Query rows of the next block.</summary>
    public static int BlockRows(int left) => left <= RowBlock ? left : left < 2 * RowBlock ? (left + 1) / 2 : RowBlock;

    /// <summary>Packs 32 rows of numbers: packed[d][row], rows of it stride numbers apart. Loads may go beyond a head's end; what they find there is not stored.</summary>
    [SkipLocalsInit, MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Pack<TFormat>(Capabilities capabilities, nint* rows, int width, int first, int size, float* packed, int stride) where TFormat : struct, IRowFormat
    {
        bool wide = Avx512F.IsSupported && capabilities.Avx512;
        for (int half = 0; half < 2; half++, rows += 16, packed += 16)
            for (int d = 0; d < size;)
            {
                float* to = packed + (long)d * stride;
                if (wide && TFormat.IsSixteenBit && size - d >= 32)
                {
                    TransposePairs<TFormat>(rows, first + d, to, stride);
                    d += 32;
                    continue;
                }
                if (wide && TFormat.IsBytes && size - d >= 32 && (first + d) % 32 == 0)
                {
                    TransposeBytes(rows, width, first + d, to, stride);
                    d += 32;
                    continue;
                }
                if (wide && size - d >= 16) Transpose512<TFormat>(rows, width, first + d, to, stride);
                else Transpose<TFormat>(rows, width, first + d, Math.Min(16, size - d), to, stride);
                d += 16;
            }
    }

    [SkipLocalsInit, MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Transpose<TFormat>(nint* rows, int width, int at, int count, float* packed, int stride) where TFormat : struct, IRowFormat
    {
        float* square = stackalloc float[256];
        for (int k = 0; k < 16; k++) TFormat.Load((byte*)rows[k], width, at).Store(square + 16 * k);
        if (Vector128.IsHardwareAccelerated && count == 16 && (Sse.IsSupported || AdvSimd.Arm64.IsSupported))
        {
            for (int k = 0; k < 16; k += 4)
                for (int d = 0; d < 16; d += 4) Transpose4(square + 16 * k + d, packed + d * stride + k, stride);
            return;
        }
        for (int d = 0; d < count; d++)
            for (int k = 0; k < 16; k++) packed[d * stride + k] = square[16 * k + d];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose4(float* square, float* packed, int stride)
    {
        Vector128<float> a = Vector128.Load(square), b = Vector128.Load(square + 16), c = Vector128.Load(square + 32), d = Vector128.Load(square + 48);
        Vector128<float> ac0, ac1, bd0, bd1;
        if (Sse.IsSupported)
        {
            (ac0, ac1, bd0, bd1) = (Sse.UnpackLow(a, c), Sse.UnpackHigh(a, c), Sse.UnpackLow(b, d), Sse.UnpackHigh(b, d));
            Sse.UnpackLow(ac0, bd0).Store(packed);
            Sse.UnpackHigh(ac0, bd0).Store(packed + stride);
            Sse.UnpackLow(ac1, bd1).Store(packed + 2 * stride);
            Sse.UnpackHigh(ac1, bd1).Store(packed + 3 * stride);
            return;
        }
        (ac0, ac1, bd0, bd1) = (AdvSimd.Arm64.ZipLow(a, c), AdvSimd.Arm64.ZipHigh(a, c), AdvSimd.Arm64.ZipLow(b, d), AdvSimd.Arm64.ZipHigh(b, d));
        AdvSimd.Arm64.ZipLow(ac0, bd0).Store(packed);
        AdvSimd.Arm64.ZipHigh(ac0, bd0).Store(packed + stride);
        AdvSimd.Arm64.ZipLow(ac1, bd1).Store(packed + 2 * stride);
        AdvSimd.Arm64.ZipHigh(ac1, bd1).Store(packed + 3 * stride);
    }

    /// <summary>16 rows of 16 numbers, transposed in four rounds of shuffles.</summary>
    [SkipLocalsInit, MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Transpose512<TFormat>(nint* rows, int width, int at, float* packed, int stride) where TFormat : struct, IRowFormat
    {
        Vector512<float>* q = stackalloc Vector512<float>[16];
        for (int i = 0; i < 16; i += 4)
        {
            Quarter(TFormat.Load((byte*)rows[i], width, at), TFormat.Load((byte*)rows[i + 1], width, at),
                TFormat.Load((byte*)rows[i + 2], width, at), TFormat.Load((byte*)rows[i + 3], width, at), q + i);
        }
        for (int j = 0; j < 4; j++)
        {
            (Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d) = Lanes(q[j], q[4 + j], q[8 + j], q[12 + j]);
            a.Store(packed + j * stride);
            b.Store(packed + (4 + j) * stride);
            c.Store(packed + (8 + j) * stride);
            d.Store(packed + (12 + j) * stride);
        }
    }

    /// <summary>16 rows of 32 bytes that share a scale: fours of bytes are transposed as one, then parted.</summary>
    [SkipLocalsInit, MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void TransposeBytes(nint* rows, int width, int at, float* packed, int stride)
    {
        int offset = (width + 3) / 4 * 4 + at / 8;
        // In registers: a vector of numbers that were just stored one by one would wait for the stores.
        Vector512<float> scale = Vector512.Create(
            *(float*)(rows[0] + offset), *(float*)(rows[1] + offset), *(float*)(rows[2] + offset), *(float*)(rows[3] + offset), *(float*)(rows[4] + offset), *(float*)(rows[5] + offset),
            *(float*)(rows[6] + offset), *(float*)(rows[7] + offset), *(float*)(rows[8] + offset), *(float*)(rows[9] + offset), *(float*)(rows[10] + offset), *(float*)(rows[11] + offset),
            *(float*)(rows[12] + offset), *(float*)(rows[13] + offset), *(float*)(rows[14] + offset), *(float*)(rows[15] + offset));
        PanelRows sixteen = new((byte**)rows);
        for (int d = 0; d < 32; d += 16, packed += 16L * stride)
        {
            sixteen.Columns(at + d, out Vector512<byte> c0, out Vector512<byte> c1, out Vector512<byte> c2, out Vector512<byte> c3);
            PartFour(c0.AsInt32(), scale, packed, stride);
            PartFour(c1.AsInt32(), scale, packed + 4L * stride, stride);
            PartFour(c2.AsInt32(), scale, packed + 8L * stride, stride);
            PartFour(c3.AsInt32(), scale, packed + 12L * stride, stride);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PartFour(Vector512<int> fours, Vector512<float> scale, float* to, int stride)
    {
        (Vector512.ConvertToSingle(fours << 24 >> 24) * scale).Store(to);
        (Vector512.ConvertToSingle(fours << 16 >> 24) * scale).Store(to + stride);
        (Vector512.ConvertToSingle(fours << 8 >> 24) * scale).Store(to + 2 * stride);
        (Vector512.ConvertToSingle(fours >> 24) * scale).Store(to + 3 * stride);
    }

    /// <summary>16 rows of 32 numbers of 16 bits: pairs of neighbours are transposed as one, then parted.</summary>
    [SkipLocalsInit, MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void TransposePairs<TFormat>(nint* rows, int at, float* packed, int stride) where TFormat : struct, IRowFormat
    {
        Vector512<float>* q = stackalloc Vector512<float>[16];
        for (int i = 0; i < 16; i += 4)
        {
            Quarter(Vector512.Load((float*)((ushort*)rows[i] + at)), Vector512.Load((float*)((ushort*)rows[i + 1] + at)),
                Vector512.Load((float*)((ushort*)rows[i + 2] + at)), Vector512.Load((float*)((ushort*)rows[i + 3] + at)), q + i);
        }
        for (int j = 0; j < 4; j++)
        {
            (Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d) = Lanes(q[j], q[4 + j], q[8 + j], q[12 + j]);
            Part<TFormat>(a, packed + 2 * j * stride, stride);
            Part<TFormat>(b, packed + 2 * (4 + j) * stride, stride);
            Part<TFormat>(c, packed + 2 * (8 + j) * stride, stride);
            Part<TFormat>(d, packed + 2 * (12 + j) * stride, stride);
        }
    }

    /// <summary>Packs 32 rows of bfloat16 for <see cref="BrainPanels"/>' product: pairs of neighbours stay together, packed[pair][row]. size: a multiple of 32.</summary>
    [SkipLocalsInit, MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackPairs(nint* rows, int first, int size, float* packed)
    {
        Vector512<float>* q = stackalloc Vector512<float>[16];
        for (int half = 0; half < 2; half++, rows += 16, packed += 16)
            for (int d = 0; d < size; d += 32)
            {
                float* to = packed + d / 2 * PanelKeys;
                for (int i = 0; i < 16; i += 4)
                {
                    Quarter(Vector512.Load((float*)((ushort*)rows[i] + first + d)), Vector512.Load((float*)((ushort*)rows[i + 1] + first + d)),
                        Vector512.Load((float*)((ushort*)rows[i + 2] + first + d)), Vector512.Load((float*)((ushort*)rows[i + 3] + first + d)), q + i);
                }
                for (int j = 0; j < 4; j++)
                {
                    (Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> e) = Lanes(q[j], q[4 + j], q[8 + j], q[12 + j]);
                    a.Store(to + j * PanelKeys);
                    b.Store(to + (4 + j) * PanelKeys);
                    c.Store(to + (8 + j) * PanelKeys);
                    e.Store(to + (12 + j) * PanelKeys);
                }
            }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Part<TFormat>(Vector512<float> pairs, float* to, int stride) where TFormat : struct, IRowFormat
    {
        Vector512<uint> bits = pairs.AsUInt32();
        TFormat.Expand(bits & Vector512.Create(0xFFFFu)).Store(to);
        TFormat.Expand(bits >>> 16).Store(to + stride);
    }

    /// <summary>Rounds one and two, within 128-bit lanes: q[j] holds columns 4·lane + j of four rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Quarter(Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d, Vector512<float>* q)
    {
        Vector512<double> ab0 = Avx512F.UnpackLow(a, b).AsDouble(), ab1 = Avx512F.UnpackHigh(a, b).AsDouble();
        Vector512<double> cd0 = Avx512F.UnpackLow(c, d).AsDouble(), cd1 = Avx512F.UnpackHigh(c, d).AsDouble();
        q[0] = Avx512F.UnpackLow(ab0, cd0).AsSingle();
        q[1] = Avx512F.UnpackHigh(ab0, cd0).AsSingle();
        q[2] = Avx512F.UnpackLow(ab1, cd1).AsSingle();
        q[3] = Avx512F.UnpackHigh(ab1, cd1).AsSingle();
    }

    /// <summary>Rounds three and four: the same lanes of the four quarters come together.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector512<float>, Vector512<float>, Vector512<float>, Vector512<float>) Lanes(Vector512<float> q0, Vector512<float> q1, Vector512<float> q2, Vector512<float> q3)
    {
        Vector512<float> even0 = Avx512F.Shuffle4x128(q0, q1, 0x88), odd0 = Avx512F.Shuffle4x128(q0, q1, 0xDD);
        Vector512<float> even1 = Avx512F.Shuffle4x128(q2, q3, 0x88), odd1 = Avx512F.Shuffle4x128(q2, q3, 0xDD);
        return (Avx512F.Shuffle4x128(even0, even1, 0x88), Avx512F.Shuffle4x128(odd0, odd1, 0x88),
            Avx512F.Shuffle4x128(even0, even1, 0xDD), Avx512F.Shuffle4x128(odd0, odd1, 0xDD));
    }

    /// <summary>Packs up to <see cref="RowBlock"/> rows for <see cref="Scores"/>, every number times the scale: packed[d][row].</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackRow(float* source, int rows, int row, int size, float scale, float* packed)
    {
        for (int d = 0; d < size; d++) packed[d * rows + row] = source[d] * scale;
    }

    /// <summary>Memory that is asked for while scores are computed: two sets of 32 rows, 2^Shift cache lines of each from a byte on.</summary>
    public readonly struct Ahead(nint* keys, long keyByte, nint* values, long valueByte, int shift)
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Fetch(int step)
        {
            if (!Sse.IsSupported || keys == null) return;
            int row = step >> shift & PanelKeys - 1;
            long line = (step & (1 << shift) - 1) * 64L;
            Sse.Prefetch1((byte*)keys[row] + keyByte + line);
            Sse.Prefetch1((byte*)values[row] + valueByte + line);
        }
    }

    /// <summary>Asks for a cache line of each of 32 rows.</summary>
    public static void Fetch(nint* rows, long offset)
    {
        if (!Sse.IsSupported) return;
        for (int i = 0; i < PanelKeys; i++) Sse.Prefetch0((byte*)rows[i] + offset);
    }

    /// <summary>How many rows a kernel works on, as a type argument: each count is compiled on its own, with its sums in registers.</summary>
    internal interface IRows
    {
        static abstract int Count { get; }
    }

    internal readonly struct Rows1 : IRows { public static int Count => 1; }
    internal readonly struct Rows2 : IRows { public static int Count => 2; }
    internal readonly struct Rows3 : IRows { public static int Count => 3; }
    internal readonly struct Rows4 : IRows { public static int Count => 4; }
    internal readonly struct Rows5 : IRows { public static int Count => 5; }
    internal readonly struct Rows6 : IRows { public static int Count => 6; }
    internal readonly struct Rows7 : IRows { public static int Count => 7; }
    internal readonly struct Rows8 : IRows { public static int Count => 8; }

    /// <summary>scores[row][key] = q_row · key for 32 packed keys. q: packed[d][row]; rows of scores lie stride numbers apart.</summary>
    public static void Scores(float* q, int rows, float* keys, int size, float* scores, int stride, Ahead ahead = default)
    {
        if (!Vector512.IsHardwareAccelerated)
        {
            for (int r = 0; r < rows; r += NarrowRows)
                for (int half = 0; half < 2; half++)
                {
                    float* from = keys + 16 * half, to = scores + (long)r * stride + 16 * half;
                    Ahead here = r == 0 && half == 0 ? ahead : default;
                    switch (Math.Min(rows - r, NarrowRows))
                    {
                        case 1: NarrowScores<Rows1>(q + r, rows, from, size, to, stride, here); break;
                        case 2: NarrowScores<Rows2>(q + r, rows, from, size, to, stride, here); break;
                        case 3: NarrowScores<Rows3>(q + r, rows, from, size, to, stride, here); break;
                        default: NarrowScores<Rows4>(q + r, rows, from, size, to, stride, here); break;
                    }
                }
            return;
        }
        switch (rows)
        {
            case 1: Scores<Rows1>(q, keys, size, scores, stride, ahead); break;
            case 2: Scores<Rows2>(q, keys, size, scores, stride, ahead); break;
            case 3: Scores<Rows3>(q, keys, size, scores, stride, ahead); break;
            case 4: Scores<Rows4>(q, keys, size, scores, stride, ahead); break;
            case 5: Scores<Rows5>(q, keys, size, scores, stride, ahead); break;
            case 6: Scores<Rows6>(q, keys, size, scores, stride, ahead); break;
            case 7: Scores<Rows7>(q, keys, size, scores, stride, ahead); break;
            case 8: Scores<Rows8>(q, keys, size, scores, stride, ahead); break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Scores<TRows>(float* q, float* keys, int size, float* scores, int stride, Ahead ahead) where TRows : struct, IRows
    {
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default, a4 = default, a5 = default, a6 = default, a7 = default;
        Vector512<float> b0 = default, b1 = default, b2 = default, b3 = default, b4 = default, b5 = default, b6 = default, b7 = default;
        for (int d = 0; d < size; d++, q += TRows.Count, keys += PanelKeys)
        {
            ahead.Fetch(d);
            Vector512<float> k0 = Vector512.Load(keys), k1 = Vector512.Load(keys + 16);
            Add(q[0], k0, k1, ref a0, ref b0);
            if (TRows.Count > 1) Add(q[1], k0, k1, ref a1, ref b1);
            if (TRows.Count > 2) Add(q[2], k0, k1, ref a2, ref b2);
            if (TRows.Count > 3) Add(q[3], k0, k1, ref a3, ref b3);
            if (TRows.Count > 4) Add(q[4], k0, k1, ref a4, ref b4);
            if (TRows.Count > 5) Add(q[5], k0, k1, ref a5, ref b5);
            if (TRows.Count > 6) Add(q[6], k0, k1, ref a6, ref b6);
            if (TRows.Count > 7) Add(q[7], k0, k1, ref a7, ref b7);
        }
        Store(scores, a0, b0);
        if (TRows.Count > 1) Store(scores + stride, a1, b1);
        if (TRows.Count > 2) Store(scores + 2 * stride, a2, b2);
        if (TRows.Count > 3) Store(scores + 3 * stride, a3, b3);
        if (TRows.Count > 4) Store(scores + 4 * stride, a4, b4);
        if (TRows.Count > 5) Store(scores + 5 * stride, a5, b5);
        if (TRows.Count > 6) Store(scores + 6 * stride, a6, b6);
        if (TRows.Count > 7) Store(scores + 7 * stride, a7, b7);
    }

    /// <summary>The same for 16 keys, with sums that sixteen registers of half the width hold.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void NarrowScores<TRows>(float* q, int rows, float* keys, int size, float* scores, int stride, Ahead ahead) where TRows : struct, IRows
    {
        Vector256<float> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        for (int d = 0; d < size; d++, q += rows, keys += PanelKeys)
        {
            ahead.Fetch(d);
            Vector256<float> k0 = Vector256.Load(keys), k1 = Vector256.Load(keys + 8);
            Add(q[0], k0, k1, ref a0, ref b0);
            if (TRows.Count > 1) Add(q[1], k0, k1, ref a1, ref b1);
            if (TRows.Count > 2) Add(q[2], k0, k1, ref a2, ref b2);
            if (TRows.Count > 3) Add(q[3], k0, k1, ref a3, ref b3);
        }
        Store(scores, a0, b0);
        if (TRows.Count > 1) Store(scores + stride, a1, b1);
        if (TRows.Count > 2) Store(scores + 2 * stride, a2, b2);
        if (TRows.Count > 3) Store(scores + 3 * stride, a3, b3);
    }

    /// <summary>
    /// The softmax of a row of scores within its chunk: scores become e^(s − m) for keys [from, limit) and 0 for the others up to 'end'; returns their
    /// sum and m, the largest score (−∞ with sum 0 where there is none).
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
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

    /// <summary>
    /// sums[row][d] = sums[row][d]·keep[row] + (Σ_key weights[row][key]·value_key[d])·take[row] for d &lt; size, which may be exceeded by up to 31. Rows of weights lie
    /// <see cref="ChunkKeys"/> numbers apart, rows of sums stride numbers.
    /// </summary>
    public static void WeightedSum<TFormat>(float* weights, int rows, int keys, nint* values, int width, int first, int size, float* sums, int stride, float* keep, float* take)
        where TFormat : struct, IRowFormat
    {
        if (!Vector512.IsHardwareAccelerated)
        {
            for (int d = 0; d < size; d += 16)
                for (int r = 0; r < rows; r += NarrowRows)
                {
                    float* from = weights + r * ChunkKeys, to = sums + (long)r * stride + d;
                    switch (Math.Min(rows - r, NarrowRows))
                    {
                        case 1: NarrowSum<TFormat, Rows1>(from, keys, values, width, first + d, to, stride, keep + r, take + r); break;
                        case 2: NarrowSum<TFormat, Rows2>(from, keys, values, width, first + d, to, stride, keep + r, take + r); break;
                        case 3: NarrowSum<TFormat, Rows3>(from, keys, values, width, first + d, to, stride, keep + r, take + r); break;
                        default: NarrowSum<TFormat, Rows4>(from, keys, values, width, first + d, to, stride, keep + r, take + r); break;
                    }
                }
            return;
        }
        for (int d = 0; d < size; d += 32)
        {
            switch (rows)
            {
                case 1: Sum<TFormat, Rows1>(weights, keys, values, width, first + d, sums + d, stride, keep, take); break;
                case 2: Sum<TFormat, Rows2>(weights, keys, values, width, first + d, sums + d, stride, keep, take); break;
                case 3: Sum<TFormat, Rows3>(weights, keys, values, width, first + d, sums + d, stride, keep, take); break;
                case 4: Sum<TFormat, Rows4>(weights, keys, values, width, first + d, sums + d, stride, keep, take); break;
                case 5: Sum<TFormat, Rows5>(weights, keys, values, width, first + d, sums + d, stride, keep, take); break;
                case 6: Sum<TFormat, Rows6>(weights, keys, values, width, first + d, sums + d, stride, keep, take); break;
                case 7: Sum<TFormat, Rows7>(weights, keys, values, width, first + d, sums + d, stride, keep, take); break;
                case 8: Sum<TFormat, Rows8>(weights, keys, values, width, first + d, sums + d, stride, keep, take); break;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Sum<TFormat, TRows>(float* p, int keys, nint* values, int width, int at, float* sums, int stride, float* keep, float* take)
        where TFormat : struct, IRowFormat where TRows : struct, IRows
    {
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default, a4 = default, a5 = default, a6 = default, a7 = default;
        Vector512<float> b0 = default, b1 = default, b2 = default, b3 = default, b4 = default, b5 = default, b6 = default, b7 = default;
        for (int k = 0; k < keys; k++, p++)
        {
            byte* row = (byte*)values[k];
            TFormat.LoadTwo(row, width, at, out Vector512<float> v0, out Vector512<float> v1);
            Add(p[0], v0, v1, ref a0, ref b0);
            if (TRows.Count > 1) Add(p[ChunkKeys], v0, v1, ref a1, ref b1);
            if (TRows.Count > 2) Add(p[2 * ChunkKeys], v0, v1, ref a2, ref b2);
            if (TRows.Count > 3) Add(p[3 * ChunkKeys], v0, v1, ref a3, ref b3);
            if (TRows.Count > 4) Add(p[4 * ChunkKeys], v0, v1, ref a4, ref b4);
            if (TRows.Count > 5) Add(p[5 * ChunkKeys], v0, v1, ref a5, ref b5);
            if (TRows.Count > 6) Add(p[6 * ChunkKeys], v0, v1, ref a6, ref b6);
            if (TRows.Count > 7) Add(p[7 * ChunkKeys], v0, v1, ref a7, ref b7);
        }
        Merge(sums, a0, b0, keep[0], take[0]);
        if (TRows.Count > 1) Merge(sums + stride, a1, b1, keep[1], take[1]);
        if (TRows.Count > 2) Merge(sums + 2 * stride, a2, b2, keep[2], take[2]);
        if (TRows.Count > 3) Merge(sums + 3 * stride, a3, b3, keep[3], take[3]);
        if (TRows.Count > 4) Merge(sums + 4 * stride, a4, b4, keep[4], take[4]);
        if (TRows.Count > 5) Merge(sums + 5 * stride, a5, b5, keep[5], take[5]);
        if (TRows.Count > 6) Merge(sums + 6 * stride, a6, b6, keep[6], take[6]);
        if (TRows.Count > 7) Merge(sums + 7 * stride, a7, b7, keep[7], take[7]);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void NarrowSum<TFormat, TRows>(float* p, int keys, nint* values, int width, int at, float* sums, int stride, float* keep, float* take)
        where TFormat : struct, IRowFormat where TRows : struct, IRows
    {
        Vector256<float> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        for (int k = 0; k < keys; k++, p++)
        {
            Vector512<float> v = TFormat.Load((byte*)values[k], width, at);
            Vector256<float> v0 = v.GetLower(), v1 = v.GetUpper();
            Add(p[0], v0, v1, ref a0, ref b0);
            if (TRows.Count > 1) Add(p[ChunkKeys], v0, v1, ref a1, ref b1);
            if (TRows.Count > 2) Add(p[2 * ChunkKeys], v0, v1, ref a2, ref b2);
            if (TRows.Count > 3) Add(p[3 * ChunkKeys], v0, v1, ref a3, ref b3);
        }
        Merge(sums, a0, b0, keep[0], take[0]);
        if (TRows.Count > 1) Merge(sums + stride, a1, b1, keep[1], take[1]);
        if (TRows.Count > 2) Merge(sums + 2 * stride, a2, b2, keep[2], take[2]);
        if (TRows.Count > 3) Merge(sums + 3 * stride, a3, b3, keep[3], take[3]);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(float factor, Vector256<float> x, Vector256<float> y, ref Vector256<float> a, ref Vector256<float> b)
    {
        Vector256<float> f = Vector256.Create(factor);
        a = Vector256.FusedMultiplyAdd(f, x, a);
        b = Vector256.FusedMultiplyAdd(f, y, b);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* p, Vector256<float> a, Vector256<float> b)
    {
        a.Store(p);
        b.Store(p + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Merge(float* sums, Vector256<float> a, Vector256<float> b, float keep, float take)
    {
        Vector256<float> k = Vector256.Create(keep), t = Vector256.Create(take);
        Vector256.FusedMultiplyAdd(Vector256.Load(sums), k, a * t).Store(sums);
        Vector256.FusedMultiplyAdd(Vector256.Load(sums + 8), k, b * t).Store(sums + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(float factor, Vector512<float> x, Vector512<float> y, ref Vector512<float> a, ref Vector512<float> b)
    {
        Vector512<float> f = Vector512.Create(factor);
        a = Fma(f, x, a);
        b = Fma(f, y, b);
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
