using DeepSeek.Backends;
using DeepSeek.Core.Tests;
using DeepSeek.Core.Tests.Backends;
using DeepSeek.Gpu.Host;
using DeepSeek.Tensors;

namespace DeepSeek.Gpu.Tests;

/// <summary>What a generated token costs a device beside its arithmetic.</summary>
public class DecodeTests
{
    /// <summary>
    /// A token is one wait, in which its candidates come back; three copies to the device (the token, where it goes, the row whose logits are wanted); no memory; and a few launches a layer. The models
    /// have three layers. Llama's take 11 launches, the rest of a step 7; a mixture takes 16; latent attention and a mixture with a shared expert up to 23.
    /// </summary>
    [Theory]
    [InlineData("llama", 40)]
    [InlineData("qwen3-moe", 55)]
    [InlineData("deepseek-v3", 70)]
    public async Task ATokenWaitsOnce(string path, int launches)
    {
        var runtime = new CountingRuntime();
        var device = new GpuDevice("counting", "the host's kernels, counted", 0, () => null, o => new GpuBackend<HostThread, HostMemory>(runtime, o.Reproducible));
        await using LanguageModel model = await LanguageModel.LoadAsync(SharedData.Local("golden", path), new LanguageModelOptions { Device = device, Speculation = Speculation.Off, PrefixCaching = false });
        await Generate(4); // memory has grown to what a step takes
        (int Waits, int Launches, int Uploads, long Bytes, int Allocations) few = await Cost(4), more = await Cost(12);
        Assert.Equal(8, more.Waits - few.Waits);
        Assert.Equal(8 * 3, more.Uploads - few.Uploads);
        Assert.Equal(8 * 2 * (2 * sizeof(float)), more.Bytes - few.Bytes); // the largest, and the next
        Assert.Equal(0, more.Allocations);
        Assert.Equal(8 * launches, more.Launches - few.Launches);

        async Task<(int, int, int, long, int)> Cost(int tokens)
        {
            (int waits, int launched, int uploads, long bytes, int allocations) = (runtime.Waits, runtime.Launches, runtime.Uploads, runtime.BytesRead, runtime.Allocations);
            await Generate(tokens);
            return (runtime.Waits - waits, runtime.Launches - launched, runtime.Uploads - uploads, runtime.BytesRead - bytes, runtime.Allocations - allocations);
        }

        async Task Generate(int tokens)
        {
            var options = new GenerationOptions { Temperature = 0, RepetitionPenalty = 1, MaxTokens = tokens, IgnoreEndOfTurn = true };
            await foreach (GenerationUpdate _ in model.CompleteAsync([3, 1, 4, 1, 5], options)) { }
        }
    }

    /// <summary>A tied head is the embedding's table: it takes no memory of its own.</summary>
    [Fact]
    public void AWeightOfTwoRolesLiesThereOnce()
    {
        using var bench = new OperationBench(OperationTests.Host(1, 1), 2);
        Weight table = bench.Weight(DType.Q8_0, 20_000, 96); // large enough for a buffer of its own
        DeviceWeight embedding = bench.Backend.Prepare(table, WeightRole.Embedding), head = bench.Backend.Prepare(new Weight("again", table.Type, table.Rows, table.Columns, table.Data), WeightRole.Head);
        bench.Backend.Embed(bench.Random(1, 96), embedding, [7]);
        long bytes = bench.Backend.PreparedBytes;
        bench.Backend.Head(bench.Random(1, 20_000), bench.Random(1, 96), [0], head);
        Assert.InRange(bytes, 20_000 * 102, 20_000 * 112 + 256);
        Assert.Equal(bytes, bench.Backend.PreparedBytes);
    }

    /// <summary>Asking for the operations of a layer takes no managed memory, once all of them have been asked for before.</summary>
    [Fact]
    public void OperationsAllocateNothing()
    {
        using var bench = new OperationBench(OperationTests.Host(1, 1), 2);
        Backend b = bench.Backend;
        const int d = 64, f = 96, heads = 4, size = 16;
        DeviceWeight norm = bench.Vector(d, 1), bias = bench.Vector(d), table = bench.Weight(DType.Q8_0, 50, d, WeightRole.Embedding), head = bench.Weight(DType.Q8_0, 320, d, WeightRole.Head);
        DeviceWeight q = bench.Weight(DType.Q4_0, d, d, WeightRole.Matrix), k = bench.Weight(DType.Q4_0, d, d, WeightRole.Matrix), v = bench.Weight(DType.BF16, d, d, WeightRole.Matrix);
        GatedMlpWeights Mlp(WeightRole role) => new(bench.Weight(DType.Q4_0, f, d, role), bench.Weight(DType.Q4_0, f, d, role), bench.Weight(DType.Q8_0, d, f, role));
        var experts = new ExpertWeights(new RouterSettings(4, 2, RouterScoring.Sigmoid, 2, 1, true, 1), bench.Weight(DType.F32, 4, d, WeightRole.Router), bench.Vector(4), [.. Enumerable.Range(0, 4).Select(_ => Mlp(WeightRole.Expert))], Mlp(WeightRole.Matrix));
        GatedMlpWeights mlp = Mlp(WeightRole.Matrix);
        CacheStorage cache = bench.Cache([new CacheStream(0, "key", d), new CacheStream(0, "value", d), new CacheStream(1, "latent", 24)], CacheFormat.F16, 8, 8);
        var attention = new AttentionSettings(heads, heads, size, 0.25f, 0, 1);
        DeviceWeight[] up = [.. Enumerable.Range(0, heads).Select(_ => bench.Weight(DType.BF16, size, 16, WeightRole.Matrix))];
        var latent = new LatentAttentionSettings(heads, size, 8, size, 16, 0.2f, 2, up, false, up);
        var rotary = new RotarySettings([1, 0.1, 0.01, 0.001], 1, RotaryPairs.HalfSplit);
        StepLayout step = Steps.Of(8, (3, 2, [1]));
        int[] columns = new int[5], rows = [1];
        var values = new float[5];
        Layer();
        long before = GC.GetAllocatedBytesForCurrentThread();
        Layer();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Layer()
        {
            long mark = b.Mark();
            Tensor x = b.Rent(2, d), yq = b.Rent(2, d), yk = b.Rent(2, d), yv = b.Rent(2, d), o = b.Rent(2, d), factors = b.Rent(2, 8), latents = b.Rent(2, 24), ql = b.Rent(2, heads * 24), logits = b.Rent(1, 320);
            b.Embed(x, table, step.Tokens);
            b.RotaryFactors(factors, rotary, step);
            b.Project(x, norm, 1e-6f, new Projection(yq, q), new Projection(yk, k, bias), new Projection(yv, v));
            b.Rotate(yq, factors, rotary, size, 0);
            b.Attend(o, yq, yk, yv, attention, step, cache);
            b.MatMul(x, o, v, null, accumulate: true);
            b.Write(latents, stackalloc float[48]);
            b.Write(ql, stackalloc float[2 * heads * 24]);
            b.AttendLatent(o, ql, latents, latent, step, cache);
            b.GatedMlp(x, norm, 1e-6f, mlp);
            b.Experts(x, norm, 1e-6f, experts);
            b.Head(logits, x, rows, head);
            b.TryReadLargest(logits, columns, values);
            b.Release(mark);
        }
    }
}
