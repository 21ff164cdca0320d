using System.Runtime.InteropServices;
using DeepSeek.Backends;
using DeepSeek.Backends.Cpu;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Backends.Cpu;

/// <summary>Once warm, a step allocates no managed memory, neither on the caller's thread nor on the workers'.</summary>
public sealed unsafe class AllocationTests : IDisposable
{
    private const int Threads = 2;
    private readonly CpuBackend backend = new(new CpuBackendOptions { Threads = Threads });
    private readonly List<nint> memory = [];

    /// <summary>Every thread of the pool says once how much it has allocated.</summary>
    private readonly struct Ask(long[] allocated, int[] arrived) : IParallelWork
    {
        public void Execute(int item, int worker)
        {
            allocated[worker] = GC.GetAllocatedBytesForCurrentThread();
            Interlocked.Increment(ref arrived[0]);
            while (Volatile.Read(ref arrived[0]) < Threads) Thread.Yield();
        }
    }

    public void Dispose()
    {
        backend.Dispose();
        foreach (nint p in memory) NativeMemory.Free((void*)p);
    }

    private DeviceWeight Weight(int rows, int columns, WeightRole role)
    {
        memory.Add((nint)NativeMemory.AllocZeroed((nuint)(4 * rows * columns)));
        return backend.Prepare(new Weight("w", DType.F32, rows, columns, memory[^1]), role);
    }

    // The runtime counts what is left of a thread's allocation buffer as allocated when another test's collection takes the buffer away, so one window may show
    // bytes that nobody asked for. What a step itself allocates shows in every window.
    private void Check(Action step)
    {
        long[] before = new long[Threads], after = new long[Threads];
        for (int i = 0; i < 60; i++) step();
        long caller = long.MaxValue, worker = long.MaxValue;
        for (int window = 0; window < 20 && (caller, worker) != (0, 0); window++)
        {
            backend.Pool.Run(new Ask(before, new int[1]), Threads);
            int[] arrived = new int[1];
            long start = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 50; i++) step();
            caller = Math.Min(caller, GC.GetAllocatedBytesForCurrentThread() - start);
            backend.Pool.Run(new Ask(after, arrived), Threads);
            worker = Math.Min(worker, after[1] - before[1]);
        }
        Assert.Equal((0, 0), (caller, worker));
    }

    [Theory, InlineData(1, 70), InlineData(1, 700), InlineData(40, 300)]
    public void Grouped_attention_and_elementwise_operations_allocate_nothing(int rows, int context)
    {
        const int heads = 6, keyHeads = 2, size = 32;
        AttentionSettings attention = new(heads, keyHeads, size, 0.2f, 0, 1);
        using CacheStorage cache = backend.CreateCache([new(0, "key", keyHeads * size), new(0, "value", keyHeads * size)], CacheFormat.BF16, 16, 64);
        StepLayout step = new(rows, 1, 64, 16);
        step.Add(new int[rows], context - rows, [.. Enumerable.Range(0, 64)], 1);
        RotarySettings rotary = new([1, 0.5, 0.25, 0.1], 1, RotaryPairs.HalfSplit);
        DeviceWeight gain = Weight(1, size, WeightRole.Vector);
        Check(() =>
        {
            long mark = backend.Mark();
            Tensor q = backend.Rent(rows, heads * size), k = backend.Rent(rows, keyHeads * size), v = backend.Rent(rows, keyHeads * size), o = backend.Rent(rows, heads * size);
            Tensor factors = backend.Rent(rows, rotary.Size);
            backend.RmsNorm(q, o, gain, 1e-6f);
            backend.RotaryFactors(factors, rotary, step);
            backend.Rotate(q, factors, rotary, size, 0);
            backend.SiluMultiply(k, v);
            backend.Add(q, o);
            backend.Attend(o, q, k, v, attention, step, cache);
            backend.Release(mark);
        });
    }

    [Theory, InlineData(1, 300), InlineData(40, 300)]
    public void Latent_attention_allocates_nothing(int rows, int context)
    {
        const int heads = 4, nope = 16, rope = 8, value = 16, latent = 32;
        LatentAttentionSettings attention = new(heads, nope, rope, value, latent, 0.2f, 0, [.. Enumerable.Range(0, heads).Select(_ => Weight(nope, latent, WeightRole.Matrix))], false,
            [.. Enumerable.Range(0, heads).Select(_ => Weight(value, latent, WeightRole.Matrix))]);
        using CacheStorage cache = backend.CreateCache([new(0, "latent", latent + rope)], CacheFormat.BF16, 16, 64);
        StepLayout step = new(rows, 1, 64, 16);
        step.Add(new int[rows], context - rows, [.. Enumerable.Range(0, 64)], 1);
        Check(() =>
        {
            long mark = backend.Mark();
            Tensor q = backend.Rent(rows, heads * (nope + rope)), c = backend.Rent(rows, latent + rope), o = backend.Rent(rows, heads * value);
            backend.AttendLatent(o, q, c, attention, step, cache);
            backend.Release(mark);
        });
    }
}
