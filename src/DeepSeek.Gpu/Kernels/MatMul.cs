using DeepSeek.Gpu.Kernels.Formats;

namespace DeepSeek.Gpu.Kernels;

/// <summary>A tile's work: rows of a matrix from <c>firstRow</c> on, with the activations in slots [first, end).</summary>
internal readonly struct Tile(int matrix, int firstRow, int first, int end, long x, long y)
{
    /// <summary>Number of the matrix in its stack.</summary>
    public readonly int Matrix = matrix;
    public readonly int FirstRow = firstRow, First = first, End = end;

    /// <summary>What is added to the addresses of activations and results.</summary>
    public readonly long X = x, Y = y;
}

/// <summary>Which tile a group has, and which rows of activations and results belong to its slots.</summary>
internal interface ITiling<TMemory> where TMemory : struct, IMemory
{
    Tile Of(TMemory scratch, int group);

    int XRow(TMemory scratch, int slot);

    int YRow(TMemory scratch, int slot);
}

/// <summary>
/// The tiles of one product: a group of Edge × Edge items has 4·Edge rows of W by 4·Edge rows of activations, an item four by four of them, Edge apart. Tiles of the same rows of W follow each
/// other, so that what one reads the next finds in the cache.
/// </summary>
internal readonly struct Tiles<TMemory>(int edge, int rows, int count) : ITiling<TMemory> where TMemory : struct, IMemory
{
    private readonly int side = 4 * edge, rows = rows, count = count;

    private int Across => (count + side - 1) / side;

    public int Groups => (rows + side - 1) / side * Across;

    public Tile Of(TMemory scratch, int group) => new(0, group / Across * side, group % Across * side, count, 0, 0);

    public int XRow(TMemory scratch, int slot) => slot;

    public int YRow(TMemory scratch, int slot) => slot;
}

/// <summary>The tiles of a product for each of several parts of the rows (heads), each with a matrix of its own.</summary>
/// <param name="tiles">The tiles of a part.</param>
/// <param name="parts">How many parts.</param>
/// <param name="xPart">Numbers between the parts of a row of activations.</param>
/// <param name="yPart">Numbers between the parts of a row of results.</param>
internal readonly struct PartTiles<TMemory>(Tiles<TMemory> tiles, int parts, int xPart, int yPart) : ITiling<TMemory> where TMemory : struct, IMemory
{
    private readonly Tiles<TMemory> tiles = tiles;
    private readonly int parts = parts, xPart = xPart, yPart = yPart;

    public int Groups => parts * tiles.Groups;

    public Tile Of(TMemory scratch, int group)
    {
        int part = group / tiles.Groups;
        Tile tile = tiles.Of(scratch, group % tiles.Groups);
        return new Tile(part, tile.FirstRow, tile.First, tile.End, (long)part * xPart, (long)part * yPart);
    }

    public int XRow(TMemory scratch, int slot) => slot;

    public int YRow(TMemory scratch, int slot) => slot;
}

/// <summary>
/// Tiles over pairs of token and expert, in the order of experts (<see cref="SortPairs{TThread, TMemory}"/>): how many there are is known on the device only, so that the grid is as large as it can get and
/// the groups behind the last tile find nothing to do.
/// </summary>
/// <param name="edge">Edge of a group.</param>
/// <param name="rows">Rows of a matrix.</param>
/// <param name="tiles">The most tiles there can be.</param>
/// <param name="table">Where the tiles lie in scratch memory: expert, first slot, end, four words each.</param>
/// <param name="order">Where the sorted pairs lie.</param>
/// <param name="pairsOfX">Pairs that share a row of activations.</param>
internal readonly struct ExpertTiles<TMemory>(int edge, int rows, int tiles, long table, long order, int pairsOfX) : ITiling<TMemory> where TMemory : struct, IMemory
{
    private readonly int side = 4 * edge, rows = rows, tiles = tiles, pairsOfX = pairsOfX;
    private readonly long table = table, order = order;

    private int Down => (rows + side - 1) / side;

    public int Groups => tiles * Down;

    public Tile Of(TMemory scratch, int group)
    {
        long at = table + 4L * (group / Down);
        return new Tile((int)scratch.Word(at), group % Down * side, (int)scratch.Word(at + 1), (int)scratch.Word(at + 2), 0, 0);
    }

    public int XRow(TMemory scratch, int slot) => (int)scratch.Word(order + slot) / pairsOfX;

    public int YRow(TMemory scratch, int slot) => (int)scratch.Word(order + slot);
}

/// <summary>
/// y[i] = W·x[i] in float32 for many rows of activations. Both operands of <see cref="Depth"/> columns at a time are unpacked into shared memory. Grid: a group a tile (see
/// <see cref="Tiles{TMemory}"/>), Edge² items; shared memory: <see cref="SharedWords"/>.
/// </summary>
internal struct FloatMatMul<TThread, TMemory, TFormat, TTiling> : IKernel<TThread>
    where TThread : struct, IThread where TMemory : struct, IMemory where TFormat : struct, IFormat<TThread, TMemory> where TTiling : struct, ITiling<TMemory>
{
    /// <summary>Columns of a stage.</summary>
    public const int Depth = 16;

    public TMemory Scratch;
    public Factor<TMemory> W;
    public RowPlace X;
    public TTiling Tiles;
    public int Edge;

    public static int SharedWords(int edge) => 2 * Depth * (4 * edge + 1);

    public readonly void Run(TThread t)
    {
        TFormat format = default;
        Tile tile = Tiles.Of(Scratch, t.Group);
        if (tile.First >= tile.End) return; // the whole group
        int edge = Edge, side = 4 * edge, pitch = side + 1, tx = t.Item % edge, ty = t.Item / edge, columns = W.Matrix.Columns, xs = Depth * pitch;
        long start = W.Matrix.Start + (long)tile.Matrix * W.Rows * W.Matrix.RowBytes;
        Four a0 = default, a1 = default, a2 = default, a3 = default;
        for (int c0 = 0; c0 < columns; c0 += Depth)
        {
            t.Barrier();
            for (int i = t.Item; i < side * (Depth / 4); i += t.Items)
            {
                int r = i / (Depth / 4), k = i % (Depth / 4) * 4, row = tile.FirstRow + r, c = c0 + k;
                Four w = default;
                if (row < W.Rows && c < columns) w = format.Four(t, W.Weights, W.Matrix, start + row * W.Matrix.RowBytes, c >> 2);
                t.SetShared(k * pitch + r, w.A);
                t.SetShared((k + 1) * pitch + r, c + 1 < columns ? w.B : 0);
                t.SetShared((k + 2) * pitch + r, c + 2 < columns ? w.C : 0);
                t.SetShared((k + 3) * pitch + r, c + 3 < columns ? w.D : 0);
            }
            for (int i = t.Item; i < side * Depth; i += t.Items)
            {
                int x = i / Depth, k = i % Depth;
                t.SetShared(xs + k * pitch + x, tile.First + x < tile.End && c0 + k < columns ? Scratch.Float(X.Row(Tiles.XRow(Scratch, tile.First + x)) + tile.X + c0 + k) : 0);
            }
            t.Barrier();
            for (int k = 0; k < Depth; k++)
            {
                int w = k * pitch + tx, x = xs + k * pitch + ty;
                Four ws = new(t.Shared(w), t.Shared(w + edge), t.Shared(w + 2 * edge), t.Shared(w + 3 * edge));
                a0 = Add(t, a0, ws, t.Shared(x));
                a1 = Add(t, a1, ws, t.Shared(x + edge));
                a2 = Add(t, a2, ws, t.Shared(x + 2 * edge));
                a3 = Add(t, a3, ws, t.Shared(x + 3 * edge));
            }
        }
        Patch<TMemory, TTiling>.Store(Scratch, W, Tiles, tile, edge, tx, ty, a0);
        Patch<TMemory, TTiling>.Store(Scratch, W, Tiles, tile, edge, tx, ty + edge, a1);
        Patch<TMemory, TTiling>.Store(Scratch, W, Tiles, tile, edge, tx, ty + 2 * edge, a2);
        Patch<TMemory, TTiling>.Store(Scratch, W, Tiles, tile, edge, tx, ty + 3 * edge, a3);
    }

    private static Four Add(TThread t, Four sum, Four w, float x) => new(t.Fma(w.A, x, sum.A), t.Fma(w.B, x, sum.B), t.Fma(w.C, x, sum.C), t.Fma(w.D, x, sum.D));
}

/// <summary>
/// The same with a block format and activations in signed bytes: <see cref="Depth"/> groups of 32 columns at a time come into shared memory as words of four bytes with their scales;
/// products are dp4a, sums float32 for each group. Grid: a group a tile, Edge² items; shared memory: <see cref="SharedWords"/>.
/// </summary>
internal struct BlockMatMul<TThread, TMemory, TFormat, TTiling> : IKernel<TThread>
    where TThread : struct, IThread where TMemory : struct, IMemory where TFormat : struct, IBlockFormat<TThread, TMemory> where TTiling : struct, ITiling<TMemory>
{
    /// <summary>Groups of a stage.</summary>
    public const int Depth = 4;

    /// <summary>Words that a row of W takes in a stage's group (bytes, two scales, two minima), and a row of activations (bytes, scale, two sums).</summary>
    private const int RowWords = 12, XWords = 11;

    public TMemory Scratch;
    public Factor<TMemory> W;
    public QuantisedPlace X;
    public TTiling Tiles;
    public int Edge;

    public static int SharedWords(int edge) => Depth * ((RowWords + XWords) * 4 * edge + 8);

    public readonly void Run(TThread t)
    {
        TFormat format = default;
        Tile tile = Tiles.Of(Scratch, t.Group);
        if (tile.First >= tile.End) return; // the whole group
        int edge = Edge, side = 4 * edge, tx = t.Item % edge, ty = t.Item / edge, offset = format.Offset, groups = W.Matrix.Groups;
        int stage = (RowWords + XWords) * side + 8; // 8: the groups of a stage begin in different banks
        long start = W.Matrix.Start + (long)tile.Matrix * W.Rows * W.Matrix.RowBytes;
        Four a0 = default, a1 = default, a2 = default, a3 = default;
        for (int g0 = 0; g0 < groups; g0 += Depth)
        {
            t.Barrier();
            for (int i = t.Item; i < side * Depth; i += t.Items)
            {
                int r = i / Depth, k = i % Depth, g = g0 + k, at = k * stage + r;
                if (tile.FirstRow + r < W.Rows && g < groups)
                {
                    long row = start + (tile.FirstRow + r) * W.Matrix.RowBytes;
                    Put(t, at, side, format.Quants(t, W.Weights, row, groups, g));
                    Factors f = format.Factors(t, W.Weights, row, groups, g);
                    t.SetShared(at + 8 * side, f.Scale0);
                    t.SetShared(at + 9 * side, f.Scale1);
                    t.SetShared(at + 10 * side, f.Minimum0);
                    t.SetShared(at + 11 * side, f.Minimum1);
                }
                at += RowWords * side;
                if (tile.First + r < tile.End && g < groups)
                {
                    QuantisedGroup x = QuantisedGroup.Read(t, Scratch, X.Row(Tiles.XRow(Scratch, tile.First + r)), groups, g);
                    Put(t, at, side, x.Quants);
                    t.SetShared(at + 8 * side, x.Scale);
                    t.SetSharedWord(at + 9 * side, (uint)x.Sum0);
                    t.SetSharedWord(at + 10 * side, (uint)x.Sum1);
                }
            }
            t.Barrier();
            for (int k = 0; k < Depth && g0 + k < groups; k++)
            {
                int w = k * stage + tx, x = k * stage + RowWords * side + ty;
                FourInts low0 = Start(t, x, side, 9, offset), low1 = Start(t, x + edge, side, 9, offset), low2 = Start(t, x + 2 * edge, side, 9, offset), low3 = Start(t, x + 3 * edge, side, 9, offset);
                for (int j = 0; j < 4; j++)
                {
                    Quad ws = Words(t, w + j * side, edge);
                    low0 = Dot(t, low0, ws, t.SharedWord(x + j * side));
                    low1 = Dot(t, low1, ws, t.SharedWord(x + j * side + edge));
                    low2 = Dot(t, low2, ws, t.SharedWord(x + j * side + 2 * edge));
                    low3 = Dot(t, low3, ws, t.SharedWord(x + j * side + 3 * edge));
                }
                Four scale = Floats(t, w + 8 * side, edge), minimum = Floats(t, w + 10 * side, edge);
                Four p0 = Half(t, default, low0, scale, minimum, x + 9 * side), p1 = Half(t, default, low1, scale, minimum, x + 9 * side + edge);
                Four p2 = Half(t, default, low2, scale, minimum, x + 9 * side + 2 * edge), p3 = Half(t, default, low3, scale, minimum, x + 9 * side + 3 * edge);
                low0 = Start(t, x, side, 10, offset);
                low1 = Start(t, x + edge, side, 10, offset);
                low2 = Start(t, x + 2 * edge, side, 10, offset);
                low3 = Start(t, x + 3 * edge, side, 10, offset);
                for (int j = 4; j < 8; j++)
                {
                    Quad ws = Words(t, w + j * side, edge);
                    low0 = Dot(t, low0, ws, t.SharedWord(x + j * side));
                    low1 = Dot(t, low1, ws, t.SharedWord(x + j * side + edge));
                    low2 = Dot(t, low2, ws, t.SharedWord(x + j * side + 2 * edge));
                    low3 = Dot(t, low3, ws, t.SharedWord(x + j * side + 3 * edge));
                }
                scale = Floats(t, w + 9 * side, edge);
                minimum = Floats(t, w + 11 * side, edge);
                a0 = Scaled(t, a0, Half(t, p0, low0, scale, minimum, x + 10 * side), t.Shared(x + 8 * side));
                a1 = Scaled(t, a1, Half(t, p1, low1, scale, minimum, x + 10 * side + edge), t.Shared(x + 8 * side + edge));
                a2 = Scaled(t, a2, Half(t, p2, low2, scale, minimum, x + 10 * side + 2 * edge), t.Shared(x + 8 * side + 2 * edge));
                a3 = Scaled(t, a3, Half(t, p3, low3, scale, minimum, x + 10 * side + 3 * edge), t.Shared(x + 8 * side + 3 * edge));
            }
        }
        Patch<TMemory, TTiling>.Store(Scratch, W, Tiles, tile, edge, tx, ty, a0);
        Patch<TMemory, TTiling>.Store(Scratch, W, Tiles, tile, edge, tx, ty + edge, a1);
        Patch<TMemory, TTiling>.Store(Scratch, W, Tiles, tile, edge, tx, ty + 2 * edge, a2);
        Patch<TMemory, TTiling>.Store(Scratch, W, Tiles, tile, edge, tx, ty + 3 * edge, a3);
    }

    private static void Put(TThread t, int at, int side, Quants q)
    {
        t.SetSharedWord(at, q.Low.A);
        t.SetSharedWord(at + side, q.Low.B);
        t.SetSharedWord(at + 2 * side, q.Low.C);
        t.SetSharedWord(at + 3 * side, q.Low.D);
        t.SetSharedWord(at + 4 * side, q.High.A);
        t.SetSharedWord(at + 5 * side, q.High.B);
        t.SetSharedWord(at + 6 * side, q.High.C);
        t.SetSharedWord(at + 7 * side, q.High.D);
    }

    /// <summary>−offset times the sum of a half of activations, for each of the four rows.</summary>
    private static FourInts Start(TThread t, int x, int side, int sum, int offset)
    {
        int s = -offset * (int)t.SharedWord(x + sum * side);
        return new FourInts(s, s, s, s);
    }

    private static Quad Words(TThread t, int at, int edge) => new(t.SharedWord(at), t.SharedWord(at + edge), t.SharedWord(at + 2 * edge), t.SharedWord(at + 3 * edge));

    private static Four Floats(TThread t, int at, int edge) => new(t.Shared(at), t.Shared(at + edge), t.Shared(at + 2 * edge), t.Shared(at + 3 * edge));

    private static FourInts Dot(TThread t, FourInts sum, Quad w, uint x) => new(t.Dot4(w.A, x, sum.A), t.Dot4(w.B, x, sum.B), t.Dot4(w.C, x, sum.C), t.Dot4(w.D, x, sum.D));

    /// <summary>sum + scale·product + minimum·(sum of activations).</summary>
    private static Four Half(TThread t, Four sum, FourInts product, Four scale, Four minimum, int xSum)
    {
        int s = (int)t.SharedWord(xSum);
        return new Four(sum.A + (scale.A * product.A + minimum.A * s), sum.B + (scale.B * product.B + minimum.B * s), sum.C + (scale.C * product.C + minimum.C * s), sum.D + (scale.D * product.D + minimum.D * s));
    }

    private static Four Scaled(TThread t, Four sum, Four p, float scale) => new(t.Fma(p.A, scale, sum.A), t.Fma(p.B, scale, sum.B), t.Fma(p.C, scale, sum.C), t.Fma(p.D, scale, sum.D));
}

internal static class Patch<TMemory, TTiling> where TMemory : struct, IMemory where TTiling : struct, ITiling<TMemory>
{
    /// <summary>Stores the results of a slot's activations with four rows of W, as far as these exist.</summary>
    public static void Store(TMemory scratch, Factor<TMemory> w, TTiling tiles, Tile tile, int edge, int r, int x, Four sums)
    {
        if (tile.First + x >= tile.End) return;
        int y = tiles.YRow(scratch, tile.First + x), row = tile.FirstRow + r;
        if (row < w.Rows) w.Result.Store(scratch, w.Vectors, y, tile.Y, row, sums.A);
        if (row + edge < w.Rows) w.Result.Store(scratch, w.Vectors, y, tile.Y, row + edge, sums.B);
        if (row + 2 * edge < w.Rows) w.Result.Store(scratch, w.Vectors, y, tile.Y, row + 2 * edge, sums.C);
        if (row + 3 * edge < w.Rows) w.Result.Store(scratch, w.Vectors, y, tile.Y, row + 3 * edge, sums.D);
    }
}
