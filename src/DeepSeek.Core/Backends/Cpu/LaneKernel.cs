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
    private const int TileBytes = 512 << 10;

    private const int PanelRows = LaneRows.Count, MostTokens = 64, TokenStep = 64;

    // A token's numbers behind its 32 whole numbers: scale; scale·Σ q; −8·Σ q, −16·Σ q in pairs of 16 bits; −32·Σ of the first and of the last 16, the same.
    private const int ScaleAt = 32, SumAt = 36, Eights = 40, Sixteens = 44, FirstThirtyTwos = 48, LastThirtyTwos = 52;

    // Working memory of a block: what planes share; signed bytes; 16 scales of eight rows; eight minima.
    private const int SignedAt = 2 * 768, ScalesAt = SignedAt + 256, MinimaAt = ScalesAt + 16 * 32, WorkingBytes = MinimaAt + 8 * 32;

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

    /// <summary>Any number: its tiles are as large as pays.</summary>
    public override int MostWithoutPanels(BlockFormat format) => int.MaxValue;

    public override int MostWithWholeItems => int.MaxValue;

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
        }
    }

    [SkipLocalsInit]
    public override void Multiply(Weight w, int first, int count, byte* tiles, int tokens, Tensor y)
    {
        float* results = stackalloc float[PanelRows * MostTokens * PanelRows];
        int most = TileTokens(w.Columns), whole = count / PanelRows, rest = count % PanelRows, blocks = w.Columns / UnitColumns;
        for (int t = 0; t < tokens; t += most)
        {
            int some = Math.Min(most, tokens - t);
            byte* tile = tiles + TilesBytes(w.Columns, t);
            float* to = (float*)y.Address + (long)t * y.Stride + first;
            // The rows of a panel lie far apart, each a stream of its own that prefetchers follow. Results of eight panels at a time are neighbours.
            for (int panel = 0, panels; panel < whole; panel += panels)
            {
                panels = Math.Min(PanelRows, whole - panel);
                for (int i = 0; i < panels; i++) product((byte*)w.Row(first + panel + i), w.RowBytes * whole, blocks, tile, some, results + i * some * PanelRows);
                Store(results, panels, some, to + panel, whole, y.Stride);
            }
            if (rest == 0) continue;
            // A panel of the last rows, of which only the rest is stored; at the weight's beginning its first ones.
            int shift = Math.Max(0, first + count - PanelRows) - (first + whole * PanelRows);
            product((byte*)w.Row(first + whole * PanelRows + shift), w.RowBytes, blocks, tile, some, results);
            for (int i = 0; i < some; i++)
                for (int r = 0; r < rest; r++) to[(long)i * y.Stride + whole * PanelRows + r] = results[i * PanelRows + r - shift];
        }
    }

    /// <summary>Results of some panels [panels, tokens, 8] to where they belong: row r of panel p is number r·distance + p of a token.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Store(float* results, int panels, int tokens, float* to, int distance, int stride)
    {
        int next = tokens * PanelRows;
        for (int t = 0; t < tokens; t++, results += PanelRows, to += stride)
        {
            if (panels < PanelRows)
            {
                for (int p = 0; p < panels; p++)
                    for (int r = 0; r < PanelRows; r++) to[p + r * distance] = results[p * next + r];
                continue;
            }
            Vector256<float> p0 = Vector256.Load(results), p1 = Vector256.Load(results + next), p2 = Vector256.Load(results + 2 * next), p3 = Vector256.Load(results + 3 * next);
            Vector256<float> p4 = Vector256.Load(results + 4 * next), p5 = Vector256.Load(results + 5 * next), p6 = Vector256.Load(results + 6 * next), p7 = Vector256.Load(results + 7 * next);
            Vector256<double> a0 = Avx.UnpackLow(p0, p1).AsDouble(), a1 = Avx.UnpackHigh(p0, p1).AsDouble(), b0 = Avx.UnpackLow(p2, p3).AsDouble(), b1 = Avx.UnpackHigh(p2, p3).AsDouble();
            Vector256<double> c0 = Avx.UnpackLow(p4, p5).AsDouble(), c1 = Avx.UnpackHigh(p4, p5).AsDouble(), d0 = Avx.UnpackLow(p6, p7).AsDouble(), d1 = Avx.UnpackHigh(p6, p7).AsDouble();
            StoreTwo(Avx.UnpackLow(a0, b0), Avx.UnpackLow(c0, d0), to, 4 * distance);
            StoreTwo(Avx.UnpackHigh(a0, b0), Avx.UnpackHigh(c0, d0), to + distance, 4 * distance);
            StoreTwo(Avx.UnpackLow(a1, b1), Avx.UnpackLow(c1, d1), to + 2 * distance, 4 * distance);
            StoreTwo(Avx.UnpackHigh(a1, b1), Avx.UnpackHigh(c1, d1), to + 3 * distance, 4 * distance);
        }
    }

    /// <summary>Row r of panels 0 … 3 and of 4 … 7 in the lower halves, row r + 4 in the upper ones.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreTwo(Vector256<double> first, Vector256<double> last, float* to, int four)
    {
        Avx.Permute2x128(first, last, 0x20).AsSingle().Store(to);
        Avx.Permute2x128(first, last, 0x31).AsSingle().Store(to + four);
    }

    /// <summary>Eight rows times a tile. Results: [tokens, 8].</summary>
    [SkipLocalsInit, MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Run<TFormat, TSum>(byte* weights, long rowBytes, int blocks, byte* tile, int tokens, float* results) where TFormat : struct, ILaneFormat where TSum : struct, ILaneSum
    {
        if (tokens == 1)
        {
            RunOne<TFormat, TSum>(weights, rowBytes, blocks, tile, results);
            return;
        }
        byte* memory = stackalloc byte[WorkingBytes + 32];
        memory = (byte*)((nint)memory + 31 & -32);
        int step = TokenStep * tokens;
        LaneRows rows = new(weights, rowBytes);
        for (int i = 0; i < tokens * PanelRows; i += 8) Vector256<float>.Zero.Store(results + i);
        for (int b = 0; b < blocks; b++, rows = rows.Skip(TFormat.Bytes))
        {
            if (TFormat.Planes > 2) TFormat.Prepare(rows, memory);
            TFormat.Scales(rows, (float*)(memory + ScalesAt), (float*)(memory + MinimaAt));
            for (int part = 0; part < TFormat.Elements / 32 / TFormat.Planes; part++, tile += (long)step * TFormat.Planes)
            {
                if (TFormat.Planes <= 2)
                {
                    Some<TFormat, TSum>(rows, part, 0, memory, tile, step, results);
                    if (TFormat.Planes > 1) Some<TFormat, TSum>(rows, part, 1, memory, tile, step, results);
                    continue;
                }
                CallSome<TFormat, TSum, Plane0>(part, memory, tile, step, results);
                CallSome<TFormat, TSum, Plane1>(part, memory, tile, step, results);
                CallSome<TFormat, TSum, Plane2>(part, memory, tile, step, results);
                CallSome<TFormat, TSum, Plane3>(part, memory, tile, step, results);
            }
        }
    }

    /// <summary>The same for one token, whose results stay in a register.</summary>
    [SkipLocalsInit, MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void RunOne<TFormat, TSum>(byte* weights, long rowBytes, int blocks, byte* x, float* results) where TFormat : struct, ILaneFormat where TSum : struct, ILaneSum
    {
        byte* memory = stackalloc byte[WorkingBytes + 32];
        memory = (byte*)((nint)memory + 31 & -32);
        LaneRows rows = new(weights, rowBytes);
        Vector256<float> result = Vector256<float>.Zero;
        for (int b = 0; b < blocks; b++, rows = rows.Skip(TFormat.Bytes))
        {
            if (TFormat.Planes > 2) TFormat.Prepare(rows, memory);
            TFormat.Scales(rows, (float*)(memory + ScalesAt), (float*)(memory + MinimaAt));
            for (int part = 0; part < TFormat.Elements / 32 / TFormat.Planes; part++, x += TokenStep * TFormat.Planes)
            {
                if (TFormat.Planes <= 2)
                {
                    result = One<TFormat, TSum>(rows, part, 0, memory, x, result);
                    if (TFormat.Planes > 1) result = One<TFormat, TSum>(rows, part, 1, memory, x + TokenStep, result);
                    continue;
                }
                result = CallOne<TFormat, TSum, Plane0>(part, memory, x, result);
                result = CallOne<TFormat, TSum, Plane1>(part, memory, x + TokenStep, result);
                result = CallOne<TFormat, TSum, Plane2>(part, memory, x + 2 * TokenStep, result);
                result = CallOne<TFormat, TSum, Plane3>(part, memory, x + 3 * TokenStep, result);
            }
        }
        result.Store(results);
    }

    private interface IPlane
    {
        static abstract int Index { get; }
    }

    private readonly struct Plane0 : IPlane
    {
        public static int Index => 0;
    }

    private readonly struct Plane1 : IPlane
    {
        public static int Index => 1;
    }

    private readonly struct Plane2 : IPlane
    {
        public static int Index => 2;
    }

    private readonly struct Plane3 : IPlane
    {
        public static int Index => 3;
    }

    /// <summary>A method of its own: the compiler gives up where one has too much to take in.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void CallSome<TFormat, TSum, TPlane>(int part, byte* memory, byte* tile, int step, float* results) where TFormat : struct, ILaneFormat where TSum : struct, ILaneSum where TPlane : struct, IPlane
        => Some<TFormat, TSum>(default, part, TPlane.Index, memory, tile, step, results);

    /// <inheritdoc cref="CallSome"/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static Vector256<float> CallOne<TFormat, TSum, TPlane>(int part, byte* memory, byte* x, Vector256<float> result) where TFormat : struct, ILaneFormat where TSum : struct, ILaneSum where TPlane : struct, IPlane
        => One<TFormat, TSum>(default, part, TPlane.Index, memory, x, result);

    /// <summary>32 columns of eight rows times all tokens of a tile.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Some<TFormat, TSum>(LaneRows rows, int part, int plane, byte* memory, byte* tile, int step, float* results) where TFormat : struct, ILaneFormat where TSum : struct, ILaneSum
    {
        TFormat.Unpack(rows, part, plane, memory, out Vector256<byte> w0, out Vector256<byte> w1, out Vector256<byte> w2, out Vector256<byte> w3, out Vector256<byte> w4, out Vector256<byte> w5, out Vector256<byte> w6, out Vector256<byte> w7);
        if (TFormat.Offset == ILaneFormat.Signed)
        {
            // Registers hold magnitudes; what is signed is read again, an operand.
            byte* signed = memory + SignedAt;
            (w0, w1, w2, w3) = (Keep(w0, signed), Keep(w1, signed + 32), Keep(w2, signed + 64), Keep(w3, signed + 96));
            (w4, w5, w6, w7) = (Keep(w4, signed + 128), Keep(w5, signed + 160), Keep(w6, signed + 192), Keep(w7, signed + 224));
        }
        Factors<TFormat>(memory, part, plane, out Vector256<float> scale, out Vector256<float> last, out Vector256<float> minimum);
        byte* x = tile + plane * step, end = x + step;
        do
        {
            Add<TFormat, TSum>(w0, w1, w2, w3, w4, w5, w6, w7, memory, scale, last, minimum, x, Vector256.Load(results)).Store(results);
            x += TokenStep;
            results += PanelRows;
        }
        while (x < end);
    }

    /// <summary>32 columns of eight rows times one token.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> One<TFormat, TSum>(LaneRows rows, int part, int plane, byte* memory, byte* x, Vector256<float> result) where TFormat : struct, ILaneFormat where TSum : struct, ILaneSum
    {
        TFormat.Unpack(rows, part, plane, memory, out Vector256<byte> w0, out Vector256<byte> w1, out Vector256<byte> w2, out Vector256<byte> w3, out Vector256<byte> w4, out Vector256<byte> w5, out Vector256<byte> w6, out Vector256<byte> w7);
        Factors<TFormat>(memory, part, plane, out Vector256<float> scale, out Vector256<float> last, out Vector256<float> minimum);
        if (TFormat.Offset != ILaneFormat.Signed) return Add<TFormat, TSum>(w0, w1, w2, w3, w4, w5, w6, w7, memory, scale, last, minimum, x, result);
        Vector256<int> sum = AddSigned<TSum>(Vector256<int>.Zero, w0, x, 0), other = AddSigned<TSum>(Vector256<int>.Zero, w1, x, 1);
        sum = AddSigned<TSum>(sum, w2, x, 2);
        other = AddSigned<TSum>(other, w3, x, 3);
        sum = AddSigned<TSum>(sum, w4, x, 4);
        other = AddSigned<TSum>(other, w5, x, 5);
        sum = AddSigned<TSum>(sum, w6, x, 6);
        other = AddSigned<TSum>(other, w7, x, 7);
        return Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(sum + other), scale * Vector256.Create(*(float*)(x + ScaleAt)), result);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> AddSigned<TSum>(Vector256<int> sum, Vector256<byte> w, byte* x, int four) where TSum : struct, ILaneSum
        => TSum.AddSigned(sum, w.AsSByte(), Avx2.Abs(w.AsSByte()), Four(x, four));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Factors<TFormat>(byte* memory, int part, int plane, out Vector256<float> scale, out Vector256<float> last, out Vector256<float> minimum) where TFormat : struct, ILaneFormat
    {
        int step = TFormat.Planes * part + plane;
        float* scales = (float*)(memory + ScalesAt) + step * (32 / TFormat.GroupElements) * PanelRows;
        scale = Vector256.Load(scales);
        last = TFormat.GroupElements == 16 ? Vector256.Load(scales + PanelRows) : default;
        minimum = TFormat.HasMinima ? Vector256.Load((float*)(memory + MinimaAt) + step * PanelRows) : default;
    }

    /// <summary>Result + 32 columns of eight rows times a token. Where bytes are signed, registers hold their magnitudes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Add<TFormat, TSum>(Vector256<byte> w0, Vector256<byte> w1, Vector256<byte> w2, Vector256<byte> w3, Vector256<byte> w4, Vector256<byte> w5, Vector256<byte> w6, Vector256<byte> w7,
        byte* memory, Vector256<float> scale, Vector256<float> last, Vector256<float> minimum, byte* x, Vector256<float> result) where TFormat : struct, ILaneFormat where TSum : struct, ILaneSum
    {
        Vector256<float> tokenScale = Vector256.Create(*(float*)(x + ScaleAt));
        Vector256<int> sum, other; // two chains of sums, since one would wait for itself
        if (TFormat.Offset == ILaneFormat.Signed)
        {
            sbyte* signed = (sbyte*)memory + SignedAt;
            sum = TSum.AddSigned(Vector256<int>.Zero, Vector256.Load(signed), w0, Four(x, 0));
            other = TSum.AddSigned(Vector256<int>.Zero, Vector256.Load(signed + 32), w1, Four(x, 1));
            sum = TSum.AddSigned(sum, Vector256.Load(signed + 64), w2, Four(x, 2));
            other = TSum.AddSigned(other, Vector256.Load(signed + 96), w3, Four(x, 3));
            sum = TSum.AddSigned(sum, Vector256.Load(signed + 128), w4, Four(x, 4));
            other = TSum.AddSigned(other, Vector256.Load(signed + 160), w5, Four(x, 5));
            sum = TSum.AddSigned(sum, Vector256.Load(signed + 192), w6, Four(x, 6));
            other = TSum.AddSigned(other, Vector256.Load(signed + 224), w7, Four(x, 7));
            result = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(sum + other), scale * tokenScale, result);
        }
        else if (TFormat.GroupElements == 32)
        {
            sum = TSum.Add(TFormat.Offset == 0 ? Vector256<int>.Zero : TSum.Begin(Pairs(x, TFormat.Offset == 8 ? Eights : Sixteens)), w0, Four(x, 0));
            other = TSum.Add(Vector256<int>.Zero, w1, Four(x, 1));
            sum = TSum.Add(sum, w2, Four(x, 2));
            other = TSum.Add(other, w3, Four(x, 3));
            sum = TSum.Add(sum, w4, Four(x, 4));
            other = TSum.Add(other, w5, Four(x, 5));
            sum = TSum.Add(sum, w6, Four(x, 6));
            other = TSum.Add(other, w7, Four(x, 7));
            result = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TSum.End(TSum.Join(sum, other))), scale * tokenScale, result);
        }
        else
        {
            sum = TSum.Add(TSum.Begin(Pairs(x, FirstThirtyTwos)), w0, Four(x, 0));
            other = TSum.Add(TSum.Begin(Pairs(x, LastThirtyTwos)), w4, Four(x, 4));
            sum = TSum.Add(sum, w1, Four(x, 1));
            other = TSum.Add(other, w5, Four(x, 5));
            sum = TSum.Add(sum, w2, Four(x, 2));
            other = TSum.Add(other, w6, Four(x, 6));
            sum = TSum.Add(sum, w3, Four(x, 3));
            other = TSum.Add(other, w7, Four(x, 7));
            result = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TSum.End(sum)), scale * tokenScale, result);
            result = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(TSum.End(other)), last * tokenScale, result);
        }
        return TFormat.HasMinima ? Vector256.FusedMultiplyAdd(minimum, Vector256.Create(*(float*)(x + SumAt)), result) : result;
    }

    /// <summary>Stores signed bytes and returns their magnitudes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<byte> Keep(Vector256<byte> w, byte* to)
    {
        w.Store(to);
        return Avx2.Abs(w.AsSByte());
    }

    /// <summary>Four columns of a token in all lanes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<sbyte> Four(byte* x, int index) => Vector256.Create(((int*)x)[index]).AsSByte();

    /// <summary>Where sums begin.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<short> Pairs(byte* x, int at) => Vector256.Create(*(int*)(x + at)).AsInt16();
}
