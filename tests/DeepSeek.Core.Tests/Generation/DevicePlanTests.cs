using DeepSeek.Backends;
using DeepSeek.Core.Tests.Models;
using DeepSeek.Generation;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Generation;

/// <summary>Where parts of a model go is planned before the load, reported, and done. The device here is the scalar backend with a memory of a size that the test says.</summary>
public class DevicePlanTests
{
    private static readonly string Mixture = SharedData.Local("golden", "deepseek-v3"), Llama = SharedData.Local("golden", "llama");

    private sealed class TestDevice(long? bytes) : ComputeDevice("test"), IBackendDevice
    {
        public long? AvailableBytes => bytes;

        public int Created { get; private set; }

        public long BytesOf(DType type, long rows, int columns) => rows * type.RowBytes(columns);

        public Backend CreateBackend(LanguageModelOptions options)
        {
            Created++;
            return new ReferenceBackend();
        }
    }

    private static LanguageModelOptions On(long? bytes, long? budget = null) => new() { Device = new TestDevice(bytes), DeviceBytes = budget, ContextLength = 256, MaxSequences = 1, Threads = 1 };

    /// <summary>A budget that two of the model's three layers fit, by its plan's own numbers: all of it, less two layers and a half.</summary>
    private static long TwoLayers(string path, LanguageModelOptions options)
    {
        ModelPlan whole = LanguageModel.Plan(path, options with { Device = new TestDevice(null) });
        long Layer(int layer) => whole.Tensors.Where(t => Placement.LayerOf(t.Name) == layer).Sum(t => t.Bytes);
        long embedding = whole.Tensors.Single(t => t.Name == "model.embed_tokens.weight").Bytes, cache = whole.DeviceBytes - whole.WeightBytes;
        return whole.DeviceBytes - embedding - Layer(0) - Layer(1) / 2 - cache / 5;
    }

    [Fact]
    public void WhatFitsGoesToTheDeviceWhole()
    {
        foreach (LanguageModelOptions options in new[] { On(null), On(200_000_000), On(1000, 100_000_000) })
        {
            ModelPlan plan = LanguageModel.Plan(Mixture, options);
            Assert.Equal("reference", plan.Device);
            Assert.StartsWith("all on test (", plan.Placement, StringComparison.Ordinal);
            Assert.True(plan.DeviceBytes > plan.WeightBytes);
            Assert.Equal(PlanVerdict.Fits, plan.Verdict);
            Assert.Equal(0, plan.ExpectedTokensPerSecond);
        }
        ModelPlan cpu = LanguageModel.Plan(Mixture);
        Assert.Equal(("all on cpu", 0L), (cpu.Placement, cpu.DeviceBytes));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task WhatDoesNotFitIsSplit_AsThePlanSaid_AndAnswersTheSame(bool ofTheDevice)
    {
        string path = Llama;
        long bytes = TwoLayers(path, On(null)); // of three
        LanguageModelOptions options = ofTheDevice ? On((long)(bytes / 0.9) + 1) : On(null, bytes);
        ModelPlan plan = LanguageModel.Plan(path, options);
        Assert.Matches("^test: [12] of 3 layers \\(the last ones\\) and the head \\([0-9.]+ MB of weights, [0-9.]+ MB of cache\\); cpu: the rest$", plan.Placement);
        Assert.InRange(plan.DeviceBytes, 1, bytes);
        Assert.Equal("reference+cpu", plan.Device);
        Assert.True(plan.ExpectedTokensPerSecond > 0);
        await using LanguageModel split = await LanguageModel.LoadAsync(path, options);
        Assert.Equal((plan.Placement, plan.DeviceBytes, plan.Device, plan.ContextLength), (split.Info.Placement, split.Info.DeviceBytes, split.Info.Device, split.Info.ContextLength));
        Assert.Contains("test: ", split.Info.ToString(), StringComparison.Ordinal);

        await Answers(split, path);
    }

    [Fact]
    public async Task AMixtureLeavesItsExpertsBehindFirst()
    {
        ModelPlan whole = LanguageModel.Plan(Mixture, On(null));
        long experts = whole.Tensors.Where(t => t.Name.Contains(".experts.", StringComparison.Ordinal)).Sum(t => t.Bytes);
        LanguageModelOptions options = On(null, whole.DeviceBytes - experts / 2);
        ModelPlan plan = LanguageModel.Plan(Mixture, options);
        Assert.Matches("^test: everything but the experts of [1-3] of [1-3] layers and the embedding ", plan.Placement);
        await using LanguageModel split = await LanguageModel.LoadAsync(Mixture, options);
        Assert.Equal(plan.Placement, split.Info.Placement);
        await Answers(split, Mixture);
    }

    /// <summary>The processor's part rounds its operands to bfloat16.</summary>
    private static async Task Answers(LanguageModel model, string path)
    {
        GoldenPrompt prompt = Golden.Read(Path.Combine(path, "golden.json"))[0];
        float[] logits = [];
        var request = new ScoringRequest(prompt.Ids, false, int.MaxValue, model.Loaded.Settings, model.Loaded.Engine.BlockTokens, (_, l) => logits = l.ToArray());
        model.Loaded.Engine.Submit(request);
        await request.Completion;
        Assert.InRange(Golden.Nmse(logits, prompt.LastLogits), 0, 1e-4);
        var tokens = new List<int>();
        await foreach (GenerationUpdate update in model.CompleteAsync(prompt.Ids, new GenerationOptions { Temperature = 0, RepetitionPenalty = 1, MaxTokens = 4, IgnoreEndOfTurn = true })) tokens.AddRange(update.Tokens.Select(t => t.Id));
        Assert.Equal(prompt.Greedy.Take(4), tokens);
    }

    [Fact]
    public async Task ADeviceThatHoldsNothingOfIt_IsRefused_NotIgnored()
    {
        LanguageModelOptions options = On(null, 10_000);
        ModelPlan plan = LanguageModel.Plan(Llama, options);
        Assert.Equal((PlanVerdict.DoesNotFit, 0L), (plan.Verdict, plan.DeviceBytes));
        var e = await Assert.ThrowsAsync<ModelMemoryException>(() => LanguageModel.LoadAsync(Llama, options));
        Assert.Equal(e.Message, plan.Advice);
        Assert.Contains("0.01 MB of the device 'test'", e.Message, StringComparison.Ordinal);
        Assert.Equal(10_000, e.AvailableBytes);
        Assert.True(e.RequiredBytes > 10_000);

        var option = await Assert.ThrowsAsync<InvalidOptionException>(() => LanguageModel.LoadAsync(Llama, new LanguageModelOptions { DeviceBytes = 1 << 20 }));
        Assert.Contains("DeviceBytes", option.Message, StringComparison.Ordinal);
    }
}
