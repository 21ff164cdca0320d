using System.Numerics;
using DeepSeek.Gpu.Kernels;

namespace DeepSeek.Gpu.Host;

/// <summary>An item of a group on the host: a real thread, or a call where groups have one item.</summary>
internal readonly struct HostThread(HostGroup shared, int group, int item) : IThread
{
    public int Group => group;

    public int Item => item;

    public int Items => shared.Items;

    public int Lane => item % shared.Lanes;

    public int Lanes => shared.Lanes;

    public void Barrier()
    {
        if (shared.Items > 1) shared.Barrier.Wait(HostBarrier.InKernel);
    }

    public float SumLanes(float value)
    {
        if (shared.Lanes == 1) return value;
        float sum = 0;
        foreach (float lane in shared.Exchange(item, value)) sum += lane;
        shared.EndExchange(item);
        return sum;
    }

    public float MaxLanes(float value)
    {
        if (shared.Lanes == 1) return value;
        float max = value;
        foreach (float lane in shared.Exchange(item, value)) max = Math.Max(max, lane);
        shared.EndExchange(item);
        return max;
    }

    public float Shared(int i) => BitConverter.UInt32BitsToSingle(shared.Memory[i]);

    public void SetShared(int i, float value) => shared.Memory[i] = BitConverter.SingleToUInt32Bits(value);

    public uint SharedWord(int i) => shared.Memory[i];

    public void SetSharedWord(int i, uint value) => shared.Memory[i] = value;

    public int Dot4(uint a, uint b, int c) => Portable.Dot4(a, b, c);

    public uint Permute(uint a, uint b, uint selector) => Portable.Permute(a, b, selector);

    public float Fma(float a, float b, float c) => MathF.FusedMultiplyAdd(a, b, c);

    public float Sqrt(float x) => MathF.Sqrt(x);

    public float AsFloat(uint bits) => BitConverter.UInt32BitsToSingle(bits);

    public uint AsWord(float x) => BitConverter.SingleToUInt32Bits(x);
}

/// <summary>What the items of a group share.</summary>
internal sealed class HostGroup(int items, int lanes)
{
    private readonly float[] exchange = new float[items];
    private readonly Dictionary<int, uint[]> memories = [];
    private readonly HostBarrier[] warps = [.. Enumerable.Range(0, items / lanes).Select(_ => new HostBarrier(lanes))];

    public int Items { get; } = items;

    public int Lanes { get; } = lanes;

    public HostBarrier Barrier { get; } = new(items);

    /// <summary>Shared memory, of exactly the length that the launch asked for: what is beyond fails.</summary>
    public uint[] Memory { get; private set; } = [];

    /// <summary>Gets shared memory of a length ready.</summary>
    public void Share(int words)
    {
        if (Memory.Length == words) return;
        if (!memories.TryGetValue(words, out uint[]? memory)) memories.Add(words, memory = new uint[words]);
        Memory = memory;
    }

    /// <summary>Hands a lane's value to its warp, and the warp's values to the lane.</summary>
    public ReadOnlySpan<float> Exchange(int item, float value)
    {
        exchange[item] = value;
        warps[item / Lanes].Wait(HostBarrier.InKernel);
        return exchange.AsSpan(item / Lanes * Lanes, Lanes);
    }

    /// <summary>All lanes have read.</summary>
    public void EndExchange(int item) => warps[item / Lanes].Wait(HostBarrier.InKernel);

    /// <summary>Lets nobody wait any longer: an item has failed.</summary>
    public void Abort()
    {
        Barrier.Abort();
        foreach (HostBarrier warp in warps) warp.Abort();
    }
}

/// <summary>
/// A barrier that is passed when all have come. Those who come say where from: items that wait at different places (one in the kernel, one behind its end) are an error in the kernel,
/// which on a device would hang or worse.
/// </summary>
internal sealed class HostBarrier(int count)
{
    public const int InKernel = 1, AtEnd = 2;
    private int arrived, places, generation;
    private volatile bool aborted;

    public void Wait(int place)
    {
        int mine = Volatile.Read(ref generation);
        Interlocked.Or(ref places, place);
        if (Interlocked.Increment(ref arrived) == count)
        {
            bool same = BitOperations.IsPow2(places);
            (arrived, places) = (0, 0);
            Volatile.Write(ref generation, mine + 1);
            if (!same) throw new InvalidOperationException("Items of a group wait at different places: a barrier is in code that not all of them come to.");
            return;
        }
        for (var spin = new SpinWait(); Volatile.Read(ref generation) == mine; spin.SpinOnce(sleep1Threshold: -1))
            if (aborted) throw new OperationCanceledException("Another item of the group failed.");
    }

    public void Abort() => aborted = true;
}
