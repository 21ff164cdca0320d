using DeepSeek.Backends;
using DeepSeek.Gpu.Kernels;
using DeepSeek.Gpu.Kernels.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Gpu;

/// <summary>Products: matrix-vector kernels for few rows, tiles for many; activations are quantised once for all products that share them.</summary>
internal sealed partial class GpuBackend<TThread, TMemory>
{
    /// <summary>Rows of activations that a matrix-vector kernel takes at once.</summary>
    private const int VectorRows = 4;

    /// <summary>Up to so many rows a weight is read again for every <see cref="VectorRows"/> of them; beyond, tiles are faster.</summary>
    private const int MostVectorRows = 8;

    public override void MatMul(Tensor y, Tensor x, DeviceWeight weight, DeviceWeight? bias = null, bool accumulate = false)
    {
        long mark = Mark();
        Multiply(x, default, accumulate, new Projection(y, weight, bias));
        Release(mark);
    }

    public override void Project(Tensor x, DeviceWeight? norm, float epsilon, params ReadOnlySpan<Projection> projections)
    {
        long mark = Mark();
        bool any = false;
        foreach (ref readonly Projection p in projections) any |= IsBlock(p.Weight);
        Tensor n = x, quantised = any ? RentQuantised(x) : default;
        if (norm is not null) RmsNorm(n = Rent(x.Rows, x.Columns), x, norm, epsilon, quantised);
        else if (any) Quantise(quantised, x);
        Multiply(n, quantised, accumulate: false, projections);
        Release(mark);
    }

    public override void GatedMlp(Tensor residual, DeviceWeight norm, float epsilon, GatedMlpWeights mlp)
    {
        long mark = Mark();
        Tensor x = Rent(residual.Rows, residual.Columns), quantised = IsBlock(mlp.Gate) || IsBlock(mlp.Up) ? RentQuantised(x) : default;
        RmsNorm(x, residual, norm, epsilon, quantised);
        GatedMlp(residual, x, quantised, mlp);
        Release(mark);
    }

    /// <summary>y += MLP(x).</summary>
    private void GatedMlp(Tensor y, Tensor x, Tensor quantised, GatedMlpWeights mlp)
    {
        long mark = Mark();
        Tensor gate = Rent(x.Rows, mlp.Gate.Rows), up = Rent(x.Rows, mlp.Up.Rows), hidden = IsBlock(mlp.Down) ? RentQuantised(gate) : default;
        Multiply(x, quantised, accumulate: false, new Projection(gate, mlp.Gate), new Projection(up, mlp.Up));
        SiluMultiply(gate, up, hidden);
        Multiply(gate, hidden, accumulate: true, new Projection(y, mlp.Down));
        Release(mark);
    }

    /// <summary>Whether a product wants quantised activations. Routers do not: their products are float32 in any format.</summary>
    private static bool IsBlock(DeviceWeight weight) => weight.Role != WeightRole.Router && ((GpuWeight<TMemory>)weight).Format.IsBlock();

    /// <summary>Room for rows in signed bytes: a tensor of as many columns as a row has words.</summary>
    private Tensor RentQuantised(Tensor x) => Rent(x.Rows, QuantisedRows.Words(x.Columns));

    /// <summary>Where quantised rows go; nowhere where there is no room.</summary>
    private static QuantisedPlace PlaceQuantised(Tensor quantised) => quantised.Rows == 0 ? new QuantisedPlace(-1, 0) : new QuantisedPlace(quantised.Address / sizeof(float), quantised.Columns);

    private void Quantise(Tensor quantised, Tensor x)
    {
        int items = x.Rows * ((x.Columns + 31) / 32);
        if (items > 0) Launch(new Quantise<TThread, TMemory> { Scratch = scratch.Memory, X = Place(x), Y = PlaceQuantised(quantised), Rows = x.Rows }, (items + runtime.GroupItems - 1) / runtime.GroupItems);
    }

    /// <summary>Products that share their input. Quantised: x in signed bytes where somebody has them already.</summary>
    private void Multiply(Tensor x, Tensor quantised, bool accumulate, params ReadOnlySpan<Projection> projections)
    {
        if (x.Rows == 0) return;
        if (quantised.Rows == 0)
            foreach (ref readonly Projection p in projections)
                if (IsBlock(p.Weight))
                {
                    Quantise(quantised = RentQuantised(x), x);
                    break;
                }
        for (int i = 0; i < projections.Length;)
        {
            bool block = IsBlock(projections[i].Weight);
            GpuFormat format = Place(projections[i].Weight).Format;
            if (ByTiles(x.Rows))
            {
                Factor<TMemory> f = FactorOf(projections[i++], accumulate);
                var tiles = new Tiles<TMemory>(Edge, f.Rows, x.Rows);
                MultiplyTiles(format, block, f, x, quantised, tiles, tiles.Groups);
                continue;
            }
            int end = i + 1; // matrices of one format go together
            while (end < projections.Length && end < i + 3 && IsBlock(projections[end].Weight) == block && Place(projections[end].Weight).Format == format) end++;
            for (int t = 0; t < x.Rows; t += VectorRows)
            {
                int count = Math.Min(VectorRows, x.Rows - t);
                Factor<TMemory> a = FactorOf(projections[i], accumulate, t, count), b = FactorOf(projections[Math.Min(i + 1, end - 1)], accumulate, t, count), c = FactorOf(projections[end - 1], accumulate, t, count);
                if (end < i + 2) b.Rows = 0;
                if (end < i + 3) c.Rows = 0;
                if (block) FormatDispatch<TThread, TMemory>.Block(format, new BlockVector(this, a, b, c, quantised.TakeRows(t, count)));
                else FormatDispatch<TThread, TMemory>.Any(format, new FloatVector(this, a, b, c, x.TakeRows(t, count)));
            }
            i = end;
        }
    }

    private Factor<TMemory> FactorOf(in Projection p, bool accumulate, int firstRow = 0, int rows = int.MaxValue)
    {
        PlacedMatrices<TMemory> w = Place(p.Weight), bias = p.Bias is null ? w : Place(p.Bias);
        Tensor y = p.Output.TakeRows(firstRow, Math.Min(rows, p.Output.Rows));
        return new Factor<TMemory>
        {
            Weights = w.Buffer.Memory, Vectors = bias.Buffer.Memory, Matrix = w.Place, Rows = w.Rows, Result = new Outcome(Place(y), p.Bias is null ? -1 : bias.Place.Start / sizeof(float), accumulate ? 1 : 0),
        };
    }

    /// <summary>Matrices whose products go to y as they are.</summary>
    private static Factor<TMemory> FactorOf(PlacedMatrices<TMemory> w, Tensor y)
        => new() { Weights = w.Buffer.Memory, Vectors = w.Buffer.Memory, Matrix = w.Place, Rows = w.Rows, Result = new Outcome(Place(y), -1, 0) };

    /// <summary>Whether so many rows of activations are multiplied by tiles.</summary>
    private bool ByTiles(int rows) => rows > MostVectorRows && !reproducible;

    private int Edge => runtime.TileEdge;

    /// <summary>1 where rows at such an address and distance begin at multiples of 16 bytes.</summary>
    private static int IsWide(long address, long stride) => address % 16 == 0 && stride % 4 == 0 ? 1 : 0;

    /// <summary>Groups that have a warp for each of so many rows.</summary>
    private int GroupsOfWarps(int rows) => (rows + Warps - 1) / Warps;

    private readonly struct FloatVector(GpuBackend<TThread, TMemory> backend, Factor<TMemory> a, Factor<TMemory> b, Factor<TMemory> c, Tensor x) : IFormatCall<TThread, TMemory>
    {
        public void Call<TFormat>() where TFormat : struct, IFormat<TThread, TMemory> => backend.Launch(
            new FloatMatVec<TThread, TMemory, TFormat> { Scratch = backend.scratch.Memory, A = a, B = b, C = c, X = Place(x), Count = x.Rows, Wide = IsWide(x.Address, x.Stride) }, backend.GroupsOfWarps(a.Rows + b.Rows + c.Rows));
    }

    private readonly struct BlockVector(GpuBackend<TThread, TMemory> backend, Factor<TMemory> a, Factor<TMemory> b, Factor<TMemory> c, Tensor x) : IBlockFormatCall<TThread, TMemory>
    {
        public void Call<TFormat>() where TFormat : struct, IBlockFormat<TThread, TMemory> => backend.Launch(
            new BlockMatVec<TThread, TMemory, TFormat> { Scratch = backend.scratch.Memory, A = a, B = b, C = c, X = PlaceQuantised(x), Count = x.Rows }, backend.GroupsOfWarps(a.Rows + b.Rows + c.Rows));
    }

    /// <summary>Products by tiles.</summary>
    private void MultiplyTiles<TTiling>(GpuFormat format, bool block, Factor<TMemory> f, Tensor x, Tensor quantised, TTiling tiles, int groups) where TTiling : struct, ITiling<TMemory>
    {
        if (block) FormatDispatch<TThread, TMemory>.Block(format, new BlockTiles<TTiling>(this, f, quantised, tiles, groups));
        else FormatDispatch<TThread, TMemory>.Any(format, new FloatTiles<TTiling>(this, f, x, tiles, groups));
    }

    private readonly struct FloatTiles<TTiling>(GpuBackend<TThread, TMemory> backend, Factor<TMemory> f, Tensor x, TTiling tiles, int groups) : IFormatCall<TThread, TMemory> where TTiling : struct, ITiling<TMemory>
    {
        public void Call<TFormat>() where TFormat : struct, IFormat<TThread, TMemory> => backend.LaunchTiles(
            new FloatMatMul<TThread, TMemory, TFormat, TTiling> { Scratch = backend.scratch.Memory, W = f, X = Place(x), Tiles = tiles, Edge = backend.Edge }, groups,
            FloatMatMul<TThread, TMemory, TFormat, TTiling>.SharedWords(backend.Edge));
    }

    private readonly struct BlockTiles<TTiling>(GpuBackend<TThread, TMemory> backend, Factor<TMemory> f, Tensor x, TTiling tiles, int groups) : IBlockFormatCall<TThread, TMemory> where TTiling : struct, ITiling<TMemory>
    {
        public void Call<TFormat>() where TFormat : struct, IBlockFormat<TThread, TMemory> => backend.LaunchTiles(
            new BlockMatMul<TThread, TMemory, TFormat, TTiling> { Scratch = backend.scratch.Memory, W = f, X = PlaceQuantised(x), Tiles = tiles, Edge = backend.Edge }, groups,
            BlockMatMul<TThread, TMemory, TFormat, TTiling>.SharedWords(backend.Edge));
    }

    /// <summary>A batch of products with one or two stacks of matrices; y: where the first stack's go, up: the second's.</summary>
    private void MultiplyBatch(PlacedMatrices<TMemory> w, PlacedMatrices<TMemory>? second, Batch batch, Tensor x, Tensor y, Tensor up, int products)
    {
        MatrixStack<TMemory> a = StackOf(w, y), b = second is null ? a with { Rows = 0 } : StackOf(second, up);
        if (w.Format.IsBlock()) FormatDispatch<TThread, TMemory>.Block(w.Format, new BlockBatchCall(this, a, b, batch, x.Address / sizeof(float), products));
        else FormatDispatch<TThread, TMemory>.Any(w.Format, new FloatBatchCall(this, a, b, batch, x.Address / sizeof(float), products));
    }

    private static MatrixStack<TMemory> StackOf(PlacedMatrices<TMemory> w, Tensor y) => new() { Weights = w.Buffer.Memory, Matrix = w.Place, Y = y.Address / sizeof(float), Rows = w.Rows };

    private readonly struct FloatBatchCall(GpuBackend<TThread, TMemory> backend, MatrixStack<TMemory> a, MatrixStack<TMemory> b, Batch batch, long x, int products) : IFormatCall<TThread, TMemory>
    {
        public void Call<TFormat>() where TFormat : struct, IFormat<TThread, TMemory> => backend.Launch(
            new FloatBatch<TThread, TMemory, TFormat> { Scratch = backend.scratch.Memory, A = a, B = b, Batch = batch, X = x, Products = products, Wide = IsWide(x * sizeof(float), batch.XGroup | batch.XPart) }, backend.GroupsOfWarps((a.Rows + b.Rows) * products));
    }

    private readonly struct BlockBatchCall(GpuBackend<TThread, TMemory> backend, MatrixStack<TMemory> a, MatrixStack<TMemory> b, Batch batch, long x, int products) : IBlockFormatCall<TThread, TMemory>
    {
        public void Call<TFormat>() where TFormat : struct, IBlockFormat<TThread, TMemory> => backend.Launch(
            new BlockBatch<TThread, TMemory, TFormat> { Scratch = backend.scratch.Memory, A = a, B = b, Batch = batch, X = x, Products = products }, backend.GroupsOfWarps((a.Rows + b.Rows) * products));
    }
}
