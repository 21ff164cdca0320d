using DeepSeek.Backends;
using DeepSeek.Core.Tests;
using DeepSeek.Core.Tests.Backends;
using DeepSeek.Tensors;

namespace DeepSeek.Gpu.Tests;

/// <summary>The choice of candidates on the device: exact, so that what is drawn does not depend on where it was made.</summary>
public class LargestTests
{
    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 2)]
    [InlineData(2, 1)]
    [InlineData(2, 4)]
    public void TheLargestInOrder(int edge, int lanes)
    {
        using var bench = new OperationBench(OperationTests.Host(edge, lanes), 5);
        foreach ((int count, int wanted, int steps) in ((int, int, int)[])[(7, 7, 1000), (64, 1, 3), (100, 41, 5), (9000, 20, 1000), (4097, 9, 2)])
        {
            float[] numbers = [.. Enumerable.Range(0, count).Select(_ => (float)(bench.Next(steps) - 10))]; // many are equal
            Tensor row = bench.Tensor(1, count, strided: true, i => numbers[i]);
            var columns = new int[wanted];
            var values = new float[wanted];
            Assert.True(bench.Backend.TryReadLargest(row, columns, values));
            int[] expected = [.. Enumerable.Range(0, count).OrderByDescending(i => numbers[i]).ThenBy(i => i).Take(wanted)];
            Assert.Equal(expected, columns);
            Assert.Equal(expected.Select(i => numbers[i]), values);
        }
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    [InlineData(float.NegativeInfinity)]
    public void ARowThatIsNotFiniteHasToBeRead(float odd)
    {
        using var bench = new OperationBench(OperationTests.Host(1, 1), 5);
        Tensor row = bench.Tensor(1, 9000, false, i => i == 4500 ? odd : i);
        Assert.False(bench.Backend.TryReadLargest(row, new int[3], new float[3]));
    }

    /// <summary>The same tokens whether few candidates or all logits are read: what somebody else looks at is read whole.</summary>
    [Theory]
    [InlineData(0, 0)]
    [InlineData(0.8f, 5)]
    [InlineData(1.5f, 40)]
    public async Task CandidatesDrawTheSameTokens(float temperature, int topK)
    {
        await using LanguageModel model = await LanguageModel.LoadAsync(SharedData.Local("golden", "llama"), new LanguageModelOptions { Device = GpuDevice.Host, Speculation = Speculation.Off });
        int[] few = await Tokens(logProbabilities: false), all = await Tokens(logProbabilities: true);
        Assert.Equal(12, few.Length);
        Assert.Equal(all, few);

        async Task<int[]> Tokens(bool logProbabilities)
        {
            var tokens = new List<int>();
            var options = new GenerationOptions { Temperature = temperature, TopK = topK, TopP = 0.95f, RepetitionPenalty = 1, Seed = 7, MaxTokens = 12, IgnoreEndOfTurn = true, TopLogProbabilities = logProbabilities ? 1 : null };
            Assert.Equal(logProbabilities ? 0 : Math.Max(topK, 1), model.NewRequest([3, 1, 4, 1, 5], options).Candidates);
            await foreach (GenerationUpdate update in model.CompleteAsync([3, 1, 4, 1, 5], options)) tokens.AddRange(update.Tokens.Select(t => t.Id));
            return [.. tokens];
        }
    }
}
