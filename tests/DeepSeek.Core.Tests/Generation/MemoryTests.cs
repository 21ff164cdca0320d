using DeepSeek.Backends;
using DeepSeek.Core.Tests.Backends;
using DeepSeek.Generation;

namespace DeepSeek.Core.Tests.Generation;

/// <summary>What a plan says of a container's memory is what loading does.</summary>
public sealed class MemoryTests : IDisposable
{
    private static readonly string TinyReasoner = SharedData.Model("tiny-reasoner");
    private readonly TemporaryFolder root = new();

    public void Dispose() => root.Dispose();

    /// <summary>A container with that much left beside the runtime's share.</summary>
    private MachineLimits With(long bytes) => MachineLimitsTests.Machine(root, "0::/\n", ("sys/fs/cgroup/memory.max", $"{MemoryBudget.OverheadBytes + bytes}\n"), ("sys/fs/cgroup/memory.current", "0\n"));

    private static void Load(MachineLimits machine, LanguageModelOptions options, Action<LoadedModel> look)
    {
        using LoadedModel model = LoadedModel.Load(TinyReasoner, options, null, machine, default);
        look(model);
    }

    [Fact]
    public void WeightsThatExceedTheMemory_AreRefusedWithNumbers_AndRunPagedWhereAllowed()
    {
        MachineLimits machine = With(4_000_000); // the model has 9.8 MB of weights
        var options = new LanguageModelOptions();
        ModelPlan plan = ModelPlanner.Plan(TinyReasoner, options, machine);
        Assert.Equal(PlanVerdict.NeedsPaging, plan.Verdict);
        var e = Assert.Throws<ModelMemoryException>(() => Load(machine, options, _ => { }));
        Assert.Equal(e.Message, plan.Advice);
        Assert.Equal((plan.WeightBytes + MemoryBudget.OverheadBytes, MemoryBudget.OverheadBytes + 4_000_000), (e.RequiredBytes, e.AvailableBytes));
        foreach (string word in new[] { "AllowPaging", "smaller quantisation", $"{plan.WeightBytes / 1e6:0} MB", "205 MB" }) Assert.Contains(word, e.Message, StringComparison.Ordinal);

        ModelPlan paged = ModelPlanner.Plan(TinyReasoner, options with { AllowPaging = true }, machine);
        Assert.Contains("paged", paged.Advice, StringComparison.Ordinal);
        Assert.Equal(plan.ContextLength, paged.ContextLength);
        Load(machine, options with { AllowPaging = true }, model => Assert.Equal(paged.ContextLength, model.Settings.ContextLength));

        // A private copy cannot be paged.
        Assert.Contains("without PrivateCopy", Assert.Throws<ModelMemoryException>(() => Load(machine, options with { AllowPaging = true, PrivateCopy = true }, _ => { })).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ACacheThatDoesNotFit_IsShortened_OrRefusedWithWhatWouldFit()
    {
        ModelPlan whole = LanguageModel.Plan(TinyReasoner);
        MachineLimits machine = With(whole.WeightBytes + 600 * 4 * whole.CacheBytesPerToken); // a quarter is for the cache
        ModelPlan plan = ModelPlanner.Plan(TinyReasoner, new LanguageModelOptions(), machine);
        Assert.Equal((PlanVerdict.FitsWithShorterContext, 0), (plan.Verdict, plan.ContextLength % CachePlan.BlockTokens));
        Assert.InRange(plan.ContextLength, 512, 600);
        Load(machine, new LanguageModelOptions(), model =>
        {
            Assert.Equal(plan.ContextLength, model.Info.ContextLength);
            Assert.Contains(model.Info.Warnings, w => w.Contains($"{plan.ContextLength} tokens instead of 1024", StringComparison.Ordinal));
        });

        machine = With(whole.WeightBytes + 200 * whole.CacheBytesPerToken);
        var options = new LanguageModelOptions { ContextLength = 1000 };
        plan = ModelPlanner.Plan(TinyReasoner, options, machine);
        var e = Assert.Throws<ModelMemoryException>(() => Load(machine, options, _ => { }));
        Assert.Equal((PlanVerdict.FitsWithShorterContext, e.Message), (plan.Verdict, plan.Advice));
        Assert.Contains($"up to {plan.ContextLength}", e.Message, StringComparison.Ordinal);
        Load(machine, options with { ContextLength = plan.ContextLength }, model => Assert.Equal(plan.ContextLength, model.Info.ContextLength));

        Assert.Contains("CacheBytes is 50000000", Assert.Throws<ModelMemoryException>(() => Load(machine, new LanguageModelOptions { CacheBytes = 50_000_000 }, _ => { })).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void WhatCannotRunAtAll_SaysSo()
    {
        ModelPlan plan = ModelPlanner.Plan(TinyReasoner, new LanguageModelOptions(), With(0));
        Assert.Equal(PlanVerdict.DoesNotFit, plan.Verdict);
        Assert.Throws<ModelMemoryException>(() => Load(With(0), new LanguageModelOptions { AllowPaging = true }, _ => { }));
    }
}
