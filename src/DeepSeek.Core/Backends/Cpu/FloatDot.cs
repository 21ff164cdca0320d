using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using DeepSeek.Backends.Cpu.Assembly;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// Products of weight rows in a floating-point format with float32 activations. Scales of blocks go to the activations, once for all rows that share them. Each number of a result is
/// 16 sums, of every sixteenth column in ascending order, which are added up at the end: the same whatever the count of rows and tokens.
/// </summary>
internal static unsafe class FloatDot
{
    /// <summary>Row streams of a product with one token: one alone does not keep the memory busy.</summary>
    private const int Streams = 4;

    /// <summary>Columns of a step of the kernels.</summary>
    private const int Step = 64;

    private const int Lanes = 16;

    /// <summary>Rows whose sums wait together for their next columns.</summary>
    private const int BandRows = 16;

    /// <summary>Activations that are worked on at a time: half of a first-level cache.</summary>
    private const int NearNumbers = 4096;

    /// <summary>Bytes of working memory that <see cref="Rows"/> wants.</summary>
    public static long ScratchBytes(int columns) => (long)(AttentionKernels.RowBlock + 1) * Line(columns) * sizeof(float);

    private static int Line(int columns) => (columns + 15) & -16;

    /// <summary>y[t][n] for rows [first, first + count) and all tokens.</summary>
    /// <param name="w">The weight.</param>
    /// <param name="first">First row.</param>
    /// <param name="count">Rows.</param>
    /// <param name="x">Activations. [T, Columns]</param>
    /// <param name="y">Products, without bias. [T, Rows]</param>
    /// <param name="memory">Working memory.</param>
    /// <param name="following">Rows behind these that are multiplied next; they are asked for.</param>
    /// <param name="kernels">What the processor may be asked to do, and assembled kernels.</param>
    public static void Rows(Weight w, int first, int count, Tensor x, Tensor y, float* memory, int following, Kernels kernels)
    {
        if (!Vector512.IsHardwareAccelerated && (w.Type is DType.F16 or DType.F8E4M3 or DType.F8E5M2))
        {
            // Widening takes many instructions of half the width: once for all tokens, eight rows at a time.
            for (int n = first, some; n < first + count; n += some)
            {
                some = Math.Min(AttentionKernels.RowBlock, first + count - n);
                for (int i = 0; i < some; i++) FloatRows.Read(w, n + i, memory + (long)i * w.Columns, kernels.Capabilities);
                Rows<LoadF32>(new((byte*)memory, (long)w.Columns * sizeof(float), w.Columns), some, x, y with { Address = y.Address + n * sizeof(float) }, kernels);
            }
            return;
        }
        switch (w.Type)
        {
            case DType.F32: Rows<LoadF32>(w, first, count, x, y, memory, following, kernels); break;
            case DType.F16: Rows<LoadF16>(w, first, count, x, y, memory, following, kernels); break;
            case DType.BF16: Rows<LoadBF16>(w, first, count, x, y, memory, following, kernels); break;
            case DType.F8E5M2: Rows<LoadE5M2>(w, first, count, x, y, memory, following, kernels); break;
            case DType.F8E4M3 when kernels.Capabilities.Avx512Vbmi: Rows<LookE4M3>(w, first, count, x, y, memory, following, kernels); break;
            case DType.F8E4M3: Rows<LoadE4M3>(w, first, count, x, y, memory, following, kernels); break;
            default:
                // Formats that nobody multiplies by: row by row.
                for (int n = first; n < first + count; n++)
                {
                    FloatRows.Read(w, n, memory);
                    Rows<LoadF32>(new((byte*)memory, 0, w.Columns), 1, x, y with { Address = y.Address + n * sizeof(float) }, kernels);
                }
                break;
        }
    }

    /// <summary>Rows of numbers without scales.</summary>
    private readonly struct PlainRows(byte* first, long rowBytes, int columns)
    {
        public long RowBytes { get; } = rowBytes;

        public int Columns { get; } = columns;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public byte* Row(int row) => first + row * RowBytes;
    }

    /// <summary>y[t][n] for all rows and tokens.</summary>
    private static void Rows<TLoad>(PlainRows w, int count, Tensor x, Tensor y, Kernels kernels) where TLoad : struct, IFloatLoader
    {
        int most = MostTokens(kernels);
        for (int t = 0; t < x.Rows; t += most)
            Group<TLoad>(w, 0, count, Math.Min(most, x.Rows - t), (float*)x.Address + (long)t * x.Stride, x.Stride, (float*)y.Address + (long)t * y.Stride, y.Stride, 0, kernels);
    }

    /// <summary>Registers: 2 rows × 8 tokens with 32 of them, 2 × 2 with 16 that are half as wide.</summary>
    private static int MostTokens(Kernels kernels) => kernels.Capabilities.Avx512 ? AttentionKernels.RowBlock : 2;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows<TLoad>(Weight w, int first, int count, Tensor x, Tensor y, float* memory, int following, Kernels kernels) where TLoad : struct, IFloatLoader
    {
        int most = MostTokens(kernels);
        PlainRows rows = new((byte*)w.Row(0), w.RowBytes, w.Columns);
        for (int t = 0, tokens; t < x.Rows; t += tokens)
        {
            tokens = Math.Min(most, x.Rows - t);
            float* from = (float*)x.Address + (long)t * x.Stride, to = (float*)y.Address + (long)t * y.Stride;
            for (int n = first, group; n < first + count; n += group)
            {
                // Rows with the same scales.
                group = first + count - n;
                if (w.Scales is not { } s)
                {
                    Group<TLoad>(rows, n, group, tokens, from, x.Stride, to, y.Stride, following, kernels);
                    continue;
                }
                group = Math.Min(group, s.BlockRows - (n + s.RowOffset) % s.BlockRows);
                int line = Line(w.Columns);
                for (int c = 0; c < w.Columns; c += s.BlockColumns)
                {
                    float scale = FloatRows.Scale(s, n, c);
                    for (int i = 0; i < tokens; i++) Scale(from + (long)i * x.Stride + c, scale, Math.Min(s.BlockColumns, w.Columns - c), memory + (long)i * line + c);
                }
                Group<TLoad>(rows, n, group, tokens, memory, line, to, y.Stride, first + count - n - group + following, kernels);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Scale(float* from, float scale, int count, float* to)
    {
        int i = 0;
        for (; i + 16 <= count; i += 16) (Vector512.Load(from + i) * scale).Store(to + i);
        for (; i < count; i++) to[i] = from[i] * scale;
    }

    /// <summary>Rows whose scales are in the activations, times at most <see cref="AttentionKernels.RowBlock"/> tokens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Group<TLoad>(PlainRows w, int first, int count, int tokens, float* x, int xStride, float* y, int yStride, int following, Kernels kernels) where TLoad : struct, IFloatLoader
    {
        if (tokens > 1)
        {
            for (int n = first, some; n < first + count; n += some)
            {
                some = Math.Min(BandRows, first + count - n);
                Band<TLoad>(w, n, some, tokens, x, xStride, y, yStride, first + count - n - some + following);
            }
            return;
        }
        float* lanes = stackalloc float[Streams * Lanes];
        int each = count / Streams, steps = w.Columns / Step;
        for (int n = first; n < first + each; n++)
        {
            if (TLoad.IsHalf && steps > 0 && kernels.Halves is { } halves) halves.Run(w.Row(n), each * w.RowBytes, x, steps, lanes);
            else FourRows<TLoad>(w.Row(n), each * w.RowBytes, x, steps, Tables<TLoad>(), lanes);
            for (int i = 0; i < Streams; i++) y[n + i * each] = Finish<TLoad>(w.Row(n + i * each), x, steps * Step, w.Columns, lanes + i * Lanes);
        }
        for (int n = first + Streams * each; n < first + count; n++)
        {
            OneRow<TLoad>(w.Row(n), x, steps, Tables<TLoad>(), lanes);
            y[n] = Finish<TLoad>(w.Row(n), x, steps * Step, w.Columns, lanes);
        }
    }

    /// <summary>Some rows times some tokens, as many columns at a time as leave the activations in the nearest cache.</summary>
    [SkipLocalsInit, MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Band<TLoad>(PlainRows w, int first, int count, int tokens, float* x, int xStride, float* y, int yStride, int following) where TLoad : struct, IFloatLoader
    {
        float* lanes = stackalloc float[(BandRows + 1) * AttentionKernels.RowBlock * Lanes];
        new Span<float>(lanes, (count + 1) * tokens * Lanes).Clear();
        int most = NearNumbers / tokens / Step, steps = w.Columns / Step;
        // The next rows are one stretch of memory, which is asked for line after line meanwhile: these rows are read side by side, which no prefetcher follows.
        byte* next = w.Row(first + (following > 0 ? count : 0));
        long advance = following > 0 ? Math.Min(following, count) * 128L * TLoad.Bytes / count & -64 : 0;
        for (int k = 0, some; k < steps; k += some)
        {
            some = Math.Min(most, steps - k);
            long at = (long)k * Step * TLoad.Bytes;
            for (int r = 0; r < count; r += 2, next += advance * some)
            {
                // Of an odd count of rows the last is multiplied twice, and counts once.
                byte* row = w.Row(first + r) + at;
                TwoRows<TLoad>(tokens, row, r + 1 < count ? w.RowBytes : 0, x + k * Step, xStride, some, next, advance, lanes + r * tokens * Lanes);
            }
        }
        for (int r = 0; r < count; r++)
            for (int t = 0; t < tokens; t++)
                y[(long)t * yStride + first + r] = Finish<TLoad>(w.Row(first + r), x + (long)t * xStride, steps * Step, w.Columns, lanes + (r * tokens + t) * Lanes);
    }

    /// <summary>Adds what steps leave over, then all lanes up.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Finish<TLoad>(byte* w, float* x, int done, int count, float* lanes) where TLoad : struct, IFloatLoader
    {
        Vector512<float> sum = Vector512.Load(lanes);
        for (int i = done; i < count; i += 16)
        {
            bool whole = i + 16 <= count;
            Vector512<float> v = whole ? TLoad.Load(w + i * TLoad.Bytes) : FloatRows.LoadRest<TLoad>(w + i * TLoad.Bytes, count - i);
            sum = Vector512.FusedMultiplyAdd(v, whole ? Vector512.Load(x + i) : FloatRows.LoadRest<LoadF32>((byte*)(x + i), count - i), sum);
        }
        return Vector512.Sum(sum);
    }

    // The loops stand alone: where a method calls another, the compiler keeps vectors in memory that live across the call, even in the loop before it.

    private static byte* Tables<TLoad>() where TLoad : struct, IFloatLoader => TLoad.Looks ? E4M3Tables.Address : null;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static FloatStep Begin<TLoad>(byte* at, in E4M3Tables tables) where TLoad : struct, IFloatLoader => TLoad.Looks ? tables.Spread(at) : new(at, default, default);

    /// <summary>Four rows times one token.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourRows<TLoad>(byte* w0, long distance, float* x, int steps, byte* tables, float* lanes) where TLoad : struct, IFloatLoader
    {
        byte* w1 = w0 + distance, w2 = w1 + distance, w3 = w2 + distance;
        E4M3Tables t = new(tables);
        Vector512<float> a = Vector512<float>.Zero, b = a, c = a, d = a;
        for (long at = 0, end = (long)steps * Step * TLoad.Bytes; at < end; at += Step * TLoad.Bytes, x += Step)
        {
            Vector512<float> x0 = Vector512.Load(x), x1 = Vector512.Load(x + 16), x2 = Vector512.Load(x + 32), x3 = Vector512.Load(x + 48);
            Add<TLoad>(Begin<TLoad>(w0 + at, t), x0, x1, x2, x3, ref a);
            Add<TLoad>(Begin<TLoad>(w1 + at, t), x0, x1, x2, x3, ref b);
            Add<TLoad>(Begin<TLoad>(w2 + at, t), x0, x1, x2, x3, ref c);
            Add<TLoad>(Begin<TLoad>(w3 + at, t), x0, x1, x2, x3, ref d);
        }
        a.Store(lanes);
        b.Store(lanes + Lanes);
        c.Store(lanes + 2 * Lanes);
        d.Store(lanes + 3 * Lanes);
    }

    /// <summary>One row times one token.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneRow<TLoad>(byte* w, float* x, int steps, byte* tables, float* lanes) where TLoad : struct, IFloatLoader
    {
        E4M3Tables t = new(tables);
        Vector512<float> a = Vector512<float>.Zero;
        for (long at = 0, end = (long)steps * Step * TLoad.Bytes; at < end; at += Step * TLoad.Bytes, x += Step)
            Add<TLoad>(Begin<TLoad>(w + at, t), Vector512.Load(x), Vector512.Load(x + 16), Vector512.Load(x + 32), Vector512.Load(x + 48), ref a);
        a.Store(lanes);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add<TLoad>(FloatStep w, Vector512<float> x0, Vector512<float> x1, Vector512<float> x2, Vector512<float> x3, ref Vector512<float> sum) where TLoad : struct, IFloatLoader
    {
        sum = Vector512.FusedMultiplyAdd(w.Part<TLoad>(0), x0, sum);
        sum = Vector512.FusedMultiplyAdd(w.Part<TLoad>(1), x1, sum);
        sum = Vector512.FusedMultiplyAdd(w.Part<TLoad>(2), x2, sum);
        sum = Vector512.FusedMultiplyAdd(w.Part<TLoad>(3), x3, sum);
    }

    private static void TwoRows<TLoad>(int tokens, byte* w, long distance, float* x, int stride, int steps, byte* next, long advance, float* lanes) where TLoad : struct, IFloatLoader
    {
        switch (tokens)
        {
            case 2: TwoRows<TLoad, AttentionKernels.Rows2>(w, distance, x, stride, steps, next, advance, Tables<TLoad>(), lanes); break;
            case 3: TwoRows<TLoad, AttentionKernels.Rows3>(w, distance, x, stride, steps, next, advance, Tables<TLoad>(), lanes); break;
            case 4: TwoRows<TLoad, AttentionKernels.Rows4>(w, distance, x, stride, steps, next, advance, Tables<TLoad>(), lanes); break;
            case 5: TwoRows<TLoad, AttentionKernels.Rows5>(w, distance, x, stride, steps, next, advance, Tables<TLoad>(), lanes); break;
            case 6: TwoRows<TLoad, AttentionKernels.Rows6>(w, distance, x, stride, steps, next, advance, Tables<TLoad>(), lanes); break;
            case 7: TwoRows<TLoad, AttentionKernels.Rows7>(w, distance, x, stride, steps, next, advance, Tables<TLoad>(), lanes); break;
            case 8: TwoRows<TLoad, AttentionKernels.Rows8>(w, distance, x, stride, steps, next, advance, Tables<TLoad>(), lanes); break;
        }
    }

    /// <summary>Adds two rows times a few tokens to lanes: [2, tokens, 16]. Memory that follows is asked for.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void TwoRows<TLoad, TTokens>(byte* w0, long distance, float* x, long stride, int steps, byte* next, long advance, byte* tables, float* lanes)
        where TLoad : struct, IFloatLoader where TTokens : struct, AttentionKernels.IRows
    {
        byte* w1 = w0 + distance;
        E4M3Tables t = new(tables);
        float* second = lanes + TTokens.Count * Lanes;
        Vector512<float> a0 = Vector512.Load(lanes), a1 = Vector512.Load(lanes + Lanes), a2 = default, a3 = default, a4 = default, a5 = default, a6 = default, a7 = default;
        Vector512<float> b0 = Vector512.Load(second), b1 = Vector512.Load(second + Lanes), b2 = default, b3 = default, b4 = default, b5 = default, b6 = default, b7 = default;
        if (TTokens.Count > 2) (a2, b2) = (Vector512.Load(lanes + 2 * Lanes), Vector512.Load(second + 2 * Lanes));
        if (TTokens.Count > 3) (a3, b3) = (Vector512.Load(lanes + 3 * Lanes), Vector512.Load(second + 3 * Lanes));
        if (TTokens.Count > 4) (a4, b4) = (Vector512.Load(lanes + 4 * Lanes), Vector512.Load(second + 4 * Lanes));
        if (TTokens.Count > 5) (a5, b5) = (Vector512.Load(lanes + 5 * Lanes), Vector512.Load(second + 5 * Lanes));
        if (TTokens.Count > 6) (a6, b6) = (Vector512.Load(lanes + 6 * Lanes), Vector512.Load(second + 6 * Lanes));
        if (TTokens.Count > 7) (a7, b7) = (Vector512.Load(lanes + 7 * Lanes), Vector512.Load(second + 7 * Lanes));
        for (long at = 0, end = (long)steps * Step * TLoad.Bytes; at < end; at += Step * TLoad.Bytes, x += Step)
        {
            for (int i = 0; Sse.IsSupported && i < 2 * TLoad.Bytes; i++) Sse.Prefetch1(next + 64 * i);
            next += advance;
            FloatStep u = Begin<TLoad>(w0 + at, t), v = Begin<TLoad>(w1 + at, t);
            Part<TTokens>(u.Part<TLoad>(0), v.Part<TLoad>(0), x, stride, ref a0, ref a1, ref a2, ref a3, ref a4, ref a5, ref a6, ref a7, ref b0, ref b1, ref b2, ref b3, ref b4, ref b5, ref b6, ref b7);
            Part<TTokens>(u.Part<TLoad>(1), v.Part<TLoad>(1), x + 16, stride, ref a0, ref a1, ref a2, ref a3, ref a4, ref a5, ref a6, ref a7, ref b0, ref b1, ref b2, ref b3, ref b4, ref b5, ref b6, ref b7);
            Part<TTokens>(u.Part<TLoad>(2), v.Part<TLoad>(2), x + 32, stride, ref a0, ref a1, ref a2, ref a3, ref a4, ref a5, ref a6, ref a7, ref b0, ref b1, ref b2, ref b3, ref b4, ref b5, ref b6, ref b7);
            Part<TTokens>(u.Part<TLoad>(3), v.Part<TLoad>(3), x + 48, stride, ref a0, ref a1, ref a2, ref a3, ref a4, ref a5, ref a6, ref a7, ref b0, ref b1, ref b2, ref b3, ref b4, ref b5, ref b6, ref b7);
        }
        Store(lanes, second, 0, a0, b0);
        Store(lanes, second, 1, a1, b1);
        if (TTokens.Count > 2) Store(lanes, second, 2, a2, b2);
        if (TTokens.Count > 3) Store(lanes, second, 3, a3, b3);
        if (TTokens.Count > 4) Store(lanes, second, 4, a4, b4);
        if (TTokens.Count > 5) Store(lanes, second, 5, a5, b5);
        if (TTokens.Count > 6) Store(lanes, second, 6, a6, b6);
        if (TTokens.Count > 7) Store(lanes, second, 7, a7, b7);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Part<TTokens>(Vector512<float> u, Vector512<float> v, float* x, long stride,
        ref Vector512<float> a0, ref Vector512<float> a1, ref Vector512<float> a2, ref Vector512<float> a3, ref Vector512<float> a4, ref Vector512<float> a5, ref Vector512<float> a6, ref Vector512<float> a7,
        ref Vector512<float> b0, ref Vector512<float> b1, ref Vector512<float> b2, ref Vector512<float> b3, ref Vector512<float> b4, ref Vector512<float> b5, ref Vector512<float> b6, ref Vector512<float> b7)
        where TTokens : struct, AttentionKernels.IRows
    {
        Two(u, v, x, ref a0, ref b0);
        Two(u, v, x + stride, ref a1, ref b1);
        if (TTokens.Count > 2) Two(u, v, x + 2 * stride, ref a2, ref b2);
        if (TTokens.Count > 3) Two(u, v, x + 3 * stride, ref a3, ref b3);
        if (TTokens.Count > 4) Two(u, v, x + 4 * stride, ref a4, ref b4);
        if (TTokens.Count > 5) Two(u, v, x + 5 * stride, ref a5, ref b5);
        if (TTokens.Count > 6) Two(u, v, x + 6 * stride, ref a6, ref b6);
        if (TTokens.Count > 7) Two(u, v, x + 7 * stride, ref a7, ref b7);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Two(Vector512<float> u, Vector512<float> v, float* x, ref Vector512<float> a, ref Vector512<float> b)
    {
        Vector512<float> value = Vector512.Load(x);
        a = Vector512.FusedMultiplyAdd(u, value, a);
        b = Vector512.FusedMultiplyAdd(v, value, b);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* first, float* second, int token, Vector512<float> a, Vector512<float> b)
    {
        a.Store(first + token * Lanes);
        b.Store(second + token * Lanes);
    }
}
