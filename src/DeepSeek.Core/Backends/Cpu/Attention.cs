using DeepSeek.Backends.Cpu.Assembly;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>Grouped-query attention: keys and values are read once for all query heads of their group.</summary>
internal static class Attention
{
    public static void Run(WorkerPool pool, ScratchArena scratch, Tensor output, Tensor q, AttentionSettings a, StepLayout step, CpuCache cache,
        PanelKernel? brains)
        => TiledAttention.Run(pool, scratch, new AttentionShape(q.Address, q.Stride, output.Address, output.Stride, a.KeyHeads, a.QueryHeads / a.KeyHeads, a.HeadSize, a.HeadSize,
            a.Scale, a.KeyStream, a.ValueStream, FirstPosition: 0), step, cache, brains);
}
