using DeepSeek.Backends;
using DeepSeek.Core.Tests;
using DeepSeek.Core.Tests.Models;
using DeepSeek.Generation;

namespace DeepSeek.Gpu.Tests;

/// <summary>Choosing devices, and a model that lies on the host's kernels as a whole or in part.</summary>
public class GpuDeviceTests
{
    [Fact]
    public void DevicesAreFoundByName_AndWhatIsNotThereIsAnError()
    {
        Assert.Same(ComputeDevice.Cpu, GpuDevice.Find("cpu"));
        Assert.Same(ComputeDevice.Reference, GpuDevice.Find("reference"));
        Assert.Same(GpuDevice.Host, GpuDevice.Find("host"));
        Assert.Equal(GpuDevice.All.Count == 0, GpuDevice.WhyNone is not null);
        if (GpuDevice.All.Count > 0) Assert.Same(GpuDevice.All[0], GpuDevice.Find("gpu"));
        else
        {
            Assert.Equal(GpuDevice.WhyNone, Assert.Throws<DeviceException>(() => GpuDevice.Default).Message);
            Assert.Throws<DeviceException>(() => GpuDevice.Find("gpu"));
        }
        Assert.Throws<DeviceException>(() => GpuDevice.Find("cuda:99"));
        Assert.Contains("'tpu'", Assert.Throws<InvalidOptionException>(() => GpuDevice.Find("tpu")).Message, StringComparison.Ordinal);
        Assert.Throws<InvalidOptionException>(() => GpuDevice.Find("cuda:x"));
    }

    /// <summary>Whole; all but one or two layers; everything but experts. In a split the processor's part rounds its operands to bfloat16.</summary>
    [Theory]
    [InlineData("llama", 1, 1e-5)] // the cache is in float16
    [InlineData("llama", 0.6, 1e-4)]
    [InlineData("deepseek-v3", 0.7, 1e-4)]
    [InlineData("deepseek-v3", 0.4, 1e-4)]
    public async Task AModelOnTheHostsKernels_AnswersAsRecorded(string model, double share, double limit)
    {
        string path = SharedData.Local("golden", model);
        var options = new LanguageModelOptions { Device = GpuDevice.Host, ContextLength = 64, MaxSequences = 1, Threads = 1 };
        ModelPlan plan = LanguageModel.Plan(path, options);
        Assert.StartsWith("all on host (", plan.Placement, StringComparison.Ordinal);
        if (share < 1)
        {
            options = options with { DeviceBytes = (long)(plan.DeviceBytes * share) };
            plan = LanguageModel.Plan(path, options);
            Assert.StartsWith("host: ", plan.Placement, StringComparison.Ordinal);
            Assert.EndsWith("; cpu: the rest", plan.Placement, StringComparison.Ordinal);
        }
        await using LanguageModel loaded = await LanguageModel.LoadAsync(path, options);
        Assert.Equal((plan.Placement, plan.DeviceBytes, share < 1 ? "host+cpu" : "host"), (loaded.Info.Placement, loaded.Info.DeviceBytes, loaded.Info.Device));
        GoldenPrompt prompt = Golden.Read(Path.Combine(path, "golden.json")).Single(p => p.Ids.Length == 7);
        float[] logits = [];
        var request = new ScoringRequest(prompt.Ids, false, int.MaxValue, loaded.Loaded.Settings, loaded.Loaded.Engine.BlockTokens, (_, l) => logits = l.ToArray());
        loaded.Loaded.Engine.Submit(request);
        await request.Completion;
        Assert.InRange(Golden.Nmse(logits, prompt.LastLogits), 0, limit);
        var tokens = new List<int>();
        await foreach (GenerationUpdate update in loaded.CompleteAsync(prompt.Ids, new GenerationOptions { Temperature = 0, RepetitionPenalty = 1, MaxTokens = 4, IgnoreEndOfTurn = true })) tokens.AddRange(update.Tokens.Select(t => t.Id));
        Assert.Equal(prompt.Greedy.Take(4), tokens);
    }

    /// <summary>Two of a model's layers on the kernels, the rest on the scalar backend: float32 everywhere, so that the recorded logits come out to seven digits.</summary>
    [Theory]
    [InlineData("llama")]
    [InlineData("deepseek-v3")]
    [InlineData("qwen3-moe")]
    public void LayersOnTheHostsKernels_AndTheRestElsewhere_AreExact(string model)
    {
        using Formats.Checkpoint checkpoint = Formats.Checkpoint.Open(SharedData.Local("golden", model));
        using var backend = new SplitBackend(new ReferenceBackend(), OperationTests.Host(1, 1, false), new Placement(false, 1, 2));
        using var run = new ModelRun(checkpoint, backend);
        backend.Upload(null);
        GoldenPrompt prompt = Golden.Read(Path.Combine(SharedData.Local("golden", model), "golden.json")).Single(p => p.Ids.Length == 7);
        float[][] logits = run.Step((0, prompt.Ids));
        Assert.InRange(Golden.Nmse(logits[^1], prompt.LastLogits), 0, 1e-8);
        int first = ModelRun.ArgMax(logits[^1]);
        Assert.Equal(prompt.Greedy[..4], (int[])[first, .. run.Greedy(0, [first], 3)]);
    }
}
