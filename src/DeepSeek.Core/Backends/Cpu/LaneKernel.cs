using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using DeepSeek.Backends.Cpu.Dot;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>Sums over groups of columns of a token's bytes times unsigned bytes of eight rows: <c>End(Add(… Add(Begin(o), w₀, x₀) …, wₙ, xₙ)) = o + Σ wₖ·xₖ</c>, lane by lane.</summary>
internal interface ILaneSum
{
    /// <param name="pairs">Where sums begin, in two parts of 16 bits that count together.</param>
    static abstract Vector256<int> Begin(Vector256<short> pairs);

    static abstract Vector256<int> Add(Vector256<int> sum, Vector256<byte> w, Vector256<sbyte> x);

    /// <summary>Adds two sums, of which one began at zero.</summary>
    static abstract Vector256<int> Join(Vector256<int> a, Vector256<int> b);

    static abstract Vector256<int> End(Vector256<int> sum);

    /// <summary>Adds signed bytes, given their magnitudes too; such sums are whole numbers of 32 bits from the beginning, and are not ended.</summary>
    static abstract Vector256<int> AddSigned(Vector256<int> sum, Vector256<sbyte> w, Vector256<byte> magnitude, Vector256<sbyte> x);
}

/// <summary>
/// VPMADDUBSW. Sums stay in 16 bits, two for each lane: they may overflow on the way, which does not matter, because the results fit: each is the sum over at most 16 columns of a whole
/// number of magnitude up to 16 times one up to 127, or over 8 of one up to 32.
/// </summary>
internal readonly struct LaneSumAvx2 : ILaneSum
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Begin(Vector256<short> pairs) => pairs.AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Add(Vector256<int> sum, Vector256<byte> w, Vector256<sbyte> x) => (sum.AsInt16() + Avx2.MultiplyAddAdjacent(w, x)).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Join(Vector256<int> a, Vector256<int> b) => (a.AsInt16() + b.AsInt16()).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> End(Vector256<int> sum) => Avx2.MultiplyAddAdjacent(sum.AsInt16(), Vector256<short>.One);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> AddSigned(Vector256<int> sum, Vector256<sbyte> w, Vector256<byte> magnitude, Vector256<sbyte> x)
        => sum + Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(magnitude, Avx2.Sign(x, w)), Vector256<short>.One);
}

/// <summary>VPDPBUSD of 256 bits.</summary>
internal readonly struct LaneSumVnni : ILaneSum
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Begin(Vector256<short> pairs) => Avx2.MultiplyAddAdjacent(pairs, Vector256<short>.One);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Add(Vector256<int> sum, Vector256<byte> w, Vector256<sbyte> x) => AvxVnni.MultiplyWideningAndAdd(sum, w, x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Join(Vector256<int> a, Vector256<int> b) => a + b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> End(Vector256<int> sum) => sum;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> AddSigned(Vector256<int> sum, Vector256<sbyte> w, Vector256<byte> magnitude, Vector256<sbyte> x)
        => AvxVnni.MultiplyWideningAndAdd(sum, magnitude, Avx2.Sign(x, w));
}

/// <summary>
/// The product of one format's stored blocks with any number of tokens by .NET's own 256-bit intrinsics: rows are the lanes of a vector, a block of eight rows is unpacked once for a tile of
/// tokens. A result is made by the same operations in the same order whatever the count of tokens, and no sum goes over lanes.
/// </summary>
internal sealed unsafe class LaneKernel : StoredKernel
{
    /// <summary>Bytes of a tile at most (unless it is one token), so that it stays in the second level of the cache beside weights.</summary>
    private const int TileBytes = 256 << 10;

    private const int MostTokens = 64, FarTokens = 4, TokenStep = 64;

    // A token's numbers behind its 32 whole numbers: scale; scale·Σ q; −8·Σ q, −16·Σ q in pairs of 16 bits; −32·Σ of the first and of the last 16, the same; scale·Σ of the first and of the last 16.
    private const int ScaleAt = 32, SumAt = 36, Eights = 40, Sixteens = 44, FirstThirtyTwos = 48, LastThirtyTwos = 52, FirstSum = 56, LastSum = 60;

    private readonly delegate*<byte*, long, int, byte*, int, float*, void> product;

    private LaneKernel(int unitColumns, delegate*<byte*, long, int, byte*, int, float*, void> product) : base(unitColumns) => this.product = product;

    /// <summary>The product for a format; null where there is none.</summary>
    public static LaneKernel? Of(Capabilities capabilities, DType type)
    {
        if (!capabilities.Avx2) return null;
        return type switch
        {
            DType.Q4_0 => Of<Q4_0>(capabilities),
            DType.Q4_1 => Of<Q4_1>(capabilities),
            DType.Q5_0 => Of<Q5_0>(capabilities),
            DType.Q5_1 => Of<Q5_1>(capabilities),
            DType.Q8_0 => Of<Q8_0>(capabilities),
            DType.Q4_K => Of<Q4_K>(capabilities),
            DType.Q5_K => Of<Q5_K>(capabilities),
            DType.Q6_K => Of<Q6_K>(capabilities),
            DType.IQ4_NL => Of<IQ4_NL>(capabilities),
            DType.MXFP4 => Of<MXFP4>(capabilities),
            _ => null,
        };
    }

    private static LaneKernel Of<TFormat>(Capabilities capabilities) where TFormat : struct, ILaneFormat
        => new(TFormat.Elements, capabilities.AvxVnni ? &Run<TFormat, LaneSumVnni> : &Run<TFormat, LaneSumAvx2>);

    private static int TileTokens(int columns) => Math.Clamp(TileBytes / (columns / 32 * TokenStep), 1, MostTokens);

    public override int Tiles(int columns, int tokens) => (tokens + TileTokens(columns) - 1) / TileTokens(columns);

    public override long TilesBytes(int columns, int tokens) => columns / 32 * (long)TokenStep * tokens;

    public override void Pack(QuantisedRows x, int tile, byte* tiles)
    {
        int most = TileTokens(x.Columns), first = tile * most, count = Math.Min(most, x.Rows - first), steps = x.Columns / 32;
        tiles += TilesBytes(x.Columns, first);
        for (int t = 0; t < count; t++) PackToken((sbyte*)x.Q + (long)(first + t) * x.Columns, (float*)x.Scales + (long)(first + t) * steps, (float*)x.Sums + (long)(first + t) * steps, steps, tiles + t * TokenStep, count * TokenStep);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackToken(sbyte* q, float* scales, float* sums, int steps, byte* to, long stride)
    {
        for (int step = 0; step < steps; step++, q += 32, to += stride)
        {
            Vector256<sbyte> bytes = Vector256.Load(q);
            bytes.Store((sbyte*)to);
            // Sums of pairs; then of the four pairs of each half, with itself moved by two and by one.
            Vector256<int> pairs = Avx2.MultiplyAddAdjacent(Vector256<byte>.One, bytes).AsInt32();
            pairs = (pairs.AsInt16() + Avx2.Shuffle(pairs, 0b01_00_11_10).AsInt16()).AsInt32();
            pairs = (pairs.AsInt16() + Avx2.Shuffle(pairs, 0b10_11_00_01).AsInt16()).AsInt32();
            Vector128<short> first = -pairs.GetLower().AsInt16(), last = -pairs.GetUpper().AsInt16(), all = first + last;
            *(float*)(to + ScaleAt) = scales[step];
            *(float*)(to + SumAt) = sums[step];
            *(int*)(to + Eights) = (all << 3).AsInt32()[0];
            *(int*)(to + Sixteens) = (all << 4).AsInt32()[0];
            *(int*)(to + FirstThirtyTwos) = (first << 5).AsInt32()[0];
            *(int*)(to + LastThirtyTwos) = (last << 5).AsInt32()[0];
            *(float*)(to + FirstSum) = scales[step] * -(first[0] + first[1]);
            *(float*)(to + LastSum) = scales[step] * -(last[0] + last[1]);
        }
    }

    public override void Multiply(Weight w, int first, int count, byte* tiles, int tokens, Tensor y)
    {
        float* results = stackalloc float[MostTokens * Rows];
        int most = TileTokens(w.Columns), whole = count / Rows, rest = count % Rows, blocks = w.Columns / UnitColumns;
        for (int t = 0; t < tokens; t += most)
        {
            int some = Math.Min(most, tokens - t);
            byte* tile = tiles + TilesBytes(w.Columns, t);
            float* to = (float*)y.Address + (long)t * y.Stride + first;
            // With few tokens the rows of a panel lie far apart, each a stream of its own; else side by side.
            int distance = some <= FarTokens ? whole : 1, next = some <= FarTokens ? 1 : Rows;
            for (int panel = 0; panel < whole; panel++)
            {
                product((byte*)w.Row(first + panel * next), w.RowBytes * distance, blocks, tile, some, results);
                for (int i = 0; i < some; i++)
                    for (int r = 0; r < Rows; r++) to[(long)i * y.Stride + panel * next + r * distance] = results[i * Rows + r];
            }
            if (rest == 0) continue;
            // A panel of the last rows, of which only the rest is stored; at the weight's beginning its first ones.
            int shift = Math.Max(0, first + count - Rows) - (first + whole * Rows);
            product((byte*)w.Row(first + whole * Rows + shift), w.RowBytes, blocks, tile, some, results);
            for (int i = 0; i < some; i++)
                for (int r = 0; r < rest; r++) to[(long)i * y.Stride + whole * Rows + r] = results[i * Rows + r - shift];
        }
    }

    /// <summary>16 rows times a tile. Results: [tokens, 16].</summary>
    [SkipLocalsInit, MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Run<TFormat, TSum>(byte* weights, long rowBytes, int blocks, byte* tile, int tokens, float* results) where TFormat : struct, ILaneFormat where TSum : struct, ILaneSum
    {
        byte* memory = stackalloc byte[LaneRows.Count * 256 + 32 * LaneRows.Count * sizeof(float) + 32];
        byte* q = (byte*)((nint)memory + 31 & -32);
        float* scales = (float*)(q + LaneRows.Count * 256), minima = scales + 16 * LaneRows.Count;
        for (int i = 0; i < tokens * Rows; i += 8) Vector256<float>.Zero.Store(results + i);
        LaneRows low = new(weights, rowBytes), high = new(weights + LaneRows.Count * rowBytes, rowBytes);
        for (int b = 0; b < blocks; b++)
        {
            TFormat.UnpackLanes(low, q, scales, minima);
            Multiply<TFormat, TSum>(q, scales, minima, tile, tokens, results);
            TFormat.UnpackLanes(high, q, scales, minima);
            Multiply<TFormat, TSum>(q, scales, minima, tile, tokens, results + LaneRows.Count);
            low = low.Skip(TFormat.Bytes);
            high = high.Skip(TFormat.Bytes);
            tile += (long)TFormat.Elements / 32 * TokenStep * tokens;
        }
    }

    /// <summary>A block of eight rows times all tokens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Multiply<TFormat, TSum>(byte* q, float* scales, float* minima, byte* tile, int tokens, float* results) where TFormat : struct, ILaneFormat where TSum : struct, ILaneSum
    {
        for (int step = 0; step < TFormat.Elements / 32; step++, q += 256, tile += TokenStep * tokens)
            Step<TFormat, TSum>(q, scales + 256 / TFormat.GroupElements * step, minima + 256 / TFormat.GroupElements * step, tile, tile + TokenStep * tokens, results);
    }

    /// <summary>32 columns of eight rows times the tokens in [x, end).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Step<TFormat, TSum>(byte* q, float* scales, float* minima, byte* x, byte* end, float* results) where TFormat : struct, ILaneFormat where TSum : struct, ILaneSum
    {
        Vector256<float> scale = Vector256.Load(scales), minimum = TFormat.HasMinima ? Vector256.Load(minima) : default;
        Vector256<float> lastScale = TFormat.GroupElements == 16 ? Vector256.Load(scales + 8) : default, lastMinimum = TFormat.GroupElements == 16 && TFormat.HasMinima ? Vector256.Load(minima + 8) : default;
        Vector256<byte> w0 = Vector256.Load(q), w1 = Vector256.Load(q + 32), w2 = Vector256.Load(q + 64), w3 = Vector256.Load(q + 96);
        Vector256<byte> w4 = Vector256.Load(q + 128), w5 = Vector256.Load(q + 160), w6 = Vector256.Load(q + 192), w7 = Vector256.Load(q + 224);
        if (TFormat.Offset == ILaneFormat.Signed)
        {
            w0 = Avx2.Abs(w0.AsSByte());
            w1 = Avx2.Abs(w1.AsSByte());
            w2 = Avx2.Abs(w2.AsSByte());
            w3 = Avx2.Abs(w3.AsSByte());
            w4 = Avx2.Abs(w4.AsSByte());
            w5 = Avx2.Abs(w5.AsSByte());
            w6 = Avx2.Abs(w6.AsSByte());
            w7 = Avx2.Abs(w7.AsSByte());
        }
        for (; x < end; x += TokenStep, results += Rows)
        {
            Vector256<float> tokenScale = Vector256.Create(*(float*)(x + ScaleAt)), result = Vector256.Load(results);
            Vector256<int> sum, other; // two chains of sums, since one would wait for itself
            if (TFormat.Offset == ILaneFormat.Signed)
            {
                sum = TSum.AddSigned(Vector256<int>.Zero, Vector256.Load(q).AsSByte(), w0, Four(x, 0));
                other = TSum.AddSigned(Vector256<int>.Zero, Vector256.Load(q + 32).AsSByte(), w1, Four(x, 1));
                sum = TSum.AddSigned(sum, Vector256.Load(q + 64).AsSByte(), w2, Four(x, 2));
                other = TSum.AddSigned(other, Vector256.Load(q + 96).AsSByte(), w3, Four(x, 3));
                sum = TSum.AddSigned(sum, Vector256.Load(q + 128).AsSByte(), w4, Four(x, 4));
                other = TSum.AddSigned(other, Vector256.Load(q + 160).AsSByte(), w5, Four(x, 5));
                sum = TSum.AddSigned(sum, Vector256.Load(q + 192).AsSByte(), w6, Four(x, 6));
                other = TSum.AddSigned(other, Vector256.Load(q + 224).AsSByte(), w7, Four(x, 7));
                result = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(sum + other), scale * tokenScale, result);
                if (TFormat.HasMinima) result = Vector256.FusedMultiplyAdd(minimum, Vector256.Create(*(float*)(x + SumAt)), result);
                result.Store(results);
                continue;
            }
            if (TFormat.GroupElements == 32)
            {
                sum = TSum.Begin(TFormat.Offset == 0 ? Vector256<short>.Zero : Vector256.Create(*(int*)(x + (TFormat.Offset == 8 ? Eights : Sixteens))).AsInt16());
                sum = TSum.Add(sum, w0, Four(x, 0));
                other = TSum.Add(Vector256<int>.Zero, w1, Four(x, 1));
                sum = TSum.Add(sum, w2, Four(x, 2));
                other = TSum.Add(other, w3, Four(x, 3));
                sum = TSum.Add(sum, w4, Four(x, 4));
                other = TSum.Add(other, w5, Four(x, 5));
                sum = TSum.Add(sum, w6, Four(x, 6));
                other = TSum.Add(other, w7, Four(x, 7));
                result = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TSum.End(TSum.Join(sum, other))), scale * tokenScale, result);
                if (TFormat.HasMinima) result = Vector256.FusedMultiplyAdd(minimum, Vector256.Create(*(float*)(x + SumAt)), result);
                result.Store(results);
                continue;
            }
            sum = TSum.Begin(Vector256.Create(*(int*)(x + FirstThirtyTwos)).AsInt16());
            sum = TSum.Add(sum, w0, Four(x, 0));
            sum = TSum.Add(sum, w1, Four(x, 1));
            sum = TSum.Add(sum, w2, Four(x, 2));
            sum = TSum.Add(sum, w3, Four(x, 3));
            result = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TSum.End(sum)), scale * tokenScale, result);
            if (TFormat.HasMinima) result = Vector256.FusedMultiplyAdd(minimum, Vector256.Create(*(float*)(x + FirstSum)), result);
            sum = TSum.Begin(Vector256.Create(*(int*)(x + LastThirtyTwos)).AsInt16());
            sum = TSum.Add(sum, w4, Four(x, 4));
            sum = TSum.Add(sum, w5, Four(x, 5));
            sum = TSum.Add(sum, w6, Four(x, 6));
            sum = TSum.Add(sum, w7, Four(x, 7));
            result = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TSum.End(sum)), lastScale * tokenScale, result);
            if (TFormat.HasMinima) result = Vector256.FusedMultiplyAdd(lastMinimum, Vector256.Create(*(float*)(x + LastSum)), result);
            result.Store(results);
        }
    }

    /// <summary>Four columns of a token in all lanes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<sbyte> Four(byte* x, int index) => Vector256.Create(((int*)x)[index]).AsSByte();
}
