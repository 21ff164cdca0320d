using System.Runtime.InteropServices;
using DeepSeek.Backends.Cpu.Dot;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu.Assembly;

/// <summary>
/// The assembled kernels that this processor runs. Each is tried on a small product before it is handed out; one that fails, or memory that the system does not make
/// executable, leaves its format to .NET's own intrinsics.
/// </summary>
internal sealed unsafe class Kernels : IDisposable
{
    private readonly NativeCode? code;
    private readonly Dictionary<DType, DotKernel> dots = [];
    private readonly Dictionary<DType, StoredKernel?> stored = [];

    private readonly Dictionary<(int Group, bool Minima, int Tokens), PanelKernel> bytes = [];
    private readonly Dictionary<(int Group, bool Minima, int Least, int Most), PanelKernel?> own = [];

    /// <summary>What the processor may be asked to do.</summary>
    public Capabilities Capabilities { get; }

    /// <param name="capabilities">What may be used.</param>
    /// <param name="tiles">The product on AMX tiles to use in place of the processor's own (an emulated one); null: that one, where there is one.</param>
    public Kernels(Capabilities capabilities, PanelKernel? tiles = null)
    {
        Capabilities = capabilities;
        Tiles = tiles;
        if (!capabilities.Avx512Vnni || !capabilities.Avx512Vbmi) return;
        (DType Type, byte[] One, byte[] Two, byte[] Four, byte[] Eight)[] sources =
        [
            (DType.Q8_0, [.. KernelCode.DotQ8_0x1], [.. KernelCode.DotQ8_0x2], [.. KernelCode.DotQ8_0x4], [.. KernelCode.DotQ8_0x8]),
            (DType.Q4_0, [.. KernelCode.DotQ4_0x1], [.. KernelCode.DotQ4_0x2], [.. KernelCode.DotQ4_0x4], [.. KernelCode.DotQ4_0x8]),
            (DType.Q4_1, [.. KernelCode.DotQ4_1x1], [.. KernelCode.DotQ4_1x2], [.. KernelCode.DotQ4_1x4], [.. KernelCode.DotQ4_1x8]),
            (DType.Q5_0, [.. KernelCode.DotQ5_0x1], [.. KernelCode.DotQ5_0x2], [.. KernelCode.DotQ5_0x4], [.. KernelCode.DotQ5_0x8]),
            (DType.Q5_1, [.. KernelCode.DotQ5_1x1], [.. KernelCode.DotQ5_1x2], [.. KernelCode.DotQ5_1x4], [.. KernelCode.DotQ5_1x8]),
            (DType.IQ4_NL, [.. KernelCode.DotIQ4_NLx1], [.. KernelCode.DotIQ4_NLx2], [.. KernelCode.DotIQ4_NLx4], [.. KernelCode.DotIQ4_NLx8]),
            (DType.MXFP4, [.. KernelCode.DotMXFP4x1], [.. KernelCode.DotMXFP4x2], [.. KernelCode.DotMXFP4x4], [.. KernelCode.DotMXFP4x8]),
            (DType.Q4_K, [.. KernelCode.DotQ4_Kx1], [.. KernelCode.DotQ4_Kx2], [.. KernelCode.DotQ4_Kx4], [.. KernelCode.DotQ4_Kx8]),
            (DType.Q5_K, [.. KernelCode.DotQ5_Kx1], [.. KernelCode.DotQ5_Kx2], [.. KernelCode.DotQ5_Kx4], [.. KernelCode.DotQ5_Kx8]),
            (DType.Q6_K, [.. KernelCode.DotQ6_Kx1], [.. KernelCode.DotQ6_Kx2], [.. KernelCode.DotQ6_Kx4], [.. KernelCode.DotQ6_Kx8]),
        ];
        (int Group, bool Minima, int Tokens, byte[] Code)[] panels =
        [
            (32, false, 4, [.. KernelCode.Bytesx4]), (32, true, 4, [.. KernelCode.BytesWithMinimax4]), (16, false, 4, [.. KernelCode.BytesInSixteensx4]),
            (32, false, 6, [.. KernelCode.Bytesx6]), (32, true, 6, [.. KernelCode.BytesWithMinimax6]), (16, false, 6, [.. KernelCode.BytesInSixteensx6]),
            (16, true, 4, [.. KernelCode.BytesInSixteensWithMinimax4]), (16, true, 6, [.. KernelCode.BytesInSixteensWithMinimax6]),
        ];
        int bytesOfPanels = panels.Sum(p => NativeCode.BytesOf(p.Code.Length)) + NativeCode.BytesOf(KernelCode.Brains.Length) + NativeCode.BytesOf(KernelCode.TileBrains.Length) + NativeCode.BytesOf(KernelCode.Halves.Length);
        code = NativeCode.TryCreate(bytesOfPanels + sources.Sum(s => NativeCode.BytesOf(s.One.Length) + NativeCode.BytesOf(s.Two.Length) + NativeCode.BytesOf(s.Four.Length) + NativeCode.BytesOf(s.Eight.Length)));
        if (code is null) return;
        foreach ((DType type, byte[] one, byte[] two, byte[] four, byte[] eight) in sources)
            dots.Add(type, new DotKernel(Math.Max(32, BlockFormat.Of(type)!.Elements), code.Add(one), code.Add(two), code.Add(four), code.Add(eight)));
        const int BrainTokens = 12;
        foreach ((int group, bool minima, int tokens, byte[] machine) in panels) bytes.Add((group, minima, tokens), new VectorPanelKernel(code.Add(machine), tokens, PanelLayout.Bytes));
        if (capabilities.Avx512Bf16) Brains = new VectorPanelKernel(code.Add(KernelCode.Brains), BrainTokens, PanelLayout.Brains);
        TilePanelKernel? onTiles = capabilities.AmxBf16 && tiles is null ? new(code.Add(KernelCode.TileBrains)) : null;
        HalvesKernel halves = new(code.Add(KernelCode.Halves));
        if (code.TrySeal())
        {
            if (halves.Works()) Halves = halves;
            if (onTiles is not null && Works(onTiles, capabilities)) Tiles = onTiles;
            return;
        }
        dots.Clear();
        bytes.Clear();
        Brains = null;
    }

    /// <summary>The product of rows of halves; null where there is none.</summary>
    public HalvesKernel? Halves { get; }

    /// <summary>The product of packed bfloat16 panels; null where there is none.</summary>
    public PanelKernel? Brains { get; }

    /// <summary>The product on AMX tiles, of bfloat16; null where there is none.</summary>
    public PanelKernel? Tiles { get; }

    /// <summary>
    /// The product of packed byte panels of a format: assembled, with the tile that fits the count of tokens best, or else by .NET's intrinsics; null where there is none.
    /// </summary>
    public PanelKernel? Bytes(BlockFormat format, int tokens)
    {
        if (bytes.TryGetValue((format.GroupElements, format.HasMinima, (tokens + 3) / 4 * 4 < (tokens + 5) / 6 * 6 ? 4 : 6), out PanelKernel? assembled)) return assembled;
        (int, bool, int, int) key = (format.GroupElements, format.HasMinima, format.Least, format.Most);
        if (own.TryGetValue(key, out PanelKernel? kernel)) return kernel;
        delegate*<long*, void> product = PanelProduct.Of(Capabilities, format);
        own.Add(key, kernel = product == null ? null : new VectorPanelKernel(product, PanelProduct.Tokens, format.Least));
        return kernel;
    }

    /// <summary>The product of a weight's stored blocks, assembled or by .NET's intrinsics; null where there is none.</summary>
    public StoredKernel? Stored(Weight w)
    {
        if (!stored.TryGetValue(w.Type, out StoredKernel? kernel))
        {
            kernel = dots.TryGetValue(w.Type, out DotKernel? assembled) && Works(w.Type, assembled) ? assembled : LaneKernel.Of(Capabilities, w.Type);
            stored.Add(w.Type, kernel);
        }
        return kernel is null || w.Rows < StoredKernel.Rows || w.Columns % kernel.UnitColumns != 0 ? null : kernel;
    }

    /// <summary>Whether a small product of arbitrary blocks is what .NET's intrinsics make of it.</summary>
    private static bool Works(DType type, DotKernel kernel)
    {
        const int Rows = 37, Columns = 512, Tokens = DotKernel.MostTokens;
        int weightBytes = (int)type.RowBytes(Columns) * Rows;
        byte* memory = (byte*)NativeMemory.AlignedAlloc((nuint)(weightBytes + 64 + IntegerDot.ScratchBytes(Columns)), 64);
        using ScratchArena scratch = new();
        try
        {
            uint state = 1;
            for (int i = 0; i < weightBytes; i++)
            {
                state = state * 1664525 + 1013904223;
                // Odd bytes are the upper ones of halves: those of small numbers. (MXFP4's blocks have an odd size: its exponents get both kinds.)
                memory[i] = (byte)((i & 1) == 0 || type == DType.MXFP4 ? (state >> 24 & 0x7F) + 32 : 0x14 | state >> 24 & 0x83);
            }
            QuantisedRows x = QuantisedRows.Rent(scratch, Tokens, Columns);
            float* row = (float*)scratch.Rent(Columns * sizeof(float));
            for (int t = 0; t < Tokens; t++)
            {
                for (int i = 0; i < Columns; i++)
                {
                    state = state * 1664525 + 1013904223;
                    row[i] = (int)state * 1e-9f;
                }
                x.Quantise(t, row, 0, Columns);
            }
            Weight w = new("self-test", type, Rows, Columns, (nint)memory);
            Tensor expected = new((nint)scratch.Rent(Tokens * Rows * sizeof(float)), Tokens, Rows, Rows), actual = new((nint)scratch.Rent(Tokens * Rows * sizeof(float)), Tokens, Rows, Rows);
            IntegerDot.Rows(Capabilities.None, BlockFormat.Of(type)!, w, 0, Rows, x, expected, memory + ((weightBytes + 63) & -64));
            byte* tiles = (byte*)scratch.Rent(kernel.TilesBytes(Columns, Tokens));
            double error = 0, size = 0;
            for (int count = 1; count <= Tokens; count *= 2)
            {
                kernel.Pack(x.Take(0, count), 0, tiles);
                kernel.Multiply(w, 0, Rows, tiles, count, actual);
                for (int i = 0; i < count * Rows; i++)
                {
                    double e = ((float*)expected.Address)[i], difference = ((float*)actual.Address)[i] - e;
                    (error, size) = (error + difference * difference, size + e * e);
                }
            }
            return error <= 1e-9 * size;
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }

    /// <summary>Whether a small product of bfloat16 is what it should be, whole blocks and the rest.</summary>
    internal static bool Works(TilePanelKernel kernel, Capabilities capabilities)
    {
        const int Rows = 45, Columns = 80, Tokens = 71;
        using ScratchArena scratch = new();
        ushort* weights = (ushort*)scratch.Rent(Rows * Columns * sizeof(ushort));
        uint state = 1;
        for (int i = 0; i < Rows * Columns; i++)
        {
            state = state * 1664525 + 1013904223;
            weights[i] = SmallFloats.ToBF16((int)state * 1e-9f);
        }
        Tensor x = new((nint)scratch.Rent(Tokens * Columns * sizeof(float)), Tokens, Columns, Columns), y = new((nint)scratch.Rent(Tokens * Rows * sizeof(float)), Tokens, Rows, Rows);
        for (int i = 0; i < Tokens * Columns; i++)
        {
            state = state * 1664525 + 1013904223;
            ((float*)x.Address)[i] = SmallFloats.FromBF16(SmallFloats.ToBF16((int)state * 1e-9f));
        }
        using CpuWeight w = new(new Weight("self-test", DType.BF16, Rows, Columns, (nint)weights), WeightRole.Matrix);
        byte* panel = (byte*)scratch.Rent(TilePanels.Bytes(Columns)), working = (byte*)scratch.Rent(TilePanels.ScratchBytes(w));
        const int Tiles = (Tokens + TilePanels.Tokens - 1) / TilePanels.Tokens;
        byte* tiles = (byte*)scratch.Rent(TilePanels.Bytes(Columns) * Tiles);
        for (int i = 0; i < Tiles; i++) TilePanels.PackTokens(x, i * TilePanels.Tokens, Math.Min(TilePanels.Tokens, Tokens - i * TilePanels.Tokens), tiles + i * TilePanels.Bytes(Columns));
        for (int n = 0; n < Rows; n += PanelKernel.Rows)
        {
            int count = Math.Min(PanelKernel.Rows, Rows - n);
            TilePanels.PackWeights(capabilities, w, n, count, panel, working);
            kernel.Run(panel, tiles, TilePanels.Bytes(Columns), TilePanels.Steps(Columns), count, Tokens, (float*)y.Address + n, Rows);
        }
        double error = 0, size = 0;
        for (int t = 0; t < Tokens; t++)
            for (int n = 0; n < Rows; n++)
            {
                double sum = 0;
                for (int k = 0; k < Columns; k++) sum += (double)SmallFloats.FromBF16(weights[n * Columns + k]) * ((float*)x.Address)[t * Columns + k];
                double difference = ((float*)y.Address)[t * Rows + n] - sum;
                (error, size) = (error + difference * difference, size + sum * sum);
            }
        return error <= 1e-9 * size;
    }

    /// <summary>Which formats have assembled kernels, for people.</summary>
    public override string ToString() => dots.Count > 0 ? Tiles is null ? "assembled kernels" : "assembled kernels, AMX tiles for many tokens" : code is null ? "no assembled kernels" : "no assembled kernels (the system refuses executable memory)";

    public void Dispose() => code?.Dispose();
}
