using System.Runtime.InteropServices;
using DeepSeek.Backends;
using DeepSeek.Gpu.Kernels;
using DeepSeek.Gpu.Kernels.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Gpu;

/// <summary>
/// The table of operations on a device with memory of its own: each operation is a few launches, and only <see cref="Read"/> waits. Written once over <see cref="GpuRuntime{TThread, TMemory}"/>.
/// </summary>
/// <param name="runtime">The device; the backend owns it.</param>
/// <param name="reproducible">One order of sums for every product and one division of the cache for attention, whatever else is in the batch.</param>
/// <param name="latentScratchBytes">Queries in the latent space are wide: the rows of a long prompt have their turns with so many bytes of them.</param>
internal sealed partial class GpuBackend<TThread, TMemory>(GpuRuntime<TThread, TMemory> runtime, bool reproducible = false, int latentScratchBytes = 128 << 20) : Backend where TThread : struct, IThread where TMemory : struct, IMemory
{
    private readonly Dictionary<(Weight Weight, WeightRole Role), GpuWeight<TMemory>> prepared = [];
    private readonly Dictionary<RotarySettings, GpuBuffer<TMemory>> turns = new(ReferenceEqualityComparer.Instance);
    private readonly WeightStore<TThread, TMemory> weights = new(runtime);
    private readonly ScratchMemory<TThread, TMemory> scratch = new(runtime);
    private readonly TableMemory<TThread, TMemory> tables = new(runtime);

    private int[] candidates = new int[64];

    public override string Name => runtime.Name;

    public override string Description => runtime.Description;

    public override CacheFormat PreferredCache => CacheFormat.F16;

    /// <summary>Device memory of what has been uploaded.</summary>
    public override long PreparedBytes => weights.Bytes;

    // ---- memory

    public override DeviceWeight Prepare(Weight weight, WeightRole role)
    {
        if (!prepared.TryGetValue((weight, role), out GpuWeight<TMemory>? result)) prepared[(weight, role)] = result = new GpuWeight<TMemory>(weight, role);
        return result;
    }

    public override void Upload(IProgress<double>? progress)
    {
        long total = 0, done = 0;
        foreach (GpuWeight<TMemory> w in prepared.Values) total += w.Source.Bytes;
        foreach (ExpertWeights e in expertGroups.Keys.ToArray())
        {
            ExpertsOf(e);
            foreach (GatedMlpWeights expert in e.Experts) Done(expert.Gate.Source.Bytes + expert.Up.Source.Bytes + expert.Down.Source.Bytes);
        }
        foreach (LatentAttentionSettings a in latentGroups.Keys.ToArray())
        {
            HeadsOf(a);
            foreach (DeviceWeight head in a.KeyUp.Concat(a.ValueUp)) Done(head.Source.Bytes);
        }
        foreach (GpuWeight<TMemory> w in prepared.Values)
            if (!w.IsPart)
            {
                weights.Place(w);
                Done(w.Source.Bytes);
            }
        runtime.Synchronise();

        void Done(long bytes) => progress?.Report(Math.Min(1, (done += bytes) / (double)total));
    }

    public override CacheStorage CreateCache(IReadOnlyList<CacheStream> streams, CacheFormat format, int blockTokens, int blockCount)
        => new GpuCache<TThread, TMemory>(runtime, streams, format, blockTokens, blockCount);

    public override Tensor Rent(int rows, int columns) => scratch.Rent(rows, columns);

    public override long Mark() => scratch.Height;

    public override void Release(long mark) => scratch.Release(mark);

    public override void Read(Tensor x, Span<float> destination)
    {
        if (x.Stride == x.Columns || x.Rows == 1) scratch.Buffer.Download(x.Address, MemoryMarshal.AsBytes(destination[..(x.Rows * x.Columns)]));
        else
            for (int t = 0; t < x.Rows; t++) scratch.Buffer.Download(x.TakeRows(t, 1).Address, MemoryMarshal.AsBytes(destination.Slice(t * x.Columns, x.Columns)));
    }

    /// <summary>Columns that one group looks through.</summary>
    private const int LargestSegment = 4096;

    public override bool TryReadLargest(Tensor row, Span<int> columns, Span<float> values)
    {
        int wanted = columns.Length, segments = (row.Columns + LargestSegment - 1) / LargestSegment, shared = Largest<TThread, TMemory>.SharedWords(LargestSegment, Warps);
        if (wanted == 0 || wanted > row.Columns || segments * wanted > LargestSegment) return false;
        long mark = Mark();
        Tensor parts = Rent(2, segments * wanted), result = Rent(2, wanted); // numbers, columns
        long numbers = parts.Address / sizeof(float), largest = result.Address / sizeof(float);
        Launch(new Largest<TThread, TMemory>
        {
            Scratch = scratch.Memory, Values = row.Address / sizeof(float), Columns = -1, LargestValues = numbers, LargestColumns = numbers + parts.Columns, Count = row.Columns, Segment = LargestSegment, Wanted = wanted,
        }, segments, shared);
        Launch(new Largest<TThread, TMemory>
        {
            Scratch = scratch.Memory, Values = numbers, Columns = numbers + parts.Columns, LargestValues = largest, LargestColumns = largest + wanted, Count = parts.Columns, Segment = LargestSegment, Wanted = wanted,
        }, 1, shared);
        if (candidates.Length < 2 * wanted) candidates = new int[2 * wanted];
        Span<int> read = candidates.AsSpan(0, 2 * wanted);
        scratch.Buffer.Download(result.Address, MemoryMarshal.AsBytes(read));
        Release(mark);
        MemoryMarshal.Cast<int, float>(read[..wanted]).CopyTo(values);
        read[wanted..].CopyTo(columns);
        return float.IsFinite(values[0]);
    }

    public override void Write(Tensor x, ReadOnlySpan<float> source)
    {
        if (x.Stride == x.Columns || x.Rows == 1) scratch.Buffer.Upload(x.Address, MemoryMarshal.AsBytes(source[..(x.Rows * x.Columns)]));
        else
            for (int t = 0; t < x.Rows; t++) scratch.Buffer.Upload(x.TakeRows(t, 1).Address, MemoryMarshal.AsBytes(source.Slice(t * x.Columns, x.Columns)));
    }

    public override void Dispose()
    {
        foreach (GpuBuffer<TMemory> buffer in turns.Values) buffer.Dispose();
        turns.Clear();
        tables.Dispose();
        scratch.Dispose();
        weights.Dispose();
        runtime.Dispose();
    }

    // ---- primitives over rows

    public override void Embed(Tensor y, DeviceWeight table, ReadOnlySpan<int> tokens)
    {
        if (tokens.Length == 0) return;
        PlacedMatrices<TMemory> w = Place(table);
        long numbers = tables.Copy(tokens);
        FormatDispatch<TThread, TMemory>.Any(w.Format, new EmbedCall(this, y, w, numbers));
    }

    private readonly struct EmbedCall(GpuBackend<TThread, TMemory> backend, Tensor y, PlacedMatrices<TMemory> w, long numbers) : IFormatCall<TThread, TMemory>
    {
        public void Call<TFormat>() where TFormat : struct, IFormat<TThread, TMemory>
        {
            SegmentGrid grid = backend.Segments(y.Columns, 4);
            backend.Launch(new Embed<TThread, TMemory, TFormat>
            {
                Scratch = backend.scratch.Memory, Weights = w.Buffer.Memory, Tables = backend.tables.Memory, Y = Place(y), Matrix = w.Place, Grid = grid, Numbers = numbers,
            }, y.Rows * grid.Segments);
        }
    }

    public override void Gather(Tensor y, Tensor x, ReadOnlySpan<int> rows)
    {
        if (rows.Length == 0) return;
        SegmentGrid grid = Segments(y.Columns, 1);
        long numbers = tables.Copy(rows);
        Launch(new Gather<TThread, TMemory> { Scratch = scratch.Memory, Tables = tables.Memory, Y = Place(y), X = Place(x), Grid = grid, Numbers = numbers }, rows.Length * grid.Segments);
    }

    public override void RmsNorm(Tensor y, Tensor x, DeviceWeight gain, float epsilon) => RmsNorm(y, x, gain, epsilon, default);

    /// <summary>Quantised: room for the result in signed bytes too, where its rows are one stretch.</summary>
    private void RmsNorm(Tensor y, Tensor x, DeviceWeight gain, float epsilon, Tensor quantised)
    {
        if (x.Rows == 0) return;
        PlacedMatrices<TMemory> g = Place(gain);
        int stretches = x.Columns / gain.Columns;
        Launch(new RmsNorm<TThread, TMemory>
        {
            Scratch = scratch.Memory, Gain = g.Buffer.Memory, Y = Place(y), X = Place(x), GainStart = g.Place.Start / sizeof(float), Size = gain.Columns, Stretches = stretches, Epsilon = epsilon, Quantised = PlaceQuantised(quantised),
        }, x.Rows * stretches, Warps);
    }

    public override void Add(Tensor y, Tensor x)
    {
        if (x.Rows == 0) return;
        SegmentGrid grid = Segments(x.Columns, 1);
        Launch(new Add<TThread, TMemory> { Scratch = scratch.Memory, Y = Place(y), X = Place(x), Grid = grid }, x.Rows * grid.Segments);
    }

    public override void SiluMultiply(Tensor gate, Tensor up) => SiluMultiply(gate, up, default);

    private void SiluMultiply(Tensor gate, Tensor up, Tensor quantised)
    {
        if (gate.Rows == 0) return;
        SegmentGrid grid = Segments(gate.Columns, 32);
        Launch(new SiluMultiply<TThread, TMemory> { Scratch = scratch.Memory, Gate = Place(gate), Up = Place(up), Grid = grid, Quantised = PlaceQuantised(quantised) }, gate.Rows * grid.Segments);
    }

    public override void RotaryFactors(Tensor factors, RotarySettings rotary, StepLayout step)
    {
        if (step.TokenCount == 0) return;
        StepTables at = tables.Of(step);
        Launch(new RotaryFactors<TThread, TMemory>
        {
            Scratch = scratch.Memory, Turns = TurnsOf(rotary).Memory, Tables = tables.Memory, Y = Place(factors), Positions = at.Positions, Pairs = rotary.Frequencies.Length, Magnitude = (float)rotary.Magnitude,
        }, step.TokenCount);
    }

    public override void Rotate(Tensor x, Tensor factors, RotarySettings rotary, int headSize, int offset)
    {
        if (x.Rows == 0) return;
        int pairs = rotary.Frequencies.Length;
        bool interleaved = rotary.Pairs == RotaryPairs.Interleaved;
        Launch(new Rotate<TThread, TMemory>
        {
            Scratch = scratch.Memory, X = Place(x), FactorRows = Place(factors), Heads = x.Columns / headSize, HeadSize = headSize, First = offset, Pairs = pairs, Step = interleaved ? 2 : 1, Apart = interleaved ? 1 : pairs,
        }, x.Rows);
    }

    /// <summary>Frequencies in 2^-64 of a turn a position, low word first.</summary>
    private GpuBuffer<TMemory> TurnsOf(RotarySettings rotary)
    {
        if (turns.TryGetValue(rotary, out GpuBuffer<TMemory>? buffer)) return buffer;
        ulong[] numbers = [.. rotary.Frequencies.Select(f =>
        {
            double turn = f / (2 * Math.PI);
            return (ulong)((turn - Math.Floor(turn)) * 18446744073709551616.0); // below 2^64, as the fraction is below 1
        })];
        buffer = runtime.Allocate(numbers.Length * sizeof(ulong));
        buffer.Upload(0, MemoryMarshal.AsBytes<ulong>(numbers));
        return turns[rotary] = buffer;
    }

    // ---- launches

    /// <summary>Words of shared memory of a kernel that reduces over its group.</summary>
    private int Warps => runtime.GroupItems / runtime.Lanes;

    private void Launch<TKernel>(in TKernel kernel, int groups, int sharedWords = 0) where TKernel : struct, IKernel<TThread> => runtime.Launch(kernel, groups, runtime.GroupItems, sharedWords);

    private void LaunchTiles<TKernel>(in TKernel kernel, int groups, int sharedWords) where TKernel : struct, IKernel<TThread> => runtime.Launch(kernel, groups, runtime.TileEdge * runtime.TileEdge, sharedWords);

    /// <summary>Cuts rows so that an item has about four numbers, and a segment whole steps; on one item a row is one piece.</summary>
    private SegmentGrid Segments(int columns, int step)
    {
        int width = runtime.GroupItems == 1 ? columns : (4 * runtime.GroupItems + step - 1) / step * step;
        return new SegmentGrid((columns + width - 1) / width, width);
    }

    private static RowPlace Place(Tensor x) => new(x.Address / sizeof(float), x.Stride, x.Columns);

    private PlacedMatrices<TMemory> Place(DeviceWeight weight) => weights.Place((GpuWeight<TMemory>)weight);
}
