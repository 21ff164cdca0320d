using DeepSeek.Backends;
using DeepSeek.Core.Tests;
using DeepSeek.Core.Tests.Models;
using DeepSeek.Formats;
using Xunit.Abstractions;

namespace DeepSeek.Gpu.Tests;

/// <summary>The architectures on the kernels, run by the host, against transformers in float64: the prompt of 7 tokens, and 4 greedy tokens behind it.</summary>
public class GoldenTests(ITestOutputHelper output)
{
    /// <summary>Float32 against float64; the cache in float32.</summary>
    internal const double Limit = 1e-8;

    [SharedTheory]
    [MemberData(nameof(Golden.All), MemberType = typeof(Golden))]
    public void AgreesWithTransformers(string model) => Check(SharedData.Path("golden", model), reproducible: false);

    [Theory]
    [MemberData(nameof(Golden.Small), MemberType = typeof(Golden))]
    public void AgreesWithTransformersOnAFreshClone(string model) => Check(SharedData.Local("golden", model), reproducible: true);

    private void Check(string path, bool reproducible)
    {
        double worst = Measure(path, () => OperationTests.Host(1, 1, reproducible));
        output.WriteLine($"worst nmse {worst:e1}");
        Assert.True(worst < Limit, $"nmse {worst:e2}");
    }

    /// <summary>The largest error of the prompt's logits; fails where the greedy tokens are others.</summary>
    internal static double Measure(string path, Func<Backend> create)
    {
        using Checkpoint checkpoint = Checkpoint.Open(path);
        using Backend backend = create();
        using var run = new ModelRun(checkpoint, backend);
        backend.Upload(null);
        GoldenPrompt p = Golden.Read(Path.Combine(Directory.Exists(path) ? path : Path.GetDirectoryName(path)!, "golden.json")).Single(p => p.Ids.Length == 7);
        float[][] logits = run.Step((0, p.Ids));
        double worst = Golden.Nmse(logits[^1], p.LastLogits);
        Assert.NotNull(p.AllLogits);
        for (int t = 0; t < p.AllLogits.Length; t++) worst = Math.Max(worst, Golden.Nmse(logits[t], p.AllLogits[t]));
        int first = ModelRun.ArgMax(logits[^1]);
        Assert.Equal(p.Greedy[..4], (int[])[first, .. run.Greedy(0, [first], 3)]);
        return worst;
    }
}
