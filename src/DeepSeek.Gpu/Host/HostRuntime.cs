using System.Runtime.ExceptionServices;
using DeepSeek.Gpu.Kernels;

namespace DeepSeek.Gpu.Host;

/// <summary>
/// Runs kernels on the processor, group by group: for tests, on every machine. Groups of one item are plain calls; larger ones get a thread an item and real barriers, so that a kernel
/// that needs a barrier and has none shows. Small groups, in either case: this is for correctness.
/// </summary>
internal sealed class HostRuntime : GpuRuntime<HostThread, HostMemory>
{
    private readonly HostItems? items;
    private readonly HostGroup single = new(1, 1);

    /// <param name="edge">Edge of the groups of matrix products; groups over rows have its square of items.</param>
    /// <param name="lanes">Items of a warp; divides the square.</param>
    public HostRuntime(int edge = 1, int lanes = 1)
    {
        (TileEdge, Lanes) = (edge, lanes);
        if (edge > 1) items = new HostItems(edge * edge, lanes);
    }

    public override string Name => "host";

    public override string Description => $"kernels of the GPU package on the processor, groups of {GroupItems}, warps of {Lanes}";

    public override int Lanes { get; }

    public override int GroupItems => TileEdge * TileEdge;

    public override int TileEdge { get; }

    public override int SharedWords => 12 << 10;

    public override int BusyGroups => 16;

    public override GpuBuffer<HostMemory> Allocate(long bytes) => new HostBuffer(bytes);

    public override void Launch<TKernel>(in TKernel kernel, int groups, int items, int sharedWords)
    {
        if (items != 1)
        {
            this.items!.Run(kernel, groups, items, sharedWords);
            return;
        }
        single.Share(sharedWords);
        for (int group = 0; group < groups; group++)
        {
            Array.Fill(single.Memory, 0xFFFFFFFF);
            kernel.Run(new HostThread(single, group, 0));
        }
    }

    public override void Synchronise()
    {
        // A launch has ended when it returns.
    }

    public override void Dispose() => items?.Dispose();
}

/// <summary>A thread for each item of a group. They run one group after the other, all at the same time, and meet at its end.</summary>
internal sealed class HostItems : IDisposable
{
    private readonly HostGroup shared;
    private readonly Thread[] threads;
    private readonly SemaphoreSlim[] start;
    private readonly CountdownEvent ended;
    private Action<int>? work;
    private ExceptionDispatchInfo? failure;

    public HostItems(int items, int lanes)
    {
        shared = new HostGroup(items, lanes);
        start = [.. Enumerable.Range(0, items).Select(_ => new SemaphoreSlim(0))];
        ended = new CountdownEvent(items);
        threads = [.. Enumerable.Range(0, items).Select(i => new Thread(() => Loop(i)) { IsBackground = true, Name = $"GPU kernel item {i}" })];
        foreach (Thread t in threads) t.Start();
    }

    public void Run<TKernel>(TKernel kernel, int groups, int items, int sharedWords) where TKernel : struct, IKernel<HostThread>
    {
        if (items != shared.Items) throw new InvalidOperationException($"The host runs groups of 1 or of {shared.Items} items, not of {items}.");
        shared.Share(sharedWords);
        work = item =>
        {
            for (int group = 0; group < groups; group++)
            {
                if (item == 0) Array.Fill(shared.Memory, 0xFFFFFFFF);
                shared.Barrier.Wait(HostBarrier.AtEnd);
                kernel.Run(new HostThread(shared, group, item));
                shared.Barrier.Wait(HostBarrier.AtEnd);
            }
        };
        ended.Reset();
        foreach (SemaphoreSlim s in start) s.Release();
        ended.Wait();
        failure?.Throw();
    }

    public void Dispose()
    {
        work = null;
        foreach (SemaphoreSlim s in start) s.Release();
        foreach (Thread t in threads) t.Join();
        foreach (SemaphoreSlim s in start) s.Dispose();
        ended.Dispose();
    }

    private void Loop(int item)
    {
        while (true)
        {
            start[item].Wait();
            if (work is not { } run) return;
            try
            {
                run(item);
            }
            catch (Exception e)
            {
                if (e is not OperationCanceledException) failure ??= ExceptionDispatchInfo.Capture(e);
                shared.Abort();
            }
            ended.Signal();
        }
    }
}
