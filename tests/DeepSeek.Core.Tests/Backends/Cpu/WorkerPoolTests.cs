using DeepSeek.Backends.Cpu;

namespace DeepSeek.Core.Tests.Backends.Cpu;

public sealed class WorkerPoolTests
{
    private readonly struct Count(int[] hits, int[] workers) : IParallelWork
    {
        public void Execute(int item, int worker)
        {
            Interlocked.Increment(ref hits[item]);
            Interlocked.Increment(ref workers[worker]);
        }
    }

    private readonly struct Fail(int at) : IParallelWork
    {
        public void Execute(int item, int worker)
        {
            if (item == at) throw new InvalidDataException($"item {item}");
        }
    }

    [Theory, InlineData(1), InlineData(2), InlineData(5)]
    public void Every_item_is_executed_exactly_once_in_a_hundred_thousand_loops(int threads)
    {
        using WorkerPool pool = new(threads);
        int[] hits = new int[40], workers = new int[threads];
        long expected = 0;
        for (int loop = 0; loop < 100_000; loop++)
        {
            int count = loop % 7 == 0 ? loop % 40 : loop % 5;
            Array.Clear(hits);
            pool.Run(new Count(hits, workers), count);
            expected += count;
            for (int i = 0; i < hits.Length; i++)
                if (hits[i] != (i < count ? 1 : 0)) Assert.Fail($"loop {loop}: item {i} of {count} was executed {hits[i]} times");
        }
        Assert.Equal(expected, workers.Sum(w => (long)w));
    }

    [Theory, InlineData(1), InlineData(3)]
    public void An_exception_reaches_the_caller_and_the_pool_lives_on(int threads)
    {
        using WorkerPool pool = new(threads);
        int[] hits = new int[100], workers = new int[threads];
        for (int i = 0; i < 300; i++)
        {
            int at = i % 100;
            Assert.Equal($"item {at}", Assert.Throws<InvalidDataException>(() => pool.Run(new Fail(at), 100)).Message);
        }
        pool.Run(new Count(hits, workers), 100);
        Assert.All(hits, h => Assert.Equal(1, h));
    }

    [Fact]
    public void Parked_threads_wake_and_disposal_ends_them()
    {
        int[] hits = new int[64], workers = new int[4];
        for (int round = 0; round < 20; round++)
        {
            using WorkerPool pool = new(4);
            Thread.Sleep(round % 3); // sometimes long enough for the threads to park
            pool.Run(new Count(hits, workers), 64);
        }
        Assert.All(hits, h => Assert.Equal(20, h));
        WorkerPool ended = new(2);
        ended.Dispose();
        ended.Dispose();
        Assert.Throws<ObjectDisposedException>(() => ended.Run(new Count(hits, workers), 2));
    }

    [Fact]
    public void Loops_of_several_callers_take_turns()
    {
        using WorkerPool pool = new(3);
        Thread[] callers = new Thread[4];
        int[][] hits = new int[callers.Length][];
        for (int c = 0; c < callers.Length; c++)
        {
            int[] mine = hits[c] = new int[16];
            callers[c] = new Thread(() =>
            {
                for (int i = 0; i < 2_000; i++) pool.Run(new Count(mine, new int[3]), 16);
            });
            callers[c].Start();
        }
        foreach (Thread caller in callers) caller.Join();
        Assert.All(hits, h => Assert.All(h, n => Assert.Equal(2_000, n)));
    }

    [Fact]
    public void A_loop_allocates_nothing()
    {
        using WorkerPool pool = new(2);
        int[] hits = new int[16], workers = new int[2];
        for (int i = 0; i < 1_000; i++) pool.Run(new Count(hits, workers), 16);
        long least = long.MaxValue;
        for (int round = 0; round < 20 && least > 0; round++) // another test's collection may take this thread's allocation buffer away, which counts as allocated
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 1_000; i++) pool.Run(new Count(hits, workers), 16);
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }
        Assert.Equal(0, least);
    }

    [Fact]
    public void Processor_lists_are_read()
    {
        Assert.Equal([0, 1, 2, 3, 8, 10, 11], ProcessorTopology.ParseList(" 0-3,8,10-11\n"));
        Assert.Empty(ProcessorTopology.ParseList("x,-"));
        Assert.InRange(ProcessorTopology.UsableCores(), 1, Environment.ProcessorCount);
    }
}
