using DeepSeek.Backends;
using DeepSeek.Gpu.Kernels;
using DeepSeek.Tensors;

namespace DeepSeek.Gpu;

/// <summary>Mixtures of experts: the choice is made and used on the device.</summary>
internal sealed partial class GpuBackend<TThread, TMemory>
{
    /// <summary>Pairs of token and expert, for each expert of the mixture, from which tiles are worth sorting them.</summary>
    private const int TiledPairs = 4;

    private readonly Dictionary<ExpertWeights, PlacedExperts?> expertGroups = new(ReferenceEqualityComparer.Instance);

    private sealed record PlacedExperts(PlacedMatrices<TMemory> Gate, PlacedMatrices<TMemory> Up, PlacedMatrices<TMemory> Down, int Count)
    {
        public bool WantsBytes => Gate.Format.IsBlock() || Up.Format.IsBlock();
    }

    public override void PrepareExperts(ExpertWeights experts)
    {
        if (!expertGroups.TryAdd(experts, null)) return;
        foreach (GatedMlpWeights e in experts.Experts)
            foreach (DeviceWeight w in (ReadOnlySpan<DeviceWeight>)[e.Gate, e.Up, e.Down]) ((GpuWeight<TMemory>)w).IsPart = true;
    }

    public override void Experts(Tensor residual, DeviceWeight norm, float epsilon, ExpertWeights experts)
    {
        long mark = Mark();
        PlacedExperts placed = ExpertsOf(experts);
        bool shared = experts.Shared is { } s && (IsBlock(s.Gate) || IsBlock(s.Up));
        Tensor x = Rent(residual.Rows, residual.Columns), quantised = shared || placed.WantsBytes ? RentQuantised(x) : default;
        RmsNorm(x, residual, norm, epsilon, quantised);
        RoutedExperts(residual, x, quantised, experts, placed);
        if (experts.Shared is { } mlp) GatedMlp(residual, x, quantised, mlp);
        Release(mark);
    }

    public override void RoutedExperts(Tensor y, Tensor x, ExpertWeights experts)
    {
        long mark = Mark();
        PlacedExperts placed = ExpertsOf(experts);
        Tensor quantised = placed.WantsBytes ? RentQuantised(x) : default;
        if (placed.WantsBytes) Quantise(quantised, x);
        RoutedExperts(y, x, quantised, experts, placed);
        Release(mark);
    }

    private void RoutedExperts(Tensor y, Tensor x, Tensor quantised, ExpertWeights experts, PlacedExperts placed)
    {
        if (x.Rows == 0) return;
        long mark = Mark();
        RouterSettings settings = experts.Settings;
        int top = settings.TopK, pairs = x.Rows * top;
        Tensor logits = Rent(x.Rows, settings.ExpertCount), chosen = Rent(x.Rows, top), shares = Rent(x.Rows, top);
        Multiply(x, default, accumulate: false, new Projection(logits, experts.Router));
        PlacedMatrices<TMemory>? bias = experts.CorrectionBias is { } b ? Place(b) : null;
        Launch(new Route<TThread, TMemory>
        {
            Scratch = scratch.Memory, Vectors = bias is null ? scratch.Memory : bias.Buffer.Memory, Bias = bias is null ? -1 : bias.Place.Start / sizeof(float), Logits = Place(logits), Chosen = chosen.Address / sizeof(float),
            Weights = shares.Address / sizeof(float), Experts = settings.ExpertCount, TopK = top, Groups = settings.GroupCount, TopGroups = settings.TopKGroups, Sigmoid = settings.Scoring == RouterScoring.Sigmoid ? 1 : 0,
            Normalise = settings.Normalise ? 1 : 0, Scale = settings.Scale,
        }, x.Rows, 2 * settings.ExpertCount + settings.GroupCount);
        Tensor gate = Rent(pairs, placed.Gate.Rows), up = Rent(pairs, placed.Up.Rows), result = Rent(pairs, y.Columns), hidden = placed.Down.Format.IsBlock() ? RentQuantised(gate) : default;
        if (ByTiles(x.Rows) && pairs >= TiledPairs * settings.ExpertCount) ByTilesOfExperts(x, quantised, placed, chosen, gate, up, hidden, result);
        else ByPairs(x, quantised, placed, chosen, gate, up, hidden, result);
        SegmentGrid grid = Segments(y.Columns, 1);
        Launch(new CombineExperts<TThread, TMemory> { Scratch = scratch.Memory, Y = Place(y), Results = Place(result), Grid = grid, Weights = shares.Address / sizeof(float), TopK = top }, y.Rows * grid.Segments);
        Release(mark);
    }

    /// <summary>Every pair reads its expert's matrices: few tokens have few experts in common.</summary>
    private void ByPairs(Tensor x, Tensor quantised, PlacedExperts placed, Tensor chosen, Tensor gate, Tensor up, Tensor hidden, Tensor result)
    {
        int top = chosen.Columns, pairs = gate.Rows;
        long numbers = chosen.Address / sizeof(float);
        Tensor input = placed.Gate.Format.IsBlock() ? quantised : x;
        // A token's experts share its row; gate and up go together where their formats are the same.
        var batch = new Batch(top, numbers, input.Stride, 0, (long)top * gate.Stride, gate.Stride);
        if (placed.Gate.Format == placed.Up.Format) MultiplyBatch(placed.Gate, placed.Up, batch, input, gate, up, pairs);
        else
        {
            MultiplyBatch(placed.Gate, null, batch, input, gate, default, pairs);
            input = placed.Up.Format.IsBlock() ? quantised : x;
            MultiplyBatch(placed.Up, null, new Batch(top, numbers, input.Stride, 0, (long)top * up.Stride, up.Stride), input, up, default, pairs);
        }
        SiluMultiply(gate, up, hidden);
        input = placed.Down.Format.IsBlock() ? hidden : gate;
        MultiplyBatch(placed.Down, null, new Batch(top, numbers, (long)top * input.Stride, input.Stride, (long)top * result.Stride, result.Stride), input, result, default, pairs);
    }

    /// <summary>Pairs are sorted by expert, and every expert's matrices are read once for a tile of them.</summary>
    private void ByTilesOfExperts(Tensor x, Tensor quantised, PlacedExperts placed, Tensor chosen, Tensor gate, Tensor up, Tensor hidden, Tensor result)
    {
        int top = chosen.Columns, pairs = gate.Rows, experts = placed.Count, side = 4 * Edge, most = pairs / side + Math.Min(experts, pairs);
        Tensor order = Rent(1, pairs), table = Rent(most, 4);
        long numbers = chosen.Address / sizeof(float), sorted = order.Address / sizeof(float), tiles = table.Address / sizeof(float);
        Launch(new SortPairs<TThread, TMemory> { Scratch = scratch.Memory, Chosen = numbers, Order = sorted, Pairs = pairs }, (pairs + runtime.GroupItems - 1) / runtime.GroupItems);
        Launch(new CutTiles<TThread, TMemory> { Scratch = scratch.Memory, Chosen = numbers, Table = tiles, Pairs = pairs, Experts = experts, Side = side, MostTiles = most }, 1, experts);
        Multiply(placed.Gate, x, quantised, gate, top);
        Multiply(placed.Up, x, quantised, up, top);
        SiluMultiply(gate, up, hidden);
        Multiply(placed.Down, gate, hidden, result, 1);

        void Multiply(PlacedMatrices<TMemory> w, Tensor numbers, Tensor bytes, Tensor y, int pairsOfX)
        {
            var tiling = new ExpertTiles<TMemory>(Edge, w.Rows, most, tiles, sorted, pairsOfX);
            MultiplyTiles(w.Format, w.Format.IsBlock(), FactorOf(w, y), numbers, bytes, tiling, tiling.Groups);
        }
    }

    private PlacedExperts ExpertsOf(ExpertWeights experts)
    {
        if (expertGroups.GetValueOrDefault(experts) is { } placed) return placed;
        PrepareExperts(experts);
        return expertGroups[experts] = placed = new PlacedExperts(Side(e => e.Gate), Side(e => e.Up), Side(e => e.Down), experts.Experts.Length);

        PlacedMatrices<TMemory> Side(Func<GatedMlpWeights, DeviceWeight> which) => weights.Together([.. experts.Experts.Select(e => which(e).Source)], WeightRole.Expert);
    }
}
