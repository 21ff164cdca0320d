using DeepSeek.Backends;
using DeepSeek.Backends.Cpu;
using DeepSeek.Backends.Cpu.Dot;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Backends.Cpu;

/// <summary>Products of the CPU backend against the specification of the formats, in float64.</summary>
public sealed unsafe class MatMulTests
{
    private static readonly DType[] Plain = [DType.F32, DType.F16, DType.BF16, DType.F8E4M3];

    public static TheoryData<string> Formats()
    {
        TheoryData<string> data = [];
        foreach (DType type in Enum.GetValues<DType>())
            if (Plain.Contains(type) || type is >= DType.Q4_0 and not (DType.Q8_1 or DType.Q8_K)) data.Add(type.Info().Name);
        return data;
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void AllFormatsAndSizes(string name)
    {
        DType type = DTypes.FromName(name)!.Value;
        int block = type.Info().BlockElements;
        int[] columns = block == 1 ? [1, 20, 24, 40, 96, 160, 576] : block == 32 ? [32, 64, 96, 160, 576] : [256, 512, 768];
        foreach (int k in columns)
            foreach (int n in (int[])[1, 7, 45])
                Check(type, n, k, [1, 2, 3, 5, 8, 40], new CpuBackendOptions { Threads = 2 });
    }

    [Theory]
    [InlineData("AVX512_VNNI")]
    [InlineData("AVX512")]
    [InlineData("AVX2")]
    public void WithoutInstructionSets(string disabled)
    {
        CheckCommonFormats(new CpuBackendOptions { Threads = 2, DisabledInstructionSets = [disabled] });
    }

    /// <summary>Products of the formats in common use, for one token, a few and many.</summary>
    internal static void CheckCommonFormats(CpuBackendOptions options)
    {
        foreach (DType type in (DType[])[DType.Q4_0, DType.Q4_1, DType.Q5_0, DType.Q5_1, DType.Q8_0, DType.IQ4_NL, DType.MXFP4, DType.Q2_K, DType.Q3_K, DType.Q4_K, DType.Q5_K, DType.Q6_K, DType.IQ1_M, DType.IQ2_XS, DType.IQ3_S, DType.TQ1_0, DType.F16, DType.BF16, DType.F8E4M3]) Check(type, 70, 512, [1, 3, 17, 150], options);
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void RowsUnpackToTheSpecification(string name)
    {
        DType type = DTypes.FromName(name)!.Value;
        using RandomWeights random = new(type, 3, 768, 5);
        using CpuWeight weight = new(random.Weight, WeightRole.Embedding);
        float[] row = new float[768];
        for (int r = 0; r < 3; r++)
        {
            fixed (float* to = row) weight.ReadRow(r, to);
            float[] expected = random.Row(r);
            for (int i = 0; i < row.Length; i++) Assert.True(Math.Abs(row[i] - expected[i]) <= 1e-6f * Math.Abs(expected[i]) + 1e-7f, $"{name}: element {i} is {row[i]}, expected {expected[i]}");
        }
    }

    [Fact]
    public void BiasAndAccumulate()
    {
        foreach (DType type in (DType[])[DType.Q4_0, DType.BF16])
        {
            using CpuBackend backend = new(new CpuBackendOptions { Threads = 2 });
            using RandomWeights random = new(type, 45, 96, 3), biases = new(DType.F32, 1, 45, 4);
            DeviceWeight weight = backend.Prepare(random.Weight, WeightRole.Matrix), bias = backend.Prepare(biases.Weight, WeightRole.Vector);
            Tensor x = backend.Rent(3, 96), y = backend.Rent(3, 45), z = backend.Rent(3, 45);
            backend.Write(x, Normal(3 * 96, 1));
            backend.MatMul(y, x, weight);
            backend.MatMul(z, x, weight, bias);
            backend.MatMul(z, x, weight, bias, accumulate: true);
            float[] once = Read(backend, y), twice = Read(backend, z), b = biases.Row(0);
            for (int i = 0; i < once.Length; i++) Assert.Equal(2 * (once[i] + b[i % 45]), twice[i], 1e-5f);
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void ReproducibleProductsAreBitEqualInAnyBatchOnAnyThreads(string name)
    {
        DType type = DTypes.FromName(name)!.Value;
        // 40 tokens take packed panels, where there are any; a few take stored blocks, in tiles of 8, 4, 2 and 1. Rows are no whole number of panels.
        const int Tokens = 40, Rows = 77, Columns = 512;
        using RandomWeights random = new(type, Rows, Columns, 9);
        float[] x = Normal(Tokens * Columns, 2);
        float[] Multiply(int first, int count, int threads)
        {
            using CpuBackend backend = new(new CpuBackendOptions { Threads = threads, Reproducible = true });
            Tensor input = backend.Rent(count, Columns), output = backend.Rent(count, Rows);
            backend.Write(input, x.AsSpan(first * Columns, count * Columns));
            backend.MatMul(output, input, backend.Prepare(random.Weight, WeightRole.Matrix));
            return Read(backend, output);
        }

        float[] together = Multiply(0, Tokens, 2);
        foreach ((int first, int count) in ((int, int)[])[(0, 1), (17, 1), (39, 1), (3, 2), (8, 3), (20, 8), (0, 13), (15, 24)])
            Assert.Equal(Multiply(first, count, count % 2 + 1), together[(first * Rows)..((first + count) * Rows)]);
    }

    [Fact]
    public void NaNAndInfinityAreNotHidden()
    {
        foreach (DType type in (DType[])[DType.Q4_0, DType.Q4_K, DType.BF16])
            foreach (int tokens in (int[])[1, 40])
                foreach (float bad in (float[])[float.NaN, float.PositiveInfinity])
                {
                    using CpuBackend backend = new(new CpuBackendOptions { Threads = 1 });
                    using RandomWeights random = new(type, 32, 256, 3);
                    Tensor x = backend.Rent(tokens, 256), y = backend.Rent(tokens, 32);
                    float[] values = Normal(tokens * 256, 1);
                    values[(tokens - 1) * 256 + 100] = bad;
                    backend.Write(x, values);
                    backend.MatMul(y, x, backend.Prepare(random.Weight, WeightRole.Matrix));
                    float[] result = Read(backend, y);
                    Assert.All(result[^32..], v => Assert.False(float.IsFinite(v)));
                    Assert.All(result[..^32], v => Assert.True(float.IsFinite(v)));
                }
    }

    /// <summary>
    /// Against float64: exactly (up to float32 sums) for the activations as they are quantised; with the loss of quantisation for the activations as given.
    /// </summary>
    private static void Check(DType type, int rows, int columns, int[] tokenCounts, CpuBackendOptions options)
    {
        using CpuBackend backend = new(options);
        using RandomWeights random = new(type, rows, columns, 17 * rows + columns);
        using ScratchArena scratch = new();
        DeviceWeight weight = backend.Prepare(random.Weight, WeightRole.Matrix);
        bool blocks = BlockFormat.Of(type) is not null;
        float[][] w = [.. Enumerable.Range(0, rows).Select(random.Row)];
        foreach (int tokens in tokenCounts)
        {
            float[] x = Normal(tokens * columns, 40 + tokens);
            Tensor input = backend.Rent(tokens, columns), output = backend.Rent(tokens, rows);
            backend.Write(input, x);
            backend.MatMul(output, input, weight);
            float[] actual = Read(backend, output);
            float[] seen = [.. x];
            if (blocks)
            {
                QuantisedRows q = QuantisedRows.Rent(scratch, tokens, columns);
                for (int t = 0; t < tokens; t++) q.Quantise(t, (float*)input.Address + (long)t * input.Stride, 0, columns);
                for (int i = 0; i < seen.Length; i++) seen[i] = ((sbyte*)q.Q)[i] * ((float*)q.Scales)[i / 32];
            }
            // Many tokens of the other formats are multiplied as bfloat16, where the processor can.
            bool brains = !blocks && type != DType.F32 && tokens >= MatMul.ManyBrainTokens && Capabilities.Detect(options.DisabledInstructionSets) is { Avx512Bf16: true, Avx512Vnni: true, Avx512Vbmi: true };
            if (brains)
                for (int i = 0; i < seen.Length; i++) seen[i] = Brain(seen[i]);
            (double error, double size, double loss) = (0, 0, 0);
            for (int t = 0; t < tokens; t++)
                for (int n = 0; n < rows; n++)
                {
                    double exact = 0, asSeen = 0;
                    for (int k = 0; k < columns; k++)
                    {
                        double product = (double)w[n][k] * x[t * columns + k];
                        exact += product;
                        size += product * product; // what sums of this kind amount to, without the luck of cancellation
                        asSeen += (double)(brains ? Brain(w[n][k]) : w[n][k]) * seen[t * columns + k];
                    }
                    double y = actual[t * rows + n];
                    error += (y - asSeen) * (y - asSeen);
                    loss += (y - exact) * (y - exact);
                }
            Assert.True(error <= 1e-11 * size + 1e-20, $"{type} {rows}x{columns}, {tokens} tokens: NMSE {error / size:g3} against the same activations");
            Assert.True(loss <= 2e-4 * size + 1e-20, $"{type} {rows}x{columns}, {tokens} tokens: NMSE {loss / size:g3} against exact activations");
        }
    }

    private static float Brain(float value) => SmallFloats.FromBF16(SmallFloats.ToBF16(value));

    private static float[] Read(CpuBackend backend, Tensor t)
    {
        float[] values = new float[t.Rows * t.Columns];
        backend.Read(t, values);
        return values;
    }

    private static float[] Normal(int count, int seed)
    {
        Random random = new(seed);
        float[] values = new float[count];
        for (int i = 0; i < count; i++) values[i] = (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
        return values;
    }
}
