using System.Runtime.InteropServices;
using DeepSeek.Backends;
using DeepSeek.Backends.Cpu;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Backends.Cpu;

/// <summary>Attention against the scalar backend, and against itself: how work was cut must not show, not even in the last bit.</summary>
public sealed class AttentionTests
{
    private const int BlockTokens = 16;

    /// <summary>A sequence that was processed in pieces: its lengths.</summary>
    private sealed record Conversation(int Seed, params int[] Pieces)
    {
        public int Length => Pieces.Sum();
    }

    private static float[] Numbers(int seed, int count, float scale = 1)
    {
        Random random = new(seed);
        float[] x = new float[count];
        for (int i = 0; i < count; i++) x[i] = (float)(random.NextDouble() * 2 - 1) * scale;
        return x;
    }

    private static Tensor Place(Backend backend, float[] numbers, int rows)
    {
        Tensor x = backend.Rent(rows, numbers.Length / rows);
        backend.Write(x, numbers);
        return x;
    }

    private static float[] Take(Backend backend, Tensor x)
    {
        float[] numbers = new float[x.Rows * x.Columns];
        backend.Read(x, numbers);
        return numbers;
    }

    /// <summary>Runs conversations side by side, a piece of each in every step, blocks dealt in turn so that they are scattered. Results: [conversation][T·H·V]</summary>
    private static float[][] Run(Backend backend, CacheFormat format, IReadOnlyList<CacheStream> streams, int queryWidth, int outputWidth, Conversation[] conversations,
        Action<Tensor, Tensor, Tensor[], StepLayout, CacheStorage> attend)
    {
        int perSequence = conversations.Max(c => (c.Length + BlockTokens - 1) / BlockTokens), steps = conversations.Max(c => c.Pieces.Length);
        using CacheStorage cache = backend.CreateCache(streams, format, BlockTokens, perSequence * conversations.Length);
        StepLayout step = new(conversations.Sum(c => c.Length), conversations.Length, perSequence * conversations.Length, BlockTokens);
        float[][] q = [.. conversations.Select(c => Numbers(c.Seed, c.Length * queryWidth, 2))];
        float[][][] rows = [.. conversations.Select(c => streams.Select((s, i) => Numbers(c.Seed + 1000 * (i + 1), c.Length * s.Width)).ToArray())];
        List<float>[] results = [.. conversations.Select(_ => new List<float>())];
        int[] done = new int[conversations.Length];
        for (int i = 0; i < steps; i++)
        {
            step.Clear();
            int[] taken = [.. Enumerable.Range(0, conversations.Length).Where(c => i < conversations[c].Pieces.Length)];
            foreach (int c in taken)
                step.Add(new int[conversations[c].Pieces[i]], done[c], [.. Enumerable.Range(0, perSequence).Select(b => b * conversations.Length + c)], 0);
            long mark = backend.Mark();
            float[] Gather(Func<int, float[]> source, int width) => [.. taken.SelectMany(c => source(c).Skip(done[c] * width).Take(conversations[c].Pieces[i] * width))];
            Tensor queries = Place(backend, Gather(c => q[c], queryWidth), step.TokenCount), output = backend.Rent(step.TokenCount, outputWidth);
            Tensor[] stored = [.. streams.Select((s, n) => Place(backend, Gather(c => rows[c][n], s.Width), step.TokenCount))];
            attend(output, queries, stored, step, cache);
            float[] y = Take(backend, output);
            foreach (int c in taken)
            {
                int count = conversations[c].Pieces[i] * outputWidth;
                results[c].AddRange(y.Take(count));
                y = y[count..];
                done[c] += conversations[c].Pieces[i];
            }
            backend.Release(mark);
        }
        return [.. results.Select(r => r.ToArray())];
    }

    private static float[][] RunGrouped(Backend backend, CacheFormat format, int heads, int keyHeads, int size, params Conversation[] conversations)
    {
        AttentionSettings attention = new(heads, keyHeads, size, 1 / MathF.Sqrt(size), 0, 1);
        CacheStream[] streams = [new(0, "key", keyHeads * size), new(0, "value", keyHeads * size)];
        return Run(backend, format, streams, heads * size, heads * size, conversations, (o, q, s, step, cache) => backend.Attend(o, q, s[0], s[1], attention, step, cache));
    }

    private static unsafe float[][] RunLatent(Backend backend, CacheFormat format, bool transposed, (int H, int N, int R, int V, int C) d, params Conversation[] conversations)
    {
        DeviceWeight[] Weights(int seed, int rows, int columns) => [.. Enumerable.Range(0, d.H).Select(h =>
        {
            float[] w = Numbers(seed + h, rows * columns);
            nint p = (nint)NativeMemory.Alloc((nuint)(4 * w.Length)); // lives as long as the test process: a few kilobytes
            w.CopyTo(new Span<float>((void*)p, w.Length));
            return backend.Prepare(new Weight("w", DType.F32, rows, columns, p), WeightRole.Matrix);
        })];
        LatentAttentionSettings attention = new(d.H, d.N, d.R, d.V, d.C, 1 / MathF.Sqrt(d.N + d.R), 0,
            transposed ? Weights(5, d.C, d.N) : Weights(5, d.N, d.C), transposed, Weights(77, d.V, d.C));
        return Run(backend, format, [new(0, "latent", d.C + d.R)], d.H * (d.N + d.R), d.H * d.V, conversations, (o, q, s, step, cache) => backend.AttendLatent(o, q, s[0], attention, step, cache));
    }

    private static double Nmse(float[][] actual, float[][] expected)
    {
        double error = 0, power = 0;
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < actual.Length; i++)
            for (int j = 0; j < actual[i].Length; j++)
            {
                double e = actual[i][j] - expected[i][j];
                error += e * e;
                power += (double)expected[i][j] * expected[i][j];
            }
        return error / power;
    }

    public static TheoryData<int, int, int, int> Shapes => new()
    {
        // heads, key heads, head size, cache format
        { 4, 2, 16, 0 }, { 4, 2, 16, 1 }, { 4, 2, 16, 2 }, { 4, 2, 16, 3 },
        { 6, 2, 20, 0 }, { 6, 2, 20, 1 }, { 6, 2, 20, 2 }, { 6, 2, 20, 3 },
        { 3, 3, 24, 2 }, { 7, 1, 40, 2 }, { 7, 1, 40, 3 }, { 9, 3, 64, 2 }, { 12, 2, 128, 2 }, { 12, 2, 128, 3 }, { 4, 4, 32, 2 }, { 5, 5, 7, 0 }, { 5, 5, 7, 3 },
    };

    [Theory, MemberData(nameof(Shapes))]
    public void Grouped_attention_equals_the_scalar_one(int heads, int keyHeads, int size, int format)
    {
        Conversation[] conversations = [new(1, 270, 1, 1), new(2, 1, 1, 1), new(3, 40, 5, 1), new(4, 250, 33)];
        using ReferenceBackend reference = new();
        using CpuBackend cpu = new(new CpuBackendOptions { Threads = 2, Reproducible = true }), free = new(new CpuBackendOptions { Threads = 2 });
        using CpuBackend narrow = new(new CpuBackendOptions { Threads = 2, Reproducible = true, DisabledInstructionSets = ["AVX512"] });
        float[][] expected = RunGrouped(reference, (CacheFormat)format, heads, keyHeads, size, conversations);
        Assert.InRange(Nmse(RunGrouped(narrow, (CacheFormat)format, heads, keyHeads, size, conversations), expected), 0, 1e-11);
        Assert.InRange(Nmse(RunGrouped(cpu, (CacheFormat)format, heads, keyHeads, size, conversations), expected), 0, 1e-11);
        // Where the cache has no more precision, many queries are multiplied as bfloat16: 8 bits, squared. (Bytes with a scale for each 32 are farther from what they stand for than that.)
        double bound = (CacheFormat)format is CacheFormat.BF16 or CacheFormat.Q8 ? 1e-5 : 1e-11;
        Assert.InRange(Nmse(RunGrouped(free, (CacheFormat)format, heads, keyHeads, size, conversations), expected), 0, bound);
    }

    public static TheoryData<int, int, int, int, int, int, bool> LatentShapes => new()
    {
        { 4, 16, 8, 16, 32, 0, false }, { 4, 16, 8, 16, 32, 2, true }, { 3, 24, 16, 20, 40, 3, false }, { 3, 24, 16, 20, 40, 1, true }, { 16, 32, 16, 32, 128, 2, true }, { 130, 16, 8, 16, 256, 2, false },
        { 3, 32, 32, 48, 64, 2, false }, { 3, 32, 32, 48, 64, 2, true }, { 2, 30, 34, 37, 62, 2, true }, { 2, 32, 32, 37, 64, 2, false },
    };

    [Theory, MemberData(nameof(LatentShapes))]
    public void Latent_attention_equals_the_scalar_one(int heads, int nope, int rope, int value, int latent, int format, bool transposed)
    {
        // So many heads that one token's rows are several tiles, run over fewer tokens.
        Conversation[] conversations = heads > 100 ? [new(1, 259, 1)] : [new(1, 290, 1, 1), new(2, 1, 1, 1), new(3, 40, 5, 1)];
        using ReferenceBackend reference = new();
        using CpuBackend cpu = new(new CpuBackendOptions { Threads = 2, Reproducible = true }), free = new(new CpuBackendOptions { Threads = 2 });
        float[][] expected = RunLatent(reference, (CacheFormat)format, transposed, (heads, nope, rope, value, latent), conversations);
        Assert.InRange(Nmse(RunLatent(cpu, (CacheFormat)format, transposed, (heads, nope, rope, value, latent), conversations), expected), 0, 1e-11);
        double bound = (CacheFormat)format == CacheFormat.BF16 ? 2e-5 : 1e-11;
        Assert.InRange(Nmse(RunLatent(free, (CacheFormat)format, transposed, (heads, nope, rope, value, latent), conversations), expected), 0, bound);
    }

    [Theory, InlineData(CacheFormat.BF16), InlineData(CacheFormat.Q8)]
    public void Neither_threads_nor_batch_nor_chunking_change_a_bit(object format)
    {
        CacheFormat f = (CacheFormat)format;
        int[][] cuts = [[300], [256, 44], [7, 240, 1, 1, 1, 50], [299, 1]];
        using CpuBackend one = new(new CpuBackendOptions { Threads = 1, Reproducible = true });
        float[] expected = RunGrouped(one, f, 6, 2, 24, new Conversation(9, 300))[0];
        foreach (int threads in (int[])[1, 3])
        {
            using CpuBackend cpu = new(new CpuBackendOptions { Threads = threads, Reproducible = true });
            foreach (int[] pieces in cuts)
            {
                Assert.Equal(expected, RunGrouped(cpu, f, 6, 2, 24, new Conversation(9, pieces))[0]);
                Assert.Equal(expected, RunGrouped(cpu, f, 6, 2, 24, new Conversation(5, 260, 1), new Conversation(9, pieces), new Conversation(6, 1, 2, 3))[1]);
            }
        }
    }

    [Fact]
    public void Neither_threads_nor_batch_nor_chunking_change_a_bit_of_latent_attention()
    {
        (int, int, int, int, int) d = (4, 24, 16, 20, 48);
        int[][] cuts = [[280], [7, 260, 1, 12], [279, 1]];
        using CpuBackend one = new(new CpuBackendOptions { Threads = 1, Reproducible = true });
        float[] expected = RunLatent(one, CacheFormat.BF16, false, d, new Conversation(9, 280))[0];
        foreach (int threads in (int[])[1, 3])
        {
            using CpuBackend cpu = new(new CpuBackendOptions { Threads = threads, Reproducible = true });
            foreach (int[] pieces in cuts)
            {
                Assert.Equal(expected, RunLatent(cpu, CacheFormat.BF16, false, d, new Conversation(9, pieces))[0]);
                Assert.Equal(expected, RunLatent(cpu, CacheFormat.BF16, false, d, new Conversation(5, 260, 1), new Conversation(9, pieces), new Conversation(6, 1, 2, 3))[1]);
            }
        }
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Expanded_latent_attention_equals_the_absorbed_form(bool transposed)
    {
        // Sizes that are no multiples of 8, 16 or 32, and steps on both sides of a chunk's end.
        (int, int, int, int, int) d = (3, 20, 6, 37, 44);
        Conversation[] conversations = [new(1, 250, 40), new(2, 1, 60), new(3, 64)];
        using CpuBackend absorbed = new(new CpuBackendOptions { Threads = 2, Reproducible = true }), free = new(new CpuBackendOptions { Threads = 2 });
        float[][] expected = RunLatent(absorbed, CacheFormat.F32, transposed, d, conversations), actual = RunLatent(free, CacheFormat.F32, transposed, d, conversations);
        Assert.InRange(Nmse(actual, expected), double.Epsilon, 1e-11); // not equal: the other form did run
    }

    [Theory, InlineData(false, CacheFormat.F32), InlineData(true, CacheFormat.BF16), InlineData(false, CacheFormat.BF16)]
    public void What_is_no_number_stays_with_its_sequence(bool reproducible, object format)
    {
        AttentionSettings attention = new(2, 1, 32, 0.2f, 0, 1);
        using CpuBackend cpu = new(new CpuBackendOptions { Threads = 2, Reproducible = reproducible });
        float[] Attend(float poison)
        {
            using CacheStorage cache = cpu.CreateCache([new(0, "key", 32), new(0, "value", 32)], (CacheFormat)format, BlockTokens, 4);
            StepLayout step = new(40, 2, 4, BlockTokens);
            step.Add(new int[20], 0, [0, 2], 0);
            step.Add(new int[20], 0, [1, 3], 0);
            float[] k = Numbers(4, 40 * 32), v = Numbers(5, 40 * 32);
            k[20 * 32 + 3] = v[20 * 32 + 40] = poison;
            Tensor o = cpu.Rent(40, 64);
            cpu.Attend(o, Place(cpu, Numbers(6, 40 * 64), 40), Place(cpu, k, 40), Place(cpu, v, 40), attention, step, cache);
            return Take(cpu, o);
        }
        float[] clean = Attend(0.5f);
        foreach (float poison in (float[])[float.NaN, float.PositiveInfinity, float.NegativeInfinity, 1e38f])
        {
            float[] poisoned = Attend(poison);
            Assert.Equal(clean[..1280], poisoned[..1280]);
            if (float.IsNaN(poison)) Assert.All(poisoned[1280..], y => Assert.True(float.IsNaN(y)));
        }
    }
}
