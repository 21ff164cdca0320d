using DeepSeek.Backends;
using DeepSeek.Tensors;
using DeepSeek.Core.Tests.Models;

namespace DeepSeek.Core.Tests.Backends;

/// <summary>
/// One table of cases for every backend: each runs on the backend and on the scalar reference with the same inputs, and the outputs agree by normalised mean squared error.
/// <code>[Theory, MemberData(nameof(OperationCases.Names), MemberType = typeof(OperationCases))] public void Agrees(string name) => OperationCases.Check(name, () => new MyBackend());</code>
/// </summary>
internal static partial class OperationCases
{
    /// <summary>Float32 arithmetic in another order.</summary>
    private const double Float = 1e-11;

    /// <summary>bfloat16 operands are allowed.</summary>
    private const double Products = 1e-4;

    /// <summary>Activations in 8 bits are allowed.</summary>
    private const double QuantisedProducts = 1e-3;

    private static readonly int[] RowCounts = [1, 2, 7, 33, 130];

    private static readonly DType[] Formats =
    [
        DType.F32, DType.F16, DType.BF16, DType.F8E4M3, DType.Q4_0, DType.Q4_1, DType.Q5_0, DType.Q5_1, DType.Q8_0, DType.Q2_K, DType.Q3_K, DType.Q4_K, DType.Q5_K, DType.Q6_K,
        DType.IQ1_S, DType.IQ2_XXS, DType.IQ2_XS, DType.IQ2_S, DType.IQ3_XXS, DType.IQ3_S, DType.IQ4_NL, DType.IQ4_XS, DType.TQ1_0, DType.TQ2_0, DType.MXFP4,
    ];

    private static readonly Dictionary<string, (double Tolerance, Action<OperationBench> Run)> Table = Build();

    /// <summary>The names of all cases, for theories.</summary>
    public static TheoryData<string> Names => [.. Table.Keys];

    /// <summary>Runs a case on the backend and on the reference. Fails where an output's NMSE is above the case's tolerance, or above the given one.</summary>
    public static void Check(string name, Func<Backend> create, double? tolerance = null)
    {
        (string label, double error, double allowed) = Measure(name, create, tolerance);
        Assert.True(error <= allowed, $"{name}, {label}: nmse {error:e2}, allowed {allowed:e1}");
    }

    /// <summary>Runs a case on the backend and on the reference. The output that agrees least, its NMSE (NaN where a number is none), and what is allowed.</summary>
    public static (string Label, double Error, double Allowed) Measure(string name, Func<Backend> create, double? tolerance = null)
    {
        (double limit, Action<OperationBench> run) = Table[name];
        using var actual = new OperationBench(create(), 1);
        using var expected = new OperationBench(new ReferenceBackend(), 1);
        run(actual);
        run(expected);
        Assert.Equal(expected.Results.Select(r => r.Label), actual.Results.Select(r => r.Label));
        (string label, double worst) = ("", -1);
        for (int i = 0; i < expected.Results.Count; i++)
        {
            double error = Golden.Nmse(actual.Results[i].Values, expected.Results[i].Values);
            if (error <= worst) continue;
            (label, worst) = (expected.Results[i].Label, error);
            if (double.IsNaN(error)) break;
        }
        return (label, worst, tolerance ?? limit);
    }

    /// <summary>Fails where a case's inputs or outputs are no finite numbers: then it compares nothing.</summary>
    public static void CheckCase(string name)
    {
        using var bench = new OperationBench(new ReferenceBackend(), 1);
        Table[name].Run(bench);
        Assert.NotEmpty(bench.Results);
        Assert.All(bench.Results, r => Assert.All(r.Values, x => Assert.True(float.IsFinite(x), $"{name}, {r.Label}")));
        Assert.All(bench.Results, r => Assert.Contains(r.Values, x => x != 0));
    }

    private static Dictionary<string, (double, Action<OperationBench>)> Build()
    {
        var table = new Dictionary<string, (double, Action<OperationBench>)>();
        foreach (DType type in Formats)
        {
            double tolerance = type is DType.F32 or DType.F16 or DType.BF16 ? Products : QuantisedProducts;
            table.Add($"matmul {type.Info().Name}", (tolerance, b => MatMul(b, type)));
            table.Add($"embed {type.Info().Name}", (Float, b => Embed(b, type)));
        }
        foreach (DType type in (DType[])[DType.F32, DType.BF16, DType.F8E4M3, DType.Q4_0, DType.Q8_0, DType.Q4_K, DType.Q6_K])
        {
            table.Add($"gated mlp {type.Info().Name}", (2 * QuantisedProducts, b => GatedMlp(b, type)));
            table.Add($"experts {type.Info().Name}", (2 * QuantisedProducts, b => Experts(b, type)));
            table.Add($"head {type.Info().Name}", (QuantisedProducts, b => Head(b, type)));
            table.Add($"project {type.Info().Name}", (QuantisedProducts, b => Project(b, type)));
        }
        table.Add("experts with ties", (2 * QuantisedProducts, TiedExperts));
        table.Add("gather", (0, Gather));
        table.Add("rms norm", (Float, RmsNorm));
        table.Add("add", (Float, Add));
        table.Add("silu multiply", (Float, SiluMultiply));
        table.Add("rotary factors", (Float, RotaryFactors));
        table.Add("rotate interleaved", (Float, b => Rotate(b, RotaryPairs.Interleaved)));
        table.Add("rotate half split", (Float, b => Rotate(b, RotaryPairs.HalfSplit)));
        foreach (CacheFormat format in Enum.GetValues<CacheFormat>())
        {
            table.Add($"attention {format}", (Products, b => Attention(b, format)));
            table.Add($"latent attention {format}", (Products, b => LatentAttention(b, format, DType.F32, firstPosition: 0)));
            table.Add($"cache blocks {format}", (Float, b => CacheBlocks(b, format)));
        }
        foreach (DType type in (DType[])[DType.BF16, DType.F8E4M3, DType.Q8_0, DType.Q4_0])
            table.Add($"latent attention of {type.Info().Name}", (QuantisedProducts, b => LatentAttention(b, CacheFormat.F32, type, firstPosition: 0)));
        table.Add("latent attention of a draft module", (Products, b => LatentAttention(b, CacheFormat.F32, DType.F32, firstPosition: 1)));
        return table;
    }

    /// <summary>Odd sizes for formats that have them, whole blocks for the others.</summary>
    private static (int Rows, int Columns)[] Shapes(DType type) => type.Info().BlockElements switch
    {
        1 => [(5, 7), (33, 37), (130, 96), (64, 288)],
        32 => [(5, 32), (33, 96), (130, 288)],
        _ => [(5, 256), (33, 768), (130, 512)],
    };

    private static void MatMul(OperationBench b, DType type)
    {
        foreach ((int rows, int columns) in Shapes(type))
        {
            DeviceWeight w = b.Weight(type, rows, columns, WeightRole.Matrix), bias = b.Vector(rows);
            foreach (int t in RowCounts)
                foreach ((bool strided, bool biased, bool accumulate) in ((bool, bool, bool)[])(t % 2 == 0 ? [(false, false, false), (true, true, true)] : [(true, true, false), (false, false, true)]))
                {
                    Tensor x = b.Random(t, columns, strided), y = b.Random(t, rows, strided);
                    b.Backend.MatMul(y, x, w, biased ? bias : null, accumulate);
                    b.Report($"[{rows},{columns}]·[{columns},{t}]{(strided ? " strided" : "")}{(biased ? " bias" : "")}{(accumulate ? " accumulate" : "")}", y);
                }
        }
    }

    private static void Embed(OperationBench b, DType type)
    {
        int columns = Shapes(type)[1].Columns;
        DeviceWeight table = b.Weight(type, 50, columns, WeightRole.Embedding);
        foreach (bool strided in (bool[])[false, true])
        {
            Tensor y = b.Random(5, columns, strided);
            b.Backend.Embed(y, table, [49, 0, 7, 7, 31]);
            b.Report($"strided {strided}", y);
        }
    }

    private static void Gather(OperationBench b)
    {
        Tensor y = b.Random(4, 37, strided: true);
        b.Backend.Gather(y, b.Random(9, 37, strided: true), [8, 0, 3, 3]);
        b.Report("rows", y);
    }

    private static void RmsNorm(OperationBench b)
    {
        foreach ((int columns, int heads, bool strided) in ((int, int, bool)[])[(37, 1, false), (96, 1, true), (24, 6, false), (16, 3, true), (1000, 1, false)])
        {
            DeviceWeight gain = b.Vector(columns, 1);
            Tensor x = b.Random(7, columns * heads, strided), y = b.Random(7, columns * heads, strided);
            b.Backend.RmsNorm(y, x, gain, 1e-6f);
            b.Report($"{columns} · {heads}", y);
            b.Backend.RmsNorm(x, x, gain, 0.1f);
            b.Report($"{columns} · {heads} in place", x);
        }
        Tensor tiny = b.Tensor(1, 8, false, i => 1e-4f * i), result = b.Random(1, 8);
        b.Backend.RmsNorm(result, tiny, b.Vector(8, 1), 1e-6f);
        b.Report("of numbers below epsilon", result);
    }

    private static void Add(OperationBench b)
    {
        Tensor y = b.Random(7, 37, strided: true);
        b.Backend.Add(y, b.Random(7, 37, strided: true));
        b.Report("y + x", y);
    }

    private static void SiluMultiply(OperationBench b)
    {
        Tensor gate = b.Tensor(7, 37, strided: true, i => (i - 130) * 0.9f), up = b.Random(7, 37, strided: true); // far beyond where the exponential overflows
        b.Backend.SiluMultiply(gate, up);
        b.Report("silu(gate) · up", gate);
    }

    private static void RotaryFactors(OperationBench b)
    {
        foreach (int first in (int[])[0, 5, 100_000])
        {
            StepLayout step = Steps.Of(16, (first, 7, [.. Enumerable.Range(0, first / 16 + 1)]));
            Tensor factors = b.Random(7, 20);
            b.Backend.RotaryFactors(factors, Rotary(20, RotaryPairs.HalfSplit), step);
            b.Report($"positions from {first}", factors);
        }
    }

    private static void Rotate(OperationBench b, RotaryPairs pairs)
    {
        foreach ((int size, int head, int offset, int heads) in ((int, int, int, int)[])[(16, 16, 0, 3), (10, 10, 0, 1), (16, 40, 24, 2), (4, 9, 0, 2), (64, 192, 128, 1)])
        {
            RotarySettings rotary = Rotary(size, pairs);
            Tensor factors = b.Random(7, size), x = b.Random(7, head * heads, strided: true);
            b.Backend.RotaryFactors(factors, rotary, Steps.Of(16, (3, 7, [0])));
            b.Backend.Rotate(x, factors, rotary, head, offset);
            b.Report($"{size} of {head} at {offset}, {heads} heads", x);
        }
    }

    private static RotarySettings Rotary(int size, RotaryPairs pairs) => new([.. Enumerable.Range(0, size / 2).Select(i => Math.Pow(10_000, -2.0 * i / size))], 1.25, pairs);
}
