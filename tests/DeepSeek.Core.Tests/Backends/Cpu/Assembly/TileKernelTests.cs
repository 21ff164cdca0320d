using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using DeepSeek.Backends;
using DeepSeek.Backends.Cpu;
using DeepSeek.Backends.Cpu.Assembly;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Backends.Cpu.Assembly;

/// <summary>The AMX kernels, instruction by instruction in <see cref="TileInterpreter"/>, because processors that have them are rare: their bytes, and the library's way to call them.</summary>
public sealed unsafe class TileKernelTests
{
    private static readonly TileInterpreter Anywhere = new([.. KernelCode.TileBrains], memory: null);

    private static TilePanelKernel Interpreted => new(&Interpret);

    [UnmanagedCallersOnly]
    private static void Interpret(long* fields) => Anywhere.Call(fields);

    [Fact]
    public void TouchesWhatIsItsOwnAndMultiplies()
    {
        const int Steps = 3, Blocks = 2, Columns = 32 * Steps, Tokens = 32 * Blocks, Rows = 32, Stride = 40;
        Random random = new(5);
        float[,] w = new float[Rows, Columns], x = new float[Tokens, Columns];
        using Native panel = new(2048 * Steps), tokens = new(2048 * Steps * Blocks), output = new(((Tokens - 1) * Stride + Rows) * sizeof(float)), fields = new(8 * sizeof(long));
        for (int k = 0; k < Columns; k++)
        {
            (int step, int pair, int odd) = (k / 32, k % 32 / 2, k % 2);
            for (int n = 0; n < Rows; n++) ((ushort*)panel.At)[1024 * step + 64 * pair + 2 * n + odd] = Draw(out w[n, k]);
            for (int t = 0; t < Tokens; t++) ((ushort*)tokens.At)[1024 * Steps * (t / 32) + 1024 * step + 32 * (t % 32) + k % 32] = Draw(out x[t, k]);
        }
        new Span<float>(output.At, output.Bytes / sizeof(float)).Fill(7);
        long* f = (long*)fields.At;
        (f[TilePanelAssembly.Panel], f[TilePanelAssembly.Tokens], f[TilePanelAssembly.Steps], f[TilePanelAssembly.Output]) = ((long)panel.At, (long)tokens.At, Steps, (long)output.At);
        (f[TilePanelAssembly.OutputStride], f[TilePanelAssembly.Blocks], f[TilePanelAssembly.Next], f[TilePanelAssembly.NextAdvance]) = (Stride * sizeof(float), Blocks, 0, 64);
        using TileInterpreter interpreter = new([.. KernelCode.TileBrains], [panel.Readable, tokens.Readable, fields.Readable, output.Writable]);
        interpreter.Call(f);
        for (int t = 0; t < Tokens; t++)
            for (int n = 0; n < (t + 1 < Tokens ? Stride : Rows); n++)
            {
                double expected = n < Rows ? 0 : 7;
                for (int k = 0; k < Columns && n < Rows; k++) expected += (double)w[n, k] * x[t, k];
                Assert.Equal(expected, ((float*)output.At)[t * Stride + n], 1e-4);
            }

        // What the declarations keep out: a panel that is a byte too short.
        using TileInterpreter strict = new([.. KernelCode.TileBrains], [(panel.Readable.Start, panel.Bytes - 1, false), tokens.Readable, fields.Readable, output.Writable]);
        nint at = (nint)f;
        Assert.Contains("are not the kernel's to read", Assert.Throws<InvalidOperationException>(() => strict.Call((long*)at)).Message, StringComparison.Ordinal);

        ushort Draw(out float value)
        {
            ushort bits = SmallFloats.ToBF16((float)(random.NextDouble() - 0.5));
            value = SmallFloats.FromBF16(bits);
            return bits;
        }
    }

    [Fact]
    public void TilesThatAreNotConfiguredFault()
    {
        // tilezero tmm0; ret
        using TileInterpreter interpreter = new([0xC4, 0xE2, 0x7B, 0x49, 0xC0, 0xC3], []);
        Assert.Contains("#UD", Assert.Throws<InvalidOperationException>(() => interpreter.Call(null)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void TheSelfTestFindsTheKernelRightAndAWrongOneWrong()
    {
        Capabilities capabilities = Capabilities.Detect();
        if (!capabilities.Avx512) return; // which packs for it
        Assert.True(Kernels.Works(Interpreted, capabilities));
        Assert.False(Kernels.Works(new TilePanelKernel(&OneTokenTooFar), capabilities));
    }

    [UnmanagedCallersOnly]
    private static void OneTokenTooFar(long* fields)
    {
        fields[TilePanelAssembly.Tokens] += 64;
        Anywhere.Call(fields);
    }

    [Fact]
    public void ThePaletteIsTheOneThatKernelsConfigure()
    {
        Assert.True(TileState.IsPaletteOfKernels(0x0400_2000, 0x0008_0040, 16));
        Assert.False(TileState.IsPaletteOfKernels(0x0400_2000, 0x0008_0040, 8));
        Assert.False(TileState.IsPaletteOfKernels(0x0400_1000, 0x0008_0040, 16));
        Assert.False(TileState.IsPaletteOfKernels(0x0400_2000, 0x0004_0040, 16));
        Assert.False(Capabilities.Detect(["AMX"]) is { AmxBf16: true } or { AmxInt8: true });
    }

    /// <summary>Whole products through MatMul, of each way that formats have scales and minima; blocks of tokens that are not whole, rows that are no whole panels.</summary>
    [Theory]
    [InlineData("Q4_0", 96)]
    [InlineData("Q4_1", 96)]
    [InlineData("Q8_0", 96)]
    [InlineData("Q2_K", 256)]
    [InlineData("Q4_K", 256)]
    [InlineData("Q6_K", 256)]
    [InlineData("BF16", 96)]
    [InlineData("BF16", 72)]
    [InlineData("F16", 50)]
    public void ProductsOfManyTokens(string format, int columns)
    {
        DType type = DTypes.FromName(format)!.Value;
        Capabilities capabilities = Capabilities.Detect();
        if (!capabilities.Avx512Vnni || !capabilities.Avx512Vbmi) return;
        const int Rows = 45, Tokens = MatMul.ManyTileTokens + 5;
        using RandomWeights random = new(type, Rows, columns, 3);
        using Kernels kernels = new(capabilities, Interpreted);
        using CpuWeight weight = new(random.Weight, WeightRole.Matrix, kernels);
        using WorkerPool pool = new(2);
        using ScratchArena scratch = new();
        Tensor x = new((nint)scratch.Rent(Tokens * columns * sizeof(float)), Tokens, columns, columns), y = new((nint)scratch.Rent(Tokens * Rows * sizeof(float)), Tokens, Rows, Rows);
        Random draw = new(4);
        for (int i = 0; i < Tokens * columns; i++) ((float*)x.Address)[i] = (float)(draw.NextDouble() - 0.5);
        new MatMul(pool, scratch, capabilities, kernels, reproducible: false).Run(y, x, weight, bias: null, accumulate: false);
        float[][] w = [.. Enumerable.Range(0, Rows).Select(random.Row)];
        double error = 0, loss = 0, size = 0;
        for (int t = 0; t < Tokens; t++)
            for (int n = 0; n < Rows; n++)
            {
                double seen = 0, exact = 0;
                for (int k = 0; k < columns; k++)
                {
                    float value = ((float*)x.Address)[t * columns + k];
                    seen += (double)Brain(w[n][k]) * Brain(value);
                    exact += (double)w[n][k] * value;
                    size += (double)w[n][k] * value * w[n][k] * value;
                }
                double actual = ((float*)y.Address)[t * Rows + n];
                error += (actual - seen) * (actual - seen);
                loss += (actual - exact) * (actual - exact);
            }
        // Products of scale and number that lie between two bfloat16 may be rounded to either, by how they are computed: a few of them.
        Assert.True(error <= 1e-7 * size, $"NMSE {error / size:g3} against the same bfloat16 numbers");
        Assert.True(loss <= 2e-5 * size, $"NMSE {loss / size:g3} against float64");
    }

    private static float Brain(float value) => SmallFloats.FromBF16(SmallFloats.ToBF16(value));

    /// <summary>Memory of a size, aligned as the library's.</summary>
    private sealed class Native(int bytes) : IDisposable
    {
        public byte* At { get; } = (byte*)NativeMemory.AlignedAlloc((nuint)bytes, 64);

        public int Bytes => bytes;

        public (nint Start, long Bytes, bool Writable) Readable => ((nint)At, bytes, false);

        public (nint Start, long Bytes, bool Writable) Writable => ((nint)At, bytes, true);

        public void Dispose() => NativeMemory.AlignedFree(At);
    }
}
