using DeepSeek.Backends;
using DeepSeek.Formats;
using Xunit.Abstractions;

namespace DeepSeek.Core.Tests.Models;

/// <summary>The architectures on the scalar backend against transformers in float64.</summary>
public class GoldenTests(ITestOutputHelper output)
{
    /// <summary>Float32 activations against float64 everywhere.</summary>
    private const double Limit = 1e-8;

    [SharedTheory]
    [MemberData(nameof(Golden.All), MemberType = typeof(Golden))]
    public void AgreesWithTransformers(string model) => Check(SharedData.Path("golden", model), int.MaxValue);

    [Theory]
    [MemberData(nameof(Golden.Small), MemberType = typeof(Golden))]
    public void AgreesWithTransformersOnAFreshClone(string model) => Check(SharedData.Local("golden", model), 40);

    private void Check(string path, int longest)
    {
        using Checkpoint checkpoint = Checkpoint.Open(path);
        using var backend = new ReferenceBackend();
        using var run = new ModelRun(checkpoint, backend);
        double worst = 0;
        int sequence = 0;
        foreach (GoldenPrompt p in Golden.Read(Path.Combine(Directory.Exists(path) ? path : Path.GetDirectoryName(path)!, "golden.json")).Where(p => p.Ids.Length <= longest))
        {
            float[][] logits = run.Step((sequence, p.Ids));
            Agree(logits[^1], p.LastLogits, "last logits");
            if (p.LastHidden is not null) Agree(run.Hidden[^1], p.LastHidden, "hidden state");
            for (int t = 0; t < (p.AllLogits?.Length ?? 0); t++) Agree(logits[t], p.AllLogits![t], $"logits at {t}");
            Assert.Equal(p.ArgmaxPerPosition, logits.Select(ModelRun.ArgMax));
            if (p.MeanNll is { } nll) Assert.Equal(nll, Golden.MeanNll(logits, p.Ids), 1e-5);
            int first = ModelRun.ArgMax(logits[^1]);
            Assert.Equal(p.Greedy, (int[])[first, .. run.Greedy(sequence, [first], p.Greedy.Length - 1)]);
            sequence++;
        }
        output.WriteLine($"worst nmse {worst:e1}");

        void Agree(float[] actual, float[] expected, string what)
        {
            double e = Golden.Nmse(actual, expected);
            Assert.True(e < Limit, $"{what} of prompt {sequence}: nmse {e:e2}");
            worst = Math.Max(worst, e);
        }
    }
}
