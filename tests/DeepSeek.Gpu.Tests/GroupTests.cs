using DeepSeek.Backends;
using DeepSeek.Core.Tests.Backends;
using DeepSeek.Core.Tests.Models;
using DeepSeek.Gpu.Host;
using DeepSeek.Gpu.Kernels;
using DeepSeek.Tensors;

namespace DeepSeek.Gpu.Tests;

/// <summary>The kernels in groups of real threads with real barriers. A thread an item is slow, so the larger operation cases are left to groups of one.</summary>
public class GroupTests
{
    public static TheoryData<string> Cases =>
    [
        "matmul F32", "matmul F8_E4M3", "matmul Q4_K", "matmul Q2_K", "embed Q6_K", "gather", "rms norm", "add", "silu multiply", "rotary factors", "rotate interleaved", "rotate half split",
        "experts with ties", "cache blocks F16", "cache blocks Q8",
    ];

    [Theory]
    [MemberData(nameof(Cases))]
    public void AgreesInGroups(string name) => OperationCases.Check(name, () => OperationTests.Host(edge: 2, lanes: 2));

    /// <summary>A group of one warp, and warps of one lane: the sizes that a device may have.</summary>
    [Theory]
    [InlineData("rms norm", 4)]
    [InlineData("cache blocks F32", 4)]
    [InlineData("rms norm", 1)]
    [InlineData("cache blocks F32", 1)]
    [InlineData("experts with ties", 1)]
    public void AgreesInGroupsOf(string name, int lanes) => OperationCases.Check(name, () => OperationTests.Host(edge: 2, lanes: lanes));

    /// <summary>Several heads a group, several tiles of scores and several chunks to merge.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AttentionInGroups(bool latent)
    {
        float[] actual = Attend(OperationTests.Host(edge: 2, lanes: 2), latent), expected = Attend(new ReferenceBackend(), latent);
        Assert.True(Golden.Nmse(actual, expected) < 1e-10);
    }

    /// <summary>Queries that have their turns with scratch memory.</summary>
    [Fact]
    public void LatentAttentionInTurns()
    {
        float[] actual = Attend(new GpuBackend<HostThread, HostMemory>(new HostRuntime(), latentScratchBytes: 1), true), expected = Attend(new ReferenceBackend(), true);
        Assert.True(Golden.Nmse(actual, expected) < 1e-10);
    }

    private static float[] Attend(Backend backend, bool latent)
    {
        using var bench = new OperationBench(backend, 8);
        (StepLayout past, StepLayout step) = Steps.WithPast([(150, 2), (0, 1)], seed: 4);
        if (latent)
        {
            const int heads = 3, n = 8, r = 4, v = 6, c = 12;
            CacheStorage cache = bench.Cache([new CacheStream(0, "latent", c + r)], CacheFormat.F32, Steps.BlockTokens, Steps.Blocks);
            DeviceWeight[] keyUp = [.. Enumerable.Range(0, heads).Select(_ => bench.Weight(DType.F32, n, c, WeightRole.Matrix))], valueUp = [.. Enumerable.Range(0, heads).Select(_ => bench.Weight(DType.F32, v, c, WeightRole.Matrix))];
            backend.Append(cache, 0, bench.Random(past.TokenCount, c + r), past);
            Tensor o = bench.Random(step.TokenCount, heads * v);
            backend.AttendLatent(o, bench.Random(step.TokenCount, heads * (n + r)), bench.Random(step.TokenCount, c + r), new LatentAttentionSettings(heads, n, r, v, c, 0.3f, 0, keyUp, false, valueUp), step, cache);
            bench.Report("latent", o);
        }
        else
        {
            CacheStorage cache = bench.Cache([new CacheStream(0, "key", 16), new CacheStream(0, "value", 16)], CacheFormat.F32, Steps.BlockTokens, Steps.Blocks);
            backend.Append(cache, 0, bench.Random(past.TokenCount, 16), past);
            backend.Append(cache, 1, bench.Random(past.TokenCount, 16), past);
            Tensor o = bench.Random(step.TokenCount, 48);
            backend.Attend(o, bench.Random(step.TokenCount, 48), bench.Random(step.TokenCount, 16), bench.Random(step.TokenCount, 16), new AttentionSettings(6, 2, 8, 0.3f, 0, 1), step, cache);
            bench.Report("grouped", o);
        }
        return bench.Results[0].Values;
    }

    /// <summary>The launcher itself: a kernel whose items do not all come to a barrier is found out, as is one that leaves its memory.</summary>
    [Fact]
    public void ABarrierThatNotAllComeToIsAnError()
    {
        using var runtime = new HostRuntime(2, 2);
        Assert.Contains("barrier", Assert.Throws<InvalidOperationException>(() => runtime.Launch(new Divergent<HostThread>(), 1, 4, 0)).Message);
    }

    [Fact]
    public void LeavingABufferIsAnError()
    {
        using var runtime = new HostRuntime();
        using GpuBuffer<HostMemory> buffer = runtime.Allocate(64);
        runtime.Launch(new WriteAt<HostThread, HostMemory> { Memory = buffer.Memory, At = 15 }, 1, 1, 0);
        Assert.Throws<InvalidOperationException>(() => runtime.Launch(new WriteAt<HostThread, HostMemory> { Memory = buffer.Memory, At = 16 }, 1, 1, 0));
        Assert.Throws<InvalidOperationException>(() => runtime.Launch(new WriteAt<HostThread, HostMemory> { Memory = buffer.Memory, At = -1 }, 1, 1, 0));
    }

    private struct Divergent<TThread> : IKernel<TThread> where TThread : struct, IThread
    {
        public readonly void Run(TThread t)
        {
            if (t.Item != 1) t.Barrier();
        }
    }

    private struct WriteAt<TThread, TMemory> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory
    {
        public TMemory Memory;
        public long At;

        public readonly void Run(TThread t) => Memory.SetFloat(At, 1);
    }
}
