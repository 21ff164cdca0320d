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
    [InlineData("llama")]
    [InlineData("llama3-rope")]
    [InlineData("llama-linear-rope-tied")]
    [InlineData("qwen2")]
    [InlineData("qwen3")]
    [InlineData("qwen3-yarn")]
    [InlineData("qwen3-moe")]
    [InlineData("deepseek-moe")]
    [InlineData("deepseek-v2-lite")]
    [InlineData("deepseek-v2")]
    [InlineData("deepseek-v3")]
    [InlineData("deepseek-v3-no-yarn")]
    public void Folder(string name)
    {
        using Checkpoint checkpoint = MemoryCheckpoint.Load(SharedData.Path("golden", name));
        Check(checkpoint, SharedData.Path("golden", name, "golden.json"));
    }

    private void Check(Checkpoint checkpoint, string golden)
    {
        using var backend = new ReferenceBackend();
        using var run = new ModelRun(checkpoint, backend);
        double worst = 0;
        int sequence = 0;
        foreach (GoldenPrompt p in Golden.Read(golden))
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
