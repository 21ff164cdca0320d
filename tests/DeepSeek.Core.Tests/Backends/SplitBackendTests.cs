using DeepSeek.Backends;
using DeepSeek.Core.Tests.Models;
using DeepSeek.Formats;

namespace DeepSeek.Core.Tests.Backends;

/// <summary>A model in two places says what it says in one: both sides are the scalar backend here, so that the same numbers must come out.</summary>
public class SplitBackendTests
{
    private static readonly int[] Ids = [5, 9, 3, 17, 60, 2, 31];

    /// <summary>All models have three layers.</summary>
    [Theory]
    [InlineData("llama", 1)]
    [InlineData("llama", 2)]
    [InlineData("llama", 0)]
    [InlineData("qwen2/model-bf16.gguf", 1)]
    [InlineData("qwen3-moe", 1)]
    [InlineData("deepseek-v3", 2)]
    [InlineData("deepseek-v3/model-bf16.gguf", 1)]
    [InlineData("deepseek-v3-fp8", 1)]
    public void LayersInTwoPlaces_GiveTheSameBits_AndCrossOnce(string model, int firstLayer)
    {
        using Checkpoint checkpoint = Checkpoint.Open(SharedData.Local("golden", model));
        using var backend = new SplitBackend(new ReferenceBackend(), new ReferenceBackend(), new Placement(false, firstLayer, firstLayer));
        using ModelRun split = new(checkpoint, backend), whole = new(checkpoint, new ReferenceBackend());
        float[][] expected = whole.Step((0, Ids), (1, Ids[..3]));
        long before = backend.Crossings;
        float[][] logits = split.Step((0, Ids), (1, Ids[..3]));
        for (int t = 0; t < logits.Length; t++) Assert.Equal(expected[t], logits[t]);
        Assert.Equal(1, backend.Crossings - before); // from the processor's last layer, or from the embedding, to the device's first layer
        Assert.Equal(whole.Greedy(0, [4], 5), split.Greedy(0, [4], 5));
    }

    [Theory]
    [InlineData("qwen3-moe", 3)]
    [InlineData("qwen3-moe", 1)]
    [InlineData("deepseek-v3", 4)]
    [InlineData("deepseek-v3/model-bf16.gguf", 2)]
    public void ExpertsApart_GiveTheSameNumbers(string model, int firstExperts)
    {
        using Checkpoint checkpoint = Checkpoint.Open(SharedData.Local("golden", model));
        var placement = new Placement(true, 0, firstExperts);
        using ModelRun split = new(checkpoint, new SplitBackend(new ReferenceBackend(), new ReferenceBackend(), placement)), whole = new(checkpoint, new ReferenceBackend());
        float[][] expected = whole.Step((0, Ids)), logits = split.Step((0, Ids));
        for (int t = 0; t < logits.Length; t++) Assert.InRange(Golden.Nmse(logits[t], expected[t]), 0, 1e-12); // the experts' sum is rounded once more
        Assert.Equal(whole.Greedy(0, [4], 5), split.Greedy(0, [4], 5));
    }

    [Theory]
    [InlineData(4, 4)] // the module alone is on the device
    [InlineData(0, 5)] // no experts are there
    public void ADraftModuleOnTheDevice_DraftsTheSame(int firstLayer, int firstExperts)
    {
        using Checkpoint checkpoint = Checkpoint.Open(SharedData.Model("tiny-reasoner"));
        using ModelRun split = new(checkpoint, new SplitBackend(new ReferenceBackend(), new ReferenceBackend(), new Placement(false, firstLayer, firstExperts))), whole = new(checkpoint, new ReferenceBackend());
        int[] ids = [0, 3, 1002];
        split.Step((0, ids));
        whole.Step((0, ids));
        float[][] expected = whole.Draft(0, 1, whole.Hidden[..^1], ids[1..]).Logits, drafts = split.Draft(0, 1, split.Hidden[..^1], ids[1..]).Logits;
        for (int t = 0; t < drafts.Length; t++) Assert.InRange(Golden.Nmse(drafts[t], expected[t]), 0, 1e-12);
    }

    [Fact]
    public void BlocksOfASplitCache_AreInTheOrderOfTheStreams()
    {
        CacheStream[] streams = [new(0, "key", 3), new(1, "key", 5), new(0, "value", 2), new(1, "value", 4)];
        using var backend = new SplitBackend(new ReferenceBackend(), new ReferenceBackend(), new Placement(false, 1, 1));
        using CacheStorage split = backend.CreateCache(streams, CacheFormat.F16, 4, 3), whole = new ReferenceCache(streams, CacheFormat.F16, 4, 3);
        Assert.Equal(whole.BlockBytes, split.BlockBytes);
        var block = new byte[whole.BlockBytes];
        for (int s = 0, at = 0; s < streams.Length; at += 2 * 4 * streams[s++].Width) block.AsSpan(at, 2 * 4 * streams[s].Width).Fill((byte)(s + 1));
        split.WriteBlock(1, block);
        split.CopyBlock(1, 2);
        var read = new byte[block.Length];
        split.ReadBlock(2, read);
        Assert.Equal(block, read);

        // A row written to a stream is where the other kind of cache has it.
        var rows = new Step(backend, streams, split);
        rows.Append(3, [1, 2, 3, 4]);
        split.ReadBlock(0, read);
        var expected = new float[4];
        whole.WriteBlock(0, read);
        ((ReferenceCache)whole).Read(3, 0, 0, expected);
        Assert.Equal([1, 2, 3, 4], expected);
    }

    [Theory]
    [InlineData("model.layers.12.self_attn.q_proj.weight", 12)]
    [InlineData("blk.3.ffn_gate_exps.weight", 3)]
    [InlineData("model.norm.weight", null)]
    [InlineData("output.weight", null)]
    [InlineData("blk.x.y", null)]
    public void ATensorsNameTellsItsLayer(string name, int? layer) => Assert.Equal(layer, Placement.LayerOf(name));

    /// <summary>One row at position 0.</summary>
    private sealed class Step(Backend backend, IReadOnlyList<CacheStream> streams, CacheStorage cache)
    {
        public void Append(int stream, float[] row)
        {
            var step = new StepLayout(1, 1, 1, cache.BlockTokens);
            step.Add([1], 0, [0], 1);
            DeepSeek.Tensors.Tensor x = backend.Rent(1, streams[stream].Width);
            backend.Write(x, row);
            backend.Append(cache, stream, x, step);
        }
    }
}
