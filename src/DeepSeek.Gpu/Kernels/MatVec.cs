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

    public readonly void Store<TMemory>(TMemory scratch, TMemory vectors, int row, int column, float product) where TMemory : struct, IMemory
    {
        long at = Y.Row(row) + column;
        float value = Bias < 0 ? product : product + vectors.Float(Bias + column);
        scratch.SetFloat(at, Accumulate == 0 ? value : scratch.Float(at) + value);
    }
}

/// <summary>
/// y[i] = W·x[i] for up to four rows of activations in float32: a warp a row of W, which is read once. Grid: as many groups as there are rows by warps; no shared memory.
/// </summary>
internal struct FloatMatVec<TThread, TMemory, TFormat> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory where TFormat : struct, IFormat<TThread, TMemory>
{
    public TMemory Scratch, Weights, Vectors;
    public MatrixPlace Matrix;
    public RowPlace X;
    public Outcome Result;
    public int Rows, Count;

    public readonly void Run(TThread t)
    {
        TFormat format = default;
        int r = (t.Group * t.Items + t.Item) / t.Lanes, columns = Matrix.Columns;
        if (r >= Rows) return; // the whole warp
        long row = Matrix.Start + r * Matrix.RowBytes, x0 = X.Row(0), x1 = X.Row(Count > 1 ? 1 : 0), x2 = X.Row(Count > 2 ? 2 : 0), x3 = X.Row(Count > 3 ? 3 : 0);
        float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (int c = 4 * t.Lane; c < columns; c += 4 * t.Lanes)
        {
            Four w = format.Four(t, Weights, Matrix, row, c >> 2);
            s0 = Products<TThread, TMemory>.Add(t, s0, w, Scratch, x0 + c, columns - c);
            if (Count > 1) s1 = Products<TThread, TMemory>.Add(t, s1, w, Scratch, x1 + c, columns - c);
            if (Count > 2) s2 = Products<TThread, TMemory>.Add(t, s2, w, Scratch, x2 + c, columns - c);
            if (Count > 3) s3 = Products<TThread, TMemory>.Add(t, s3, w, Scratch, x3 + c, columns - c);
        }
        s0 = t.SumLanes(s0);
        if (Count > 1) s1 = t.SumLanes(s1);
        if (Count > 2) s2 = t.SumLanes(s2);
        if (Count > 3) s3 = t.SumLanes(s3);
        if (t.Lane != 0) return;
        Result.Store(Scratch, Vectors, 0, r, s0);
        if (Count > 1) Result.Store(Scratch, Vectors, 1, r, s1);
        if (Count > 2) Result.Store(Scratch, Vectors, 2, r, s2);
        if (Count > 3) Result.Store(Scratch, Vectors, 3, r, s3);
    }
}

/// <summary>The same with a block format and activations in signed bytes.</summary>
internal struct BlockMatVec<TThread, TMemory, TFormat> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory where TFormat : struct, IBlockFormat<TThread, TMemory>
{
    public TMemory Scratch, Weights, Vectors;
    public MatrixPlace Matrix;
    public Outcome Result;
    public long X;
    public int Rows, Count, RowWords;

    public readonly void Run(TThread t)
    {
        TFormat format = default;
        int r = (t.Group * t.Items + t.Item) / t.Lanes, groups = Matrix.Groups;
        if (r >= Rows) return; // the whole warp
        long row = Matrix.Start + r * Matrix.RowBytes;
        float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (int g = t.Lane; g < groups; g += t.Lanes)
        {
            Quants q = format.Quants(t, Weights, row, groups, g);
            Factors f = format.Factors(t, Weights, row, groups, g);
            s0 += QuantisedGroup.Read(t, Scratch, X, groups, g).Dot(t, q, f, format.Offset);
            if (Count > 1) s1 += QuantisedGroup.Read(t, Scratch, X + RowWords, groups, g).Dot(t, q, f, format.Offset);
            if (Count > 2) s2 += QuantisedGroup.Read(t, Scratch, X + 2 * RowWords, groups, g).Dot(t, q, f, format.Offset);
            if (Count > 3) s3 += QuantisedGroup.Read(t, Scratch, X + 3 * RowWords, groups, g).Dot(t, q, f, format.Offset);
        }
        s0 = t.SumLanes(s0);
        if (Count > 1) s1 = t.SumLanes(s1);
        if (Count > 2) s2 = t.SumLanes(s2);
        if (Count > 3) s3 = t.SumLanes(s3);
        if (t.Lane != 0) return;
        Result.Store(Scratch, Vectors, 0, r, s0);
        if (Count > 1) Result.Store(Scratch, Vectors, 1, r, s1);
        if (Count > 2) Result.Store(Scratch, Vectors, 2, r, s2);
        if (Count > 3) Result.Store(Scratch, Vectors, 3, r, s3);
    }
}

/// <summary>
/// Which matrix and which activations each product of a batch takes. Product p has part p mod Parts of group p / Parts: the parts are the chosen experts of a token, or heads.
/// </summary>
/// <param name="parts">Products of a group.</param>
/// <param name="matrixBytes">Bytes from matrix to matrix.</param>
/// <param name="choice">Where the numbers of the matrices lie in scratch memory, one a product; below zero: the part is the matrix.</param>
/// <param name="xGroup">Numbers (words of quantised rows) between the activations of groups.</param>
/// <param name="xPart">The same between parts; 0: they share them.</param>
/// <param name="yGroup">Numbers between the results of groups.</param>
/// <param name="yPart">The same between parts.</param>
internal readonly struct Batch(int parts, long matrixBytes, long choice, long xGroup, long xPart, long yGroup, long yPart)
{
    public readonly int Parts = parts;
    public readonly long MatrixBytes = matrixBytes, Choice = choice, XGroup = xGroup, XPart = xPart, YGroup = yGroup, YPart = yPart;

    public readonly long Matrix<TMemory>(TMemory scratch, int product) where TMemory : struct, IMemory
        => (Choice < 0 ? product % Parts : (int)scratch.Word(Choice + product)) * MatrixBytes;

    public readonly long X(int product) => product / Parts * XGroup + product % Parts * XPart;

    public readonly long Y(int product) => product / Parts * YGroup + product % Parts * YPart;
}

/// <summary>y[p] = W[choice(p)]·x[p] in float32: a warp a row of a product's matrix. Grid: as many groups as all products' rows by warps; no shared memory.</summary>
internal struct FloatBatch<TThread, TMemory, TFormat> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory where TFormat : struct, IFormat<TThread, TMemory>
{
    public TMemory Scratch, Weights;
    public MatrixPlace Matrix;
    public Batch Batch;
    public long X, Y;
    public int Rows, Products;

    public readonly void Run(TThread t)
    {
        TFormat format = default;
        int warp = (t.Group * t.Items + t.Item) / t.Lanes, product = warp / Rows, r = warp % Rows, columns = Matrix.Columns;
        if (product >= Products) return; // the whole warp
        long row = Matrix.Start + Batch.Matrix(Scratch, product) + r * Matrix.RowBytes, x = X + Batch.X(product);
        float sum = 0;
        for (int c = 4 * t.Lane; c < columns; c += 4 * t.Lanes)
            sum = Products<TThread, TMemory>.Add(t, sum, format.Four(t, Weights, Matrix, row, c >> 2), Scratch, x + c, columns - c);
        sum = t.SumLanes(sum);
        if (t.Lane == 0) Scratch.SetFloat(Y + Batch.Y(product) + r, sum);
    }
}

/// <summary>The same with a block format and activations in signed bytes.</summary>
internal struct BlockBatch<TThread, TMemory, TFormat> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory where TFormat : struct, IBlockFormat<TThread, TMemory>
{
    public TMemory Scratch, Weights;
    public MatrixPlace Matrix;
    public Batch Batch;
    public long X, Y;
    public int Rows, Products;

    public readonly void Run(TThread t)
    {
        TFormat format = default;
        int warp = (t.Group * t.Items + t.Item) / t.Lanes, product = warp / Rows, r = warp % Rows, groups = Matrix.Groups;
        if (product >= Products) return; // the whole warp
        long row = Matrix.Start + Batch.Matrix(Scratch, product) + r * Matrix.RowBytes, x = X + Batch.X(product);
        float sum = 0;
        for (int g = t.Lane; g < groups; g += t.Lanes)
            sum += QuantisedGroup.Read(t, Scratch, x, groups, g).Dot(t, format.Quants(t, Weights, row, groups, g), format.Factors(t, Weights, row, groups, g), format.Offset);
        sum = t.SumLanes(sum);
        if (t.Lane == 0) Scratch.SetFloat(Y + Batch.Y(product) + r, sum);
    }
}

internal static class Products<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    /// <summary>sum + w·x of four numbers, or of as many as are left.</summary>
    public static float Add(TThread t, float sum, Four w, TMemory scratch, long x, int left)
    {
        sum = t.Fma(w.A, scratch.Float(x), sum);
        if (left > 1) sum = t.Fma(w.B, scratch.Float(x + 1), sum);
        if (left > 2) sum = t.Fma(w.C, scratch.Float(x + 2), sum);
        if (left > 3) sum = t.Fma(w.D, scratch.Float(x + 3), sum);
        return sum;
    }
}
