using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;

namespace DeepSeek.Backends.Cpu;

/// <summary>Work that is cut into items, which the pool's threads execute in any order. A struct: dispatching it allocates nothing.</summary>
internal interface IParallelWork
{
    /// <summary>Executes one item.</summary>
    /// <param name="item">From 0.</param>
    /// <param name="worker">Who executes it, from 0 (the caller) to <see cref="WorkerPool.ThreadCount"/> − 1: the index of a private scratch area.</param>
    void Execute(int item, int worker);
}

/// <summary>
/// A fixed set of threads that execute parallel loops together with the caller. Items are handed out one by one, so a thread that is held up (other processes use
/// the processor too) takes fewer of them. Idle threads spin for a moment, because the next loop of a forward pass follows at once, and then park.
/// Any thread may call <see cref="Run{TWork}"/>: loops of different callers take turns. A loop never starts another one.
/// </summary>
internal sealed unsafe class WorkerPool : IDisposable
{
    /// <summary>How long an idle thread looks for work before it parks.</summary>
    private static readonly long SpinTicks = Stopwatch.Frequency / 20_000; // 50 µs

    private readonly Thread[] threads;
    private readonly SemaphoreSlim parking = new(0);
    private readonly Lock turn = new();

    // The loop at hand. 'state' holds its number (high half) and its unclaimed items (low half) in one word: an item is claimed by one compare-and-swap, and
    // who has claimed one keeps the loop alive, hence may read the other fields. Nobody reads them before.
    private Line state, done;
    private delegate*<void*, int, int, void> body;
    private void* context;
    private int total;
    private Exception? failure;
    private int parked;
    private bool stopping;

    /// <summary>A counter that shares its cache line with nothing else.</summary>
    [System.Runtime.InteropServices.StructLayout(System.Runtime.InteropServices.LayoutKind.Explicit, Size = 128)]
    private struct Line
    {
        [System.Runtime.InteropServices.FieldOffset(64)] public long Value;
    }

    /// <param name="threadCount">Threads of a loop, the caller included; at least 1.</param>
    public WorkerPool(int threadCount)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threadCount, 1);
        threads = new Thread[threadCount - 1];
        for (int i = 0; i < threads.Length; i++)
        {
            int worker = i + 1;
            threads[i] = new Thread(() => Work(worker)) { IsBackground = true, Name = $"DeepSeek worker {worker}" };
            threads[i].Start();
        }
    }

    /// <summary>Threads of a loop, the caller included.</summary>
    public int ThreadCount => threads.Length + 1;

    /// <summary>Executes items 0 … count − 1 and returns when all are done. The first exception that an item throws is rethrown then; items not yet begun are left out.</summary>
    public void Run<TWork>(TWork work, int count) where TWork : struct, IParallelWork
    {
        if (count <= 0) return;
        if (threads.Length == 0 || count == 1)
        {
            for (int i = 0; i < count; i++) work.Execute(i, 0);
            return;
        }
        // The work lies on this stack frame, which outlives the loop; the collector knows the frame, so references in it stay valid for the other threads.
        lock (turn) Loop(&Invoke<TWork>, Unsafe.AsPointer(ref work), count);
    }

    private static void Invoke<TWork>(void* work, int item, int worker) where TWork : struct, IParallelWork => Unsafe.AsRef<TWork>(work).Execute(item, worker);

    private void Loop(delegate*<void*, int, int, void> loopBody, void* loopContext, int count)
    {
        ObjectDisposedException.ThrowIf(stopping, this);
        body = loopBody;
        context = loopContext;
        total = count;
        Volatile.Write(ref done.Value, 0);
        long number = (Volatile.Read(ref state.Value) >>> 32) + 1;
        Interlocked.Exchange(ref state.Value, (number << 32) | (uint)count);
        int sleepers = Volatile.Read(ref parked);
        if (sleepers > 0) parking.Release(Math.Min(sleepers, count - 1));

        Drain(0);
        for (int spins = 0; Volatile.Read(ref done.Value) != count; spins++) Pause(spins);
        if (failure is { } e)
        {
            failure = null;
            ExceptionDispatchInfo.Throw(e);
        }
    }

    /// <summary>Claims and executes items until none is left.</summary>
    private void Drain(int worker)
    {
        int executed = 0;
        for (long seen = Volatile.Read(ref state.Value); (uint)seen != 0;)
        {
            long before = Interlocked.CompareExchange(ref state.Value, seen - 1, seen);
            if (before != seen)
            {
                seen = before;
                continue;
            }
            try
            {
                if (Volatile.Read(ref failure) is null) body(context, total - (int)(uint)seen, worker);
            }
            catch (Exception e)
            {
                Interlocked.CompareExchange(ref failure, e, null);
            }
            executed++;
            seen = Volatile.Read(ref state.Value);
            // The loop cannot end before what was executed is counted, so 'seen' still belongs to it.
        }
        if (executed > 0) Interlocked.Add(ref done.Value, executed);
    }

    private void Work(int worker)
    {
        while (!Volatile.Read(ref stopping))
        {
            Drain(worker);
            long until = Stopwatch.GetTimestamp() + SpinTicks;
            for (int spins = 0; !HasWork; spins++)
            {
                if (Stopwatch.GetTimestamp() < until)
                {
                    Pause(spins);
                    continue;
                }
                Interlocked.Increment(ref parked);
                // Whoever publishes after this line sees the counter, whoever published before it is seen here.
                if (!HasWork) parking.Wait();
                Interlocked.Decrement(ref parked);
                break;
            }
        }
    }

    private bool HasWork => (uint)Volatile.Read(ref state.Value) != 0 || Volatile.Read(ref stopping);

    /// <summary>Waits a little; gives the processor to others now and then, because they may be who is waited for.</summary>
    private static void Pause(int spins)
    {
        if ((spins & 31) == 31) Thread.Yield();
        else Thread.SpinWait(4);
    }

    /// <summary>Ends the threads and waits for them. No loop may be running.</summary>
    public void Dispose()
    {
        lock (turn)
        {
            if (stopping) return;
            Volatile.Write(ref stopping, true);
        }
        if (threads.Length > 0) parking.Release(threads.Length);
        foreach (Thread thread in threads) thread.Join();
        parking.Dispose();
    }
}
