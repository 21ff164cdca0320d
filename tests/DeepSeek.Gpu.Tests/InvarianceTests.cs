using DeepSeek.Backends;
using DeepSeek.Core.Tests;
using DeepSeek.Core.Tests.Backends;
using DeepSeek.Core.Tests.Models;
using DeepSeek.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Gpu.Tests;

/// <summary>The determinism contract on the kernels: bit-equal with reproducible arithmetic, close without, however a prompt is cut and whoever shares the step.</summary>
public class InvarianceTests
{
    private static readonly int[] Ids = [5, 9, 3, 17, 60, 2, 31, 8, 44, 23, 11, 7], Others = [4, 4, 8, 1, 50, 33, 2, 19, 6, 6, 27];

    public static TheoryData<string> Models => ["llama", "qwen3-moe", "deepseek-v3", "deepseek-v3-fp8"];

    [Theory]
    [MemberData(nameof(Models))]
    public void ReproducibleBitsDoNotDependOnTheStep(string model) => Check(model, reproducible: true, (expected, actual) => Assert.Equal(expected, actual));

    [Theory]
    [MemberData(nameof(Models))]
    public void StepsGiveTheSameNumbers(string model) => Check(model, reproducible: false, (expected, actual) => Assert.True(Golden.Nmse(actual, expected) < 1e-9));

    private static void Check(string model, bool reproducible, Action<float[], float[]> equal)
    {
        using Checkpoint checkpoint = Checkpoint.Open(SharedData.Local("golden", model));
        using Backend backend = OperationTests.Host(1, 1, reproducible);
        using var run = new ModelRun(checkpoint, backend, CacheFormat.F16, blockTokens: 4, shuffle: 3);
        float[][] whole = run.Step((0, Ids));
        for (int t = 0; t < Ids.Length; t++) equal(whole[t], run.Step((1, [Ids[t]]))[0]); // token by token
        float[][] shared = run.Step((2, Others), (3, Ids)); // beside another conversation
        for (int t = 0; t < Ids.Length; t++) equal(whole[t], shared[Others.Length + t]);
        run.Step((4, Ids[..5]), (5, Others[..1])); // in two parts, each beside somebody
        float[][] second = run.Step((5, Others[1..2]), (4, Ids[5..]));
        for (int t = 5; t < Ids.Length; t++) equal(whole[t], second[t - 4]);
    }

    /// <summary>A row of one chunk beside rows of two, alone, and with a chunk of its own that is not full.</summary>
    [Theory]
    [InlineData(100)]
    [InlineData(255)]
    [InlineData(290)]
    public void AttentionInChunksIsReproducible(int past) => Assert.Equal(Attend([(past, 1)]), Attend([(past, 1), (150, 1), (0, 7)]));

    /// <summary>The first row's result. The first sequence's numbers are the same whoever comes behind it.</summary>
    private static float[] Attend((int Past, int New)[] parts)
    {
        using var bench = new OperationBench(OperationTests.Host(1, 1, reproducible: true), 9);
        CacheStorage cache = bench.Cache([new CacheStream(0, "key", 16), new CacheStream(0, "value", 16)], CacheFormat.F32, Steps.BlockTokens, Steps.Blocks);
        (StepLayout past, StepLayout step) = Steps.WithPast(parts, seed: 4);
        for (int stream = 0; stream < 2; stream++) bench.Backend.Append(cache, stream, bench.Tensor(past.TokenCount, 16, false, i => MathF.Sin(i + stream)), past);
        Tensor o = bench.Random(step.TokenCount, 48), q = bench.Tensor(step.TokenCount, 48, false, i => MathF.Cos(i)), k = bench.Tensor(step.TokenCount, 16, false, i => MathF.Sin(3 * i));
        bench.Backend.Attend(o, q, k, k, new AttentionSettings(6, 2, 8, 0.3f, 0, 1), step, cache);
        bench.Report("first row", o.TakeRows(0, 1));
        return bench.Results[0].Values;
    }
}
