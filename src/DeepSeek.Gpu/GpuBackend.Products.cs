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
        Multiply(y, x, default, weight, bias, accumulate);
        Release(mark);
    }

    public override void Project(Tensor x, DeviceWeight? norm, float epsilon, params ReadOnlySpan<Projection> projections)
    {
        long mark = Mark();
        Tensor n = x;
        if (norm is not null) RmsNorm(n = Rent(x.Rows, x.Columns), x, norm, epsilon);
        bool any = false;
        foreach (ref readonly Projection p in projections) any |= IsBlock(p.Weight);
        Tensor quantised = any ? Quantise(n) : default;
        foreach (ref readonly Projection p in projections) Multiply(p.Output, n, quantised, p.Weight, p.Bias, accumulate: false);
        Release(mark);
    }

    public override void GatedMlp(Tensor residual, DeviceWeight norm, float epsilon, GatedMlpWeights mlp)
    {
        long mark = Mark();
        Tensor x = Rent(residual.Rows, residual.Columns);
        RmsNorm(x, residual, norm, epsilon);
        GatedMlp(residual, x, IsBlock(mlp.Gate) || IsBlock(mlp.Up) ? Quantise(x) : default, mlp);
        Release(mark);
    }

    /// <summary>y += MLP(x).</summary>
    private void GatedMlp(Tensor y, Tensor x, Tensor quantised, GatedMlpWeights mlp)
    {
        long mark = Mark();
        Tensor gate = Rent(x.Rows, mlp.Gate.Rows), up = Rent(x.Rows, mlp.Up.Rows);
        Multiply(gate, x, quantised, mlp.Gate, null, accumulate: false);
        Multiply(up, x, quantised, mlp.Up, null, accumulate: false);
        SiluMultiply(gate, up);
        Multiply(y, gate, default, mlp.Down, null, accumulate: true);
        Release(mark);
    }

    /// <summary>Whether a product wants quantised activations. Routers do not: their products are float32 in any format.</summary>
    private static bool IsBlock(DeviceWeight weight) => weight.Role != WeightRole.Router && GpuFormats.Of(weight.Source, weight.Role).IsBlock();

    /// <summary>Rows in signed bytes; a tensor of as many columns as a row has words.</summary>
    private Tensor Quantise(Tensor x)
    {
        Tensor y = Rent(x.Rows, QuantisedRows.Words(x.Columns));
        int items = x.Rows * ((x.Columns + 31) / 32);
        if (items > 0)
            Launch(new Quantise<TThread, TMemory> { Scratch = scratch.Memory, X = Place(x), Y = y.Address / sizeof(float), Rows = x.Rows, RowWords = y.Columns }, (items + runtime.GroupItems - 1) / runtime.GroupItems);
        return y;
    }

    /// <summary>y = W·x + bias, or added to y. Quantised: x in signed bytes where somebody has them already.</summary>
    private void Multiply(Tensor y, Tensor x, Tensor quantised, DeviceWeight weight, DeviceWeight? bias, bool accumulate)
    {
        if (x.Rows == 0) return;
        PlacedMatrices<TMemory> w = Place(weight), b = bias is null ? w : Place(bias);
        long biasAt = bias is null ? -1 : b.Place.Start / sizeof(float);
        bool block = IsBlock(weight);
        if (block && quantised.Rows == 0) quantised = Quantise(x);
        if (x.Rows > MostVectorRows && !reproducible)
        {
            var tiles = new Tiles(runtime.TileEdge, weight.Rows, x.Rows);
            var outcome = new Outcome(Place(y), biasAt, accumulate ? 1 : 0);
            if (block) FormatDispatch<TThread, TMemory>.Block(w.Format, new BlockTiles(this, w, b, quantised, outcome, tiles));
            else FormatDispatch<TThread, TMemory>.Any(w.Format, new FloatTiles(this, w, b, x, outcome, tiles));
            return;
        }
        for (int t = 0; t < x.Rows; t += VectorRows)
        {
            int count = Math.Min(VectorRows, x.Rows - t);
            var outcome = new Outcome(Place(y.TakeRows(t, count)), biasAt, accumulate ? 1 : 0);
            if (block) FormatDispatch<TThread, TMemory>.Block(w.Format, new BlockVector(this, w, b, quantised.TakeRows(t, count), outcome));
            else FormatDispatch<TThread, TMemory>.Any(w.Format, new FloatVector(this, w, b, x.TakeRows(t, count), outcome));
        }
    }

    /// <summary>Groups that have a warp for each of so many rows.</summary>
    private int GroupsOfWarps(int rows) => (rows + Warps - 1) / Warps;

    private readonly struct FloatVector(GpuBackend<TThread, TMemory> backend, PlacedMatrices<TMemory> w, PlacedMatrices<TMemory> bias, Tensor x, Outcome outcome) : IFormatCall<TThread, TMemory>
    {
        public void Call<TFormat>() where TFormat : struct, IFormat<TThread, TMemory> => backend.Launch(new FloatMatVec<TThread, TMemory, TFormat>
        {
            Scratch = backend.scratch.Memory, Weights = w.Buffer.Memory, Vectors = bias.Buffer.Memory, Matrix = w.Place, X = Place(x), Result = outcome, Rows = w.Rows, Count = x.Rows,
        }, backend.GroupsOfWarps(w.Rows));
    }

    private readonly struct BlockVector(GpuBackend<TThread, TMemory> backend, PlacedMatrices<TMemory> w, PlacedMatrices<TMemory> bias, Tensor x, Outcome outcome) : IBlockFormatCall<TThread, TMemory>
    {
        public void Call<TFormat>() where TFormat : struct, IBlockFormat<TThread, TMemory> => backend.Launch(new BlockMatVec<TThread, TMemory, TFormat>
        {
            Scratch = backend.scratch.Memory, Weights = w.Buffer.Memory, Vectors = bias.Buffer.Memory, Matrix = w.Place, X = x.Address / sizeof(float), Result = outcome, Rows = w.Rows, Count = x.Rows, RowWords = x.Columns,
        }, backend.GroupsOfWarps(w.Rows));
    }

    private readonly struct FloatTiles(GpuBackend<TThread, TMemory> backend, PlacedMatrices<TMemory> w, PlacedMatrices<TMemory> bias, Tensor x, Outcome outcome, Tiles tiles) : IFormatCall<TThread, TMemory>
    {
        public void Call<TFormat>() where TFormat : struct, IFormat<TThread, TMemory> => backend.LaunchTiles(new FloatMatMul<TThread, TMemory, TFormat>
        {
            Scratch = backend.scratch.Memory, Weights = w.Buffer.Memory, Vectors = bias.Buffer.Memory, Matrix = w.Place, X = Place(x), Result = outcome, Tiles = tiles,
        }, tiles, FloatMatMul<TThread, TMemory, TFormat>.SharedWords(tiles.Edge));
    }

    private readonly struct BlockTiles(GpuBackend<TThread, TMemory> backend, PlacedMatrices<TMemory> w, PlacedMatrices<TMemory> bias, Tensor x, Outcome outcome, Tiles tiles) : IBlockFormatCall<TThread, TMemory>
    {
        public void Call<TFormat>() where TFormat : struct, IBlockFormat<TThread, TMemory> => backend.LaunchTiles(new BlockMatMul<TThread, TMemory, TFormat>
        {
            Scratch = backend.scratch.Memory, Weights = w.Buffer.Memory, Vectors = bias.Buffer.Memory, Matrix = w.Place, X = x.Address / sizeof(float), XRowWords = x.Columns, Result = outcome, Tiles = tiles,
        }, tiles, BlockMatMul<TThread, TMemory, TFormat>.SharedWords(tiles.Edge));
    }

    private readonly struct FloatBatchCall(GpuBackend<TThread, TMemory> backend, PlacedMatrices<TMemory> w, Batch batch, Tensor x, Tensor y, int products) : IFormatCall<TThread, TMemory>
    {
        public void Call<TFormat>() where TFormat : struct, IFormat<TThread, TMemory> => backend.Launch(new FloatBatch<TThread, TMemory, TFormat>
        {
            Scratch = backend.scratch.Memory, Weights = w.Buffer.Memory, Matrix = w.Place, Batch = batch, X = x.Address / sizeof(float), Y = y.Address / sizeof(float), Rows = w.Rows, Products = products,
        }, backend.GroupsOfWarps(w.Rows * products));
    }

    private readonly struct BlockBatchCall(GpuBackend<TThread, TMemory> backend, PlacedMatrices<TMemory> w, Batch batch, Tensor x, Tensor y, int products) : IBlockFormatCall<TThread, TMemory>
    {
        public void Call<TFormat>() where TFormat : struct, IBlockFormat<TThread, TMemory> => backend.Launch(new BlockBatch<TThread, TMemory, TFormat>
        {
            Scratch = backend.scratch.Memory, Weights = w.Buffer.Memory, Matrix = w.Place, Batch = batch, X = x.Address / sizeof(float), Y = y.Address / sizeof(float), Rows = w.Rows, Products = products,
        }, backend.GroupsOfWarps(w.Rows * products));
    }
}
