using DeepSeek.Core.Tests;
using DeepSeek.Gpu.Host;

namespace DeepSeek.Gpu.Tests;

/// <summary>A device that runs out of memory or is lost: errors of their own types, nothing left behind, and no answer from elsewhere.</summary>
public class DeviceFailureTests
{
    private static readonly string Model = SharedData.Local("golden", "llama");
    private static readonly int[] Ids = [5, 9, 3];

    /// <summary>The host's launcher with a memory of a given size, which is gone from a moment on.</summary>
    private sealed class FrailRuntime(long memory) : GpuRuntime<HostThread, HostMemory>
    {
        private readonly HostRuntime inner = new();
        private readonly HashSet<GpuBuffer<HostMemory>> living = [];

        public bool IsLost { get; set; }

        public bool IsDisposed { get; private set; }

        public override string Name => "frail";

        public override string Description => inner.Description;

        public override int Lanes => inner.Lanes;

        public override int GroupItems => inner.GroupItems;

        public override int TileEdge => inner.TileEdge;

        public override int SharedWords => inner.SharedWords;

        public override int BusyGroups => inner.BusyGroups;

        public override GpuBuffer<HostMemory> Allocate(long bytes)
        {
            if (living.Sum(b => b.Bytes) + bytes > memory) throw new ModelMemoryException($"The device 'frail' has no memory left (allocating {bytes} bytes).");
            GpuBuffer<HostMemory> buffer = inner.Allocate(bytes);
            living.Add(buffer);
            return buffer;
        }

        public override void Launch<TKernel>(in TKernel kernel, int groups, int items, int sharedWords)
        {
            if (IsLost) throw new DeviceException("The device 'frail' failed (launching).");
            inner.Launch(kernel, groups, items, sharedWords);
        }

        public override void Synchronise()
        {
            if (IsLost) throw new DeviceException("The device 'frail' failed (waiting).");
        }

        public override void Dispose()
        {
            IsDisposed = true;
            inner.Dispose();
        }
    }

    private static LanguageModelOptions On(FrailRuntime runtime)
        => new() { Device = new GpuDevice("frail", "for tests", 1, () => null, o => GpuDevice.Start(runtime, o)), ContextLength = 64, MaxSequences = 1, Threads = 1 };

    private static async Task<List<int>> Answer(LanguageModel model)
    {
        var tokens = new List<int>();
        await foreach (GenerationUpdate update in model.CompleteAsync(Ids, new GenerationOptions { Temperature = 0, MaxTokens = 3, IgnoreEndOfTurn = true })) tokens.AddRange(update.Tokens.Select(t => t.Id));
        return tokens;
    }

    [Fact]
    public async Task TooLittleMemoryIsAnErrorOfLoading_AndLeavesNothingBehind()
    {
        using var enough = new FrailRuntime(long.MaxValue);
        ModelPlan plan = LanguageModel.Plan(Model, On(enough));
        foreach (long memory in new[] { 1000, plan.DeviceBytes / 2, plan.DeviceBytes - 1 }) // the plan believes that there is enough
        {
            var runtime = new FrailRuntime(memory);
            var e = await Assert.ThrowsAsync<ModelMemoryException>(() => LanguageModel.LoadAsync(Model, On(runtime)));
            Assert.Contains("'frail'", e.Message, StringComparison.Ordinal);
            Assert.True(runtime.IsDisposed);
        }
    }

    [Fact]
    public async Task ALostDeviceFailsEveryRequest_AndTheModelCanBeDisposed()
    {
        var runtime = new FrailRuntime(long.MaxValue);
        LanguageModel model = await LanguageModel.LoadAsync(Model, On(runtime));
        Assert.Equal(3, (await Answer(model)).Count);
        runtime.IsLost = true;
        for (int i = 0; i < 2; i++) Assert.Contains("'frail'", (await Assert.ThrowsAsync<DeviceException>(() => Answer(model))).Message, StringComparison.Ordinal);
        await model.DisposeAsync();
        Assert.True(runtime.IsDisposed);
    }
}
