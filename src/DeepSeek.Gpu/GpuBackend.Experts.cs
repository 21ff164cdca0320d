using DeepSeek.Backends;
using DeepSeek.Gpu.Kernels;
using DeepSeek.Tensors;

namespace DeepSeek.Gpu;

/// <summary>Mixtures of experts: the choice is made and used on the device.</summary>
internal sealed partial class GpuBackend<TThread, TMemory>
{
    private readonly Dictionary<ExpertWeights, PlacedExperts?> expertGroups = new(ReferenceEqualityComparer.Instance);

    private sealed record PlacedExperts(PlacedMatrices<TMemory> Gate, PlacedMatrices<TMemory> Up, PlacedMatrices<TMemory> Down);

    public override void PrepareExperts(ExpertWeights experts)
    {
        if (!expertGroups.TryAdd(experts, null)) return;
        foreach (GatedMlpWeights e in experts.Experts)
            foreach (DeviceWeight w in (ReadOnlySpan<DeviceWeight>)[e.Gate, e.Up, e.Down]) ((GpuWeight<TMemory>)w).IsPart = true;
    }

    public override void Experts(Tensor residual, DeviceWeight norm, float epsilon, ExpertWeights experts)
    {
        long mark = Mark();
        Tensor x = Rent(residual.Rows, residual.Columns);
        RmsNorm(x, residual, norm, epsilon);
        PlacedExperts placed = ExpertsOf(experts);
        bool shared = experts.Shared is { } s && (IsBlock(s.Gate) || IsBlock(s.Up));
        Tensor quantised = shared || placed.Gate.Format.IsBlock() || placed.Up.Format.IsBlock() ? Quantise(x) : default;
        RoutedExperts(residual, x, quantised, experts, placed);
        if (experts.Shared is { } mlp) GatedMlp(residual, x, quantised, mlp);
        Release(mark);
    }

    public override void RoutedExperts(Tensor y, Tensor x, ExpertWeights experts)
    {
        long mark = Mark();
        PlacedExperts placed = ExpertsOf(experts);
        RoutedExperts(y, x, placed.Gate.Format.IsBlock() || placed.Up.Format.IsBlock() ? Quantise(x) : default, experts, placed);
        Release(mark);
    }

    private void RoutedExperts(Tensor y, Tensor x, Tensor quantised, ExpertWeights experts, PlacedExperts placed)
    {
        if (x.Rows == 0) return;
        long mark = Mark();
        RouterSettings settings = experts.Settings;
        int top = settings.TopK, pairs = x.Rows * top;
        Tensor logits = Rent(x.Rows, settings.ExpertCount), chosen = Rent(x.Rows, top), shares = Rent(x.Rows, top);
        Multiply(logits, x, default, experts.Router, null, accumulate: false);
        PlacedMatrices<TMemory>? bias = experts.CorrectionBias is { } b ? Place(b) : null;
        Launch(new Route<TThread, TMemory>
        {
            Scratch = scratch.Memory, Vectors = bias is null ? scratch.Memory : bias.Buffer.Memory, Bias = bias is null ? -1 : bias.Place.Start / sizeof(float), Logits = Place(logits), Chosen = chosen.Address / sizeof(float),
            Weights = shares.Address / sizeof(float), Experts = settings.ExpertCount, TopK = top, Groups = settings.GroupCount, TopGroups = settings.TopKGroups, Sigmoid = settings.Scoring == RouterScoring.Sigmoid ? 1 : 0,
            Normalise = settings.Normalise ? 1 : 0, Scale = settings.Scale,
        }, x.Rows, 2 * settings.ExpertCount + settings.GroupCount);
        Tensor gate = Rent(pairs, placed.Gate.Rows), up = Rent(pairs, placed.Up.Rows), result = Rent(pairs, y.Columns);
        Chosen(gate, x, quantised, placed.Gate, chosen, top);
        Chosen(up, x, quantised, placed.Up, chosen, top);
        SiluMultiply(gate, up);
        Chosen(result, gate, placed.Down.Format.IsBlock() ? Quantise(gate) : default, placed.Down, chosen, top);
        SegmentGrid grid = Segments(y.Columns, 1);
        Launch(new CombineExperts<TThread, TMemory> { Scratch = scratch.Memory, Y = Place(y), Results = Place(result), Grid = grid, Weights = shares.Address / sizeof(float), TopK = top }, y.Rows * grid.Segments);
        Release(mark);
    }

    /// <summary>For each token and each of its experts the product with that expert's matrix; x has a row a token, or a row for each of a token's experts.</summary>
    private void Chosen(Tensor y, Tensor x, Tensor quantised, PlacedMatrices<TMemory> w, Tensor chosen, int top)
    {
        bool block = w.Format.IsBlock();
        Tensor input = block ? quantised : x;
        long part = x.Rows == y.Rows ? input.Stride : 0, group = x.Rows == y.Rows ? (long)top * input.Stride : input.Stride;
        var batch = new Batch(top, w.MatrixBytes, chosen.Address / sizeof(float), group, part, (long)top * y.Stride, y.Stride);
        if (block) FormatDispatch<TThread, TMemory>.Block(w.Format, new BlockBatchCall(this, w, batch, input, y, y.Rows));
        else FormatDispatch<TThread, TMemory>.Any(w.Format, new FloatBatchCall(this, w, batch, input, y, y.Rows));
    }

    private PlacedExperts ExpertsOf(ExpertWeights experts)
    {
        if (expertGroups.GetValueOrDefault(experts) is { } placed) return placed;
        PrepareExperts(experts);
        return expertGroups[experts] = placed = new PlacedExperts(Side(e => e.Gate), Side(e => e.Up), Side(e => e.Down));

        PlacedMatrices<TMemory> Side(Func<GatedMlpWeights, DeviceWeight> which) => weights.Together([.. experts.Experts.Select(e => which(e).Source)], WeightRole.Expert);
    }
}
