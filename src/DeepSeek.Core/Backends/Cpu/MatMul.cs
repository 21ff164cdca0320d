using System.Runtime.Intrinsics.X86;
using DeepSeek.Backends.Cpu.Assembly;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// Matrix products of the CPU backend. Rows of all weights that share an input are cut into items, which the threads take one by one; block formats multiply quantised
/// activations, the others float32. One thread calls it.
/// </summary>
internal sealed unsafe class MatMul(WorkerPool pool, ScratchArena scratch, Capabilities capabilities, Kernels kernels, bool reproducible)
{
    /// <summary>Weight rows that are worked on together; an item is a whole number of panels.</summary>
    private const int PanelRows = 32;

    /// <summary>Items a thread, so that one that is held up does not hold up the others.</summary>
    private const int ItemsPerThread = 6;

    /// <summary>Bytes of weights that an item has at least (a few microseconds of reading), unless threads would be left idle.</summary>
    private const int SmallestItemBytes = 64 << 10;

    /// <summary>From so many tokens on, panels are packed for the register-tiled products. Below, packing costs more than it saves (measured on Zen 4), and an
    /// item is one panel: there is nothing to keep in a cache.</summary>
    internal const int ManyTokens = 5;

    /// <summary>The same where the products are of bfloat16, which rounds the activations: prompts that take no time anyway are not worth their nearly tied experts.</summary>
    internal const int ManyBrainTokens = 10;

    /// <summary>From so many tokens on, AMX tiles multiply, where there are any: a whole block of tokens. (Not measured: no machine at hand has them.)</summary>
    internal const int ManyTileTokens = TilePanels.Tokens;

    private readonly List<Part> parts = [];
    private nint workerScratch;
    private long workerBytes;
    private int itemRows, panelRows;

    /// <summary>One product of a group. Its items begin at FirstItem; with many tokens they are packed in tiles for a panel kernel.</summary>
    private readonly record struct Part(CpuWeight Weight, Tensor Input, QuantisedRows Quantised, Tensor Output, nint Bias, bool Accumulate)
    {
        public int FirstItem { get; init; }

        public PanelKernel? Kernel { get; init; }

        public nint Tiles { get; init; }

        public long TileBytes { get; init; }
    }

    /// <summary>y = W·x + bias for every row; with accumulate, y += W·x + bias.</summary>
    public void Run(Tensor y, Tensor x, CpuWeight weight, CpuWeight? bias, bool accumulate)
    {
        long mark = scratch.Mark();
        Begin();
        Add(weight, x, weight.Blocks is null ? default : Quantise(x), y, bias, accumulate);
        Execute();
        scratch.Release(mark);
    }

    /// <summary>Several products of the same input, whose activations are quantised once.</summary>
    public void Project(Tensor x, params ReadOnlySpan<Projection> projections)
    {
        long mark = scratch.Mark();
        bool blocks = false;
        foreach (ref readonly Projection p in projections) blocks |= ((CpuWeight)p.Weight).Blocks is not null;
        QuantisedRows quantised = blocks ? Quantise(x) : default;
        Begin();
        foreach (ref readonly Projection p in projections) Add((CpuWeight)p.Weight, x, quantised, p.Output, (CpuWeight?)p.Bias, accumulate: false);
        Execute();
        scratch.Release(mark);
    }

    /// <summary>Begins a group of products.</summary>
    public void Begin() => parts.Clear();

    /// <summary>Adds a product to the group.</summary>
    /// <param name="weight">W.</param>
    /// <param name="x">Activations.</param>
    /// <param name="quantised">The same, quantised; not looked at where the weight's products are computed in floating point.</param>
    /// <param name="y">Products. No two parts write to the same place.</param>
    /// <param name="bias">Added to every row; or null.</param>
    /// <param name="accumulate">Whether products are added to what y holds.</param>
    public void Add(CpuWeight weight, Tensor x, QuantisedRows quantised, Tensor y, CpuWeight? bias, bool accumulate)
        => parts.Add(new Part(weight, x, quantised, y, bias is null ? 0 : (nint)bias.Values, accumulate));

    /// <summary>Quantises activations into scratch memory.</summary>
    public QuantisedRows Quantise(Tensor x)
    {
        QuantisedRows quantised = QuantisedRows.Rent(scratch, x.Rows, x.Columns);
        if ((long)x.Rows * x.Columns < 1 << 15)
        {
            for (int t = 0; t < x.Rows; t++) quantised.Quantise(t, (float*)x.Address + (long)t * x.Stride, 0, x.Columns);
        }
        else
        {
            pool.Run(new Quantising(quantised, x), x.Rows);
        }
        return quantised;
    }

    /// <summary>Computes the group. Scratch memory it takes is the caller's to release.</summary>
    public void Execute()
    {
        int rows = 0, tokens = 0, buffered = 0;
        long working = 0, bytes = 0;
        bool tiled = false;
        for (int i = 0; i < parts.Count; i++)
        {
            parts[i] = Tile(i);
            Part p = parts[i];
            tiled |= p.Kernel is not null || p.Input.Rows > (p.Weight.Kernel?.MostWithWholeItems ?? ManyTokens - 1);
            rows += p.Weight.Rows;
            bytes += p.Weight.Source.Bytes;
            tokens = Math.Max(tokens, p.Input.Rows);
            if (p.Accumulate) buffered = Math.Max(buffered, p.Input.Rows);
            working = Math.Max(working, WorkingBytes(p));
        }
        int items = (int)Math.Clamp(bytes / SmallestItemBytes, pool.ThreadCount, pool.ThreadCount * ItemsPerThread);
        itemRows = Math.Max(1, (rows + items * PanelRows - 1) / (items * PanelRows)) * PanelRows;
        int count = 0;
        for (int i = 0; i < parts.Count; i++)
        {
            parts[i] = parts[i] with { FirstItem = count };
            count += (parts[i].Weight.Rows + itemRows - 1) / itemRows;
        }
        panelRows = tiled ? PanelRows : itemRows;
        workerBytes = (buffered * panelRows * sizeof(float) + working + 127) & -64;
        workerScratch = (nint)scratch.Rent(workerBytes * pool.ThreadCount);
        pool.Run(new Products(this), count);
    }

    /// <summary>Packs a part's tokens in tiles, where there is a panel kernel for its weight; parts with the same input share them.</summary>
    private Part Tile(int index)
    {
        Part p = parts[index];
        PanelKernel? kernel = Packs(p);
        StoredKernel? stored = kernel is null ? p.Weight.Kernel : null;
        if (kernel is null && stored is null) return p;
        for (int i = index - 1; i >= 0; i--)
        {
            Part before = parts[i];
            if (before.Tiles != 0 && before.Kernel?.Tokens == kernel?.Tokens && before.Kernel?.Layout == kernel?.Layout && (stored is null || before.Weight.Kernel?.GetType() == stored.GetType()) && before.Input == p.Input)
                return p with { Kernel = kernel, Tiles = before.Tiles, TileBytes = before.TileBytes };
        }
        if (stored is not null)
        {
            p = p with { Tiles = (nint)scratch.Rent(stored.TilesBytes(p.Input.Columns, p.Input.Rows)) };
            pool.Run(new StoredTiling(stored, p.Quantised, (byte*)p.Tiles), stored.Tiles(p.Input.Columns, p.Input.Rows));
            return p;
        }
        int tiles = (p.Input.Rows + kernel!.Tokens - 1) / kernel.Tokens, columns = p.Input.Columns;
        long tileBytes = kernel.Layout switch
        {
            PanelLayout.Bytes => columns / 32 * (long)BytePanels.TileStep(kernel.Tokens),
            PanelLayout.Brains => BrainPanels.TileBytes(columns, kernel.Tokens),
            _ => TilePanels.Bytes(columns),
        };
        p = p with { Kernel = kernel, Tiles = (nint)scratch.Rent(tiles * tileBytes), TileBytes = tileBytes };
        pool.Run(new Tiling(p), tiles);
        return p;
    }

    /// <summary>The product of packed panels that a part takes; null: it takes none. With Reproducible only where it makes the same numbers as the product for few tokens.</summary>
    private PanelKernel? Packs(Part p)
    {
        int tokens = p.Input.Rows;
        if (kernels.Tiles is { } onTiles && tokens >= ManyTileTokens && !p.Weight.IsPlainSum && !reproducible) return onTiles;
        if (p.Weight.Blocks is { } format)
        {
            StoredKernel? stored = p.Weight.Kernel;
            return tokens > (stored?.MostWithoutPanels(format) ?? ManyTokens - 1) && (stored is not null || !reproducible) ? kernels.Bytes(format, tokens) : null;
        }
        return tokens >= ManyBrainTokens && !p.Weight.IsPlainSum && !reproducible ? kernels.Brains : null;
    }

    /// <summary>A thread's working memory for a panel of a part.</summary>
    private static long WorkingBytes(Part p)
    {
        int columns = p.Weight.Columns;
        if (p.Kernel is null) return Math.Max(IntegerDot.ScratchBytes(columns), FloatDot.ScratchBytes(columns));
        if (p.Kernel.Layout == PanelLayout.Tiles) return TilePanels.Bytes(columns) + TilePanels.ScratchBytes(p.Weight);
        return p.Weight.Blocks is { } format ? columns / 32 * (long)BytePanels.PanelStep(format) + BytePanels.ScratchBytes(columns) : BrainPanels.PanelBytes(columns) + BrainPanels.ScratchBytes(columns);
    }

    private void Execute(int item, int worker)
    {
        int at = parts.Count - 1;
        while (parts[at].FirstItem > item) at--;
        Part p = parts[at];
        int first = (item - p.FirstItem) * itemRows, end = Math.Min(first + itemRows, p.Weight.Rows);
        byte* memory = (byte*)workerScratch + workerBytes * worker;
        if (p.Kernel is not null) Fetch(p.Weight.Source, first, Math.Min(PanelRows, end - first));
        for (int n = first; n < end; n += panelRows) Panel(p, n, Math.Min(panelRows, end - n), Math.Clamp(end - n - PanelRows, 0, PanelRows), memory);
    }

    /// <summary>Asks for rows: packing reads a panel's rows side by side, which no prefetcher follows, though a panel is one stretch of memory.</summary>
    private static void Fetch(Weight w, int first, int count)
    {
        if (!Sse.IsSupported) return;
        byte* at = (byte*)w.Row(first);
        for (long i = 0; i < w.RowBytes * count; i += 64) Sse.Prefetch1(at + i);
    }

    /// <summary>A panel of weight rows times all tokens. With accumulate the products come into a buffer first, so that every path adds the same numbers in the same order.</summary>
    private void Panel(Part p, int first, int count, int following, byte* memory)
    {
        Tensor y = p.Accumulate ? new((nint)((float*)memory - first), p.Input.Rows, p.Output.Columns, panelRows) : p.Output;
        byte* working = p.Accumulate ? memory + (long)p.Input.Rows * panelRows * sizeof(float) : memory;
        if (p.Kernel is not null) Packed(p, first, count, following, y, working);
        else if (p.Weight.Kernel is { } kernel) kernel.Multiply(p.Weight.Source, first, count, (byte*)p.Tiles, p.Input.Rows, y);
        else if (p.Weight.Blocks is { } format) IntegerDot.Rows(capabilities, format, p.Weight.Source, first, count, p.Quantised, y, working);
        else FloatDot.Rows(p.Weight.Source, first, count, p.Input, y, (float*)working, following, kernels);
        if (!p.Accumulate && p.Bias == 0) return;
        float* bias = (float*)p.Bias;
        for (int t = 0; t < p.Input.Rows; t++)
        {
            float* from = (float*)y.Address + (long)t * y.Stride, to = (float*)p.Output.Address + (long)t * p.Output.Stride;
            for (int n = first; n < first + count; n++)
            {
                float value = bias is null ? from[n] : from[n] + bias[n];
                to[n] = p.Accumulate ? to[n] + value : value;
            }
        }
    }

    /// <summary>Packs the panel, then multiplies it with all tiles, while the rows that follow come from memory.</summary>
    private void Packed(Part p, int first, int count, int following, Tensor y, byte* working)
    {
        int columns = p.Weight.Columns;
        long steps;
        if (p.Kernel!.Layout == PanelLayout.Tiles)
        {
            steps = TilePanels.Steps(columns);
            TilePanels.PackWeights(capabilities, p.Weight, first, count, working, working + TilePanels.Bytes(columns));
        }
        else if (p.Weight.Blocks is { } format)
        {
            steps = columns / 32;
            BytePanels.PackWeights(capabilities, format, p.Weight.Source, first, count, working, working + steps * BytePanels.PanelStep(format));
        }
        else
        {
            steps = BrainPanels.Steps(columns);
            BrainPanels.PackWeights(capabilities, p.Weight.Source, first, count, BrainPanels.Padded(columns), working, working + BrainPanels.PanelBytes(columns));
        }
        p.Kernel.Run(working, (byte*)p.Tiles, p.TileBytes, steps, count, p.Input.Rows, (float*)y.Address + first, y.Stride,
            (byte*)p.Weight.Source.Row(first + count), following * p.Weight.Source.RowBytes);
    }

    private readonly struct Tiling(Part p) : IParallelWork
    {
        public void Execute(int item, int worker)
        {
            int first = item * p.Kernel!.Tokens, count = Math.Min(p.Kernel.Tokens, p.Input.Rows - first);
            byte* tile = (byte*)p.Tiles + item * p.TileBytes;
            if (p.Kernel.Layout == PanelLayout.Tiles) TilePanels.PackTokens(p.Input, first, count, tile);
            else if (p.Weight.Blocks is not null) BytePanels.PackTokens(p.Quantised, first, count, p.Kernel.Tokens, tile);
            else BrainPanels.PackTokens(p.Input, first, count, p.Kernel.Tokens, tile);
        }
    }

    private readonly struct StoredTiling(StoredKernel kernel, QuantisedRows x, byte* tiles) : IParallelWork
    {
        public void Execute(int item, int worker) => kernel.Pack(x, item, tiles);
    }

    private readonly struct Products(MatMul owner) : IParallelWork
    {
        public void Execute(int item, int worker) => owner.Execute(item, worker);
    }

    private readonly struct Quantising(QuantisedRows to, Tensor x) : IParallelWork
    {
        public void Execute(int item, int worker) => to.Quantise(item, (float*)x.Address + (long)item * x.Stride, 0, x.Columns);
    }
}
