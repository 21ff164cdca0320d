using DeepSeek.Gpu.Kernels.Formats;

namespace DeepSeek.Gpu.Kernels;

/// <summary>What becomes of a product: y = p + bias, or y += p + bias.</summary>
/// <param name="y">Rows of results.</param>
/// <param name="bias">Where the bias begins among vectors, in numbers; below zero: none.</param>
/// <param name="accumulate">1: added to y.</param>
internal readonly struct Outcome(RowPlace y, long bias, int accumulate)
{
    public readonly RowPlace Y = y;
    public readonly long Bias = bias;
    public readonly int Accumulate = accumulate;

    /// <param name="scratch">Where y is.</param>
    /// <param name="vectors">Where the bias is.</param>
    /// <param name="row">Row of y.</param>
    /// <param name="part">Numbers before the part of the row that is meant.</param>
    /// <param name="column">Number in it.</param>
    /// <param name="product">The product.</param>
    public readonly void Store<TMemory>(TMemory scratch, TMemory vectors, int row, long part, int column, float product) where TMemory : struct, IMemory
    {
        long at = Y.Row(row) + part + column;
        float value = Bias < 0 ? product : product + vectors.Float(Bias + column);
        scratch.SetFloat(at, Accumulate == 0 ? value : scratch.Float(at) + value);
    }
}

/// <summary>A matrix, its bias and where its products go.</summary>
internal struct Factor<TMemory> where TMemory : struct, IMemory
{
    public TMemory Weights, Vectors;
    public MatrixPlace Matrix;
    public Outcome Result;
    public int Rows;
}

/// <summary>
/// y[i] = W·x[i] for up to four rows of activations in float32, with up to three matrices of one format and width: a warp a row of a matrix, which is read once. Grid: as many groups as
/// there are rows by warps; no shared memory.
/// </summary>
internal struct FloatMatVec<TThread, TMemory, TFormat> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory where TFormat : struct, IFormat<TThread, TMemory>
{
    public TMemory Scratch;
    public Factor<TMemory> A, B, C;
    public RowPlace X;

    /// <summary>Wide: 1 where rows of activations begin at multiples of 16 bytes.</summary>
    public int Count, Wide;

    public readonly void Run(TThread t)
    {
        int r = Products<TThread, TMemory>.Warp(t);
        Factor<TMemory> f = r < A.Rows ? A : r < A.Rows + B.Rows ? B : C;
        r -= r < A.Rows ? 0 : r < A.Rows + B.Rows ? A.Rows : A.Rows + B.Rows;
        if (r >= f.Rows) return; // the whole warp
        TFormat format = default;
        int columns = f.Matrix.Columns;
        long row = f.Matrix.Start + r * f.Matrix.RowBytes, x0 = X.Row(0), x1 = X.Row(Count > 1 ? 1 : 0), x2 = X.Row(Count > 2 ? 2 : 0), x3 = X.Row(Count > 3 ? 3 : 0);
        float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (int c = 4 * t.Lane; c < columns; c += 4 * t.Lanes)
        {
            Four w = format.Four(t, f.Weights, f.Matrix, row, c >> 2);
            s0 = Products<TThread, TMemory>.Add(t, s0, w, Scratch, x0 + c, columns - c, Wide);
            if (Count > 1) s1 = Products<TThread, TMemory>.Add(t, s1, w, Scratch, x1 + c, columns - c, Wide);
            if (Count > 2) s2 = Products<TThread, TMemory>.Add(t, s2, w, Scratch, x2 + c, columns - c, Wide);
            if (Count > 3) s3 = Products<TThread, TMemory>.Add(t, s3, w, Scratch, x3 + c, columns - c, Wide);
        }
        Products<TThread, TMemory>.Store(t, Scratch, f, r, Count, s0, s1, s2, s3);
    }
}

/// <summary>The same with a block format and activations in signed bytes.</summary>
internal struct BlockMatVec<TThread, TMemory, TFormat> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory where TFormat : struct, IBlockFormat<TThread, TMemory>
{
    public TMemory Scratch;
    public Factor<TMemory> A, B, C;
    public QuantisedPlace X;
    public int Count;

    public readonly void Run(TThread t)
    {
        int r = Products<TThread, TMemory>.Warp(t);
        Factor<TMemory> f = r < A.Rows ? A : r < A.Rows + B.Rows ? B : C;
        r -= r < A.Rows ? 0 : r < A.Rows + B.Rows ? A.Rows : A.Rows + B.Rows;
        if (r >= f.Rows) return; // the whole warp
        TFormat format = default;
        int groups = f.Matrix.Groups;
        long row = f.Matrix.Start + r * f.Matrix.RowBytes;
        float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (int g = t.Lane; g < groups; g += t.Lanes)
        {
            Quants q = format.Quants(t, f.Weights, row, groups, g);
            Factors k = format.Factors(t, f.Weights, row, groups, g);
            s0 += QuantisedGroup.Read(t, Scratch, X.Row(0), groups, g).Dot(t, q, k, format.Offset);
            if (Count > 1) s1 += QuantisedGroup.Read(t, Scratch, X.Row(1), groups, g).Dot(t, q, k, format.Offset);
            if (Count > 2) s2 += QuantisedGroup.Read(t, Scratch, X.Row(2), groups, g).Dot(t, q, k, format.Offset);
            if (Count > 3) s3 += QuantisedGroup.Read(t, Scratch, X.Row(3), groups, g).Dot(t, q, k, format.Offset);
        }
        Products<TThread, TMemory>.Store(t, Scratch, f, r, Count, s0, s1, s2, s3);
    }
}

/// <summary>
/// Which matrix and which activations each product of a batch takes. Product p has part p mod Parts of group p / Parts: the parts are the chosen experts of a token, or heads.
/// </summary>
/// <param name="parts">Products of a group.</param>
/// <param name="choice">Where the numbers of the matrices lie in scratch memory, one a product; below zero: the part is the matrix.</param>
/// <param name="xGroup">Numbers (words of quantised rows) between the activations of groups.</param>
/// <param name="xPart">The same between parts; 0: they share them.</param>
/// <param name="yGroup">Numbers between the results of groups.</param>
/// <param name="yPart">The same between parts.</param>
internal readonly struct Batch(int parts, long choice, long xGroup, long xPart, long yGroup, long yPart)
{
    public readonly int Parts = parts;
    public readonly long Choice = choice, XGroup = xGroup, XPart = xPart, YGroup = yGroup, YPart = yPart;

    public readonly int Matrix<TMemory>(TMemory scratch, int product) where TMemory : struct, IMemory => Choice < 0 ? product % Parts : (int)scratch.Word(Choice + product);

    public readonly long X(int product) => product / Parts * XGroup + product % Parts * XPart;

    public readonly long Y(int product) => product / Parts * YGroup + product % Parts * YPart;
}

/// <summary>Matrices one behind the other, and where products with them go.</summary>
internal struct MatrixStack<TMemory> where TMemory : struct, IMemory
{
    public TMemory Weights;
    public MatrixPlace Matrix;
    public long Y;
    public int Rows;

    /// <summary>Byte address of a row of a matrix.</summary>
    public readonly long Row(int matrix, int row) => Matrix.Start + ((long)matrix * Rows + row) * Matrix.RowBytes;
}

/// <summary>
/// y[p] = W[choice(p)]·x[p] in float32, with one or two stacks of matrices of one format and width: a warp a row of a product's matrix. Grid: as many groups as all products' rows by warps;
/// no shared memory.
/// </summary>
internal struct FloatBatch<TThread, TMemory, TFormat> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory where TFormat : struct, IFormat<TThread, TMemory>
{
    public TMemory Scratch;
    public MatrixStack<TMemory> A, B;
    public Batch Batch;
    public long X;

    /// <summary>Wide: 1 where activations begin at multiples of 16 bytes.</summary>
    public int Products, Wide;

    public readonly void Run(TThread t)
    {
        int warp = Products<TThread, TMemory>.Warp(t), product = warp / (A.Rows + B.Rows), r = warp % (A.Rows + B.Rows);
        if (product >= Products) return; // the whole warp
        TFormat format = default;
        MatrixStack<TMemory> s = r < A.Rows ? A : B;
        r -= r < A.Rows ? 0 : A.Rows;
        int columns = s.Matrix.Columns;
        long row = s.Row(Batch.Matrix(Scratch, product), r), x = X + Batch.X(product);
        float sum = 0;
        for (int c = 4 * t.Lane; c < columns; c += 4 * t.Lanes)
            sum = Products<TThread, TMemory>.Add(t, sum, format.Four(t, s.Weights, s.Matrix, row, c >> 2), Scratch, x + c, columns - c, Wide);
        sum = t.SumLanes(sum);
        if (t.Lane == 0) Scratch.SetFloat(s.Y + Batch.Y(product) + r, sum);
    }
}

/// <summary>The same with a block format and activations in signed bytes.</summary>
internal struct BlockBatch<TThread, TMemory, TFormat> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory where TFormat : struct, IBlockFormat<TThread, TMemory>
{
    public TMemory Scratch;
    public MatrixStack<TMemory> A, B;
    public Batch Batch;
    public long X;
    public int Products;

    public readonly void Run(TThread t)
    {
        int warp = Products<TThread, TMemory>.Warp(t), product = warp / (A.Rows + B.Rows), r = warp % (A.Rows + B.Rows);
        if (product >= Products) return; // the whole warp
        TFormat format = default;
        MatrixStack<TMemory> s = r < A.Rows ? A : B;
        r -= r < A.Rows ? 0 : A.Rows;
        int groups = s.Matrix.Groups;
        long row = s.Row(Batch.Matrix(Scratch, product), r), x = X + Batch.X(product);
        float sum = 0;
        for (int g = t.Lane; g < groups; g += t.Lanes)
            sum += QuantisedGroup.Read(t, Scratch, x, groups, g).Dot(t, format.Quants(t, s.Weights, row, groups, g), format.Factors(t, s.Weights, row, groups, g), format.Offset);
        sum = t.SumLanes(sum);
        if (t.Lane == 0) Scratch.SetFloat(s.Y + Batch.Y(product) + r, sum);
    }
}

internal static class Products<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    /// <summary>Number of the item's warp in the grid.</summary>
    public static int Warp(TThread t) => t.Group * (t.Items / t.Lanes) + t.Item / t.Lanes;

    /// <summary>sum + w·x of four numbers, or of as many as are left; with one load where they begin at a multiple of 16 bytes.</summary>
    public static float Add(TThread t, float sum, Four w, TMemory scratch, long x, int left, int wide)
    {
        if (wide != 0 && left > 3)
        {
            Quad q = scratch.Quad(x >> 2);
            return t.Fma(w.D, t.AsFloat(q.D), t.Fma(w.C, t.AsFloat(q.C), t.Fma(w.B, t.AsFloat(q.B), t.Fma(w.A, t.AsFloat(q.A), sum))));
        }
        sum = t.Fma(w.A, scratch.Float(x), sum);
        if (left > 1) sum = t.Fma(w.B, scratch.Float(x + 1), sum);
        if (left > 2) sum = t.Fma(w.C, scratch.Float(x + 2), sum);
        if (left > 3) sum = t.Fma(w.D, scratch.Float(x + 3), sum);
        return sum;
    }

    /// <summary>Adds up the lanes' sums of up to four rows of activations and stores them.</summary>
    public static void Store(TThread t, TMemory scratch, Factor<TMemory> f, int r, int count, float s0, float s1, float s2, float s3)
    {
        s0 = t.SumLanes(s0);
        if (count > 1) s1 = t.SumLanes(s1);
        if (count > 2) s2 = t.SumLanes(s2);
        if (count > 3) s3 = t.SumLanes(s3);
        if (t.Lane != 0) return;
        f.Result.Store(scratch, f.Vectors, 0, 0, r, s0);
        if (count > 1) f.Result.Store(scratch, f.Vectors, 1, 0, r, s1);
        if (count > 2) f.Result.Store(scratch, f.Vectors, 2, 0, r, s2);
        if (count > 3) f.Result.Store(scratch, f.Vectors, 3, 0, r, s3);
    }
}
