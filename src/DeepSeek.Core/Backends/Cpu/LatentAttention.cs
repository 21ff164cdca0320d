using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>Latent attention in the absorbed form (spec 2.5): queries are taken to the latent space, where keys and values are the cache rows themselves.</summary>
internal static unsafe class LatentAttention
{
    public static void Run(WorkerPool pool, ScratchArena scratch, Tensor output, Tensor q, LatentAttentionSettings a, StepLayout step, CpuCache cache)
    {
        long mark = scratch.Mark();
        int width = a.LatentSize + a.RopeSize, queryRow = a.Heads * width, sumRow = a.Heads * a.LatentSize, rows = step.TokenCount;
        float* queries = (float*)scratch.Rent((long)rows * queryRow * sizeof(float)), sums = (float*)scratch.Rent((long)rows * sumRow * sizeof(float));
        int line = (Math.Max(a.LatentSize, a.NopeSize) + 31) & -16;
        float* lines = (float*)scratch.Rent((long)line * pool.ThreadCount * sizeof(float));
        pool.Run(new AbsorbWork(q, a, (nint)queries, queryRow, (nint)lines, line), a.Heads);
        TiledAttention.Run(pool, scratch, new AttentionShape((nint)queries, queryRow, (nint)sums, sumRow, KeyHeads: 1, a.Heads, width, a.LatentSize, a.Scale,
            a.Stream, a.Stream, a.FirstPosition), step, cache);
        pool.Run(new ValueWork(output, a, (nint)sums, sumRow, (nint)lines, line), a.Heads);
        scratch.Release(mark);
    }

    /// <summary>q̂ = [KeyUpᵀ·q_nope | q_pe] of one head, for all rows.</summary>
    private readonly struct AbsorbWork(Tensor q, LatentAttentionSettings a, nint queries, int queryRow, nint lines, int line) : IParallelWork
    {
        public void Execute(int head, int worker)
        {
            float* w = (float*)lines + (long)worker * line;
            CpuWeight keyUp = (CpuWeight)a.KeyUp[head];
            for (int t = 0; t < q.Rows; t++)
            {
                float* from = Elementwise.Row(q, t) + head * (a.NopeSize + a.RopeSize), to = (float*)queries + (long)t * queryRow + head * (a.LatentSize + a.RopeSize);
                if (!a.KeyUpTransposed) new Span<float>(to, a.LatentSize).Clear();
                for (int d = 0; d < a.RopeSize; d++) to[a.LatentSize + d] = from[a.NopeSize + d];
            }
            for (int r = 0; r < keyUp.Rows; r++)
            {
                keyUp.ReadRow(r, w);
                for (int t = 0; t < q.Rows; t++)
                {
                    float* from = Elementwise.Row(q, t) + head * (a.NopeSize + a.RopeSize), to = (float*)queries + (long)t * queryRow + head * (a.LatentSize + a.RopeSize);
                    if (a.KeyUpTransposed) to[r] = VectorMath.Dot(w, from, a.NopeSize);
                    else VectorMath.AddScaled(to, w, from[r], a.LatentSize);
                }
            }
        }
    }

    /// <summary>ValueUp·z of one head, for all rows.</summary>
    private readonly struct ValueWork(Tensor output, LatentAttentionSettings a, nint sums, int sumRow, nint lines, int line) : IParallelWork
    {
        public void Execute(int head, int worker)
        {
            float* w = (float*)lines + (long)worker * line;
            CpuWeight valueUp = (CpuWeight)a.ValueUp[head];
            for (int r = 0; r < a.ValueSize; r++)
            {
                valueUp.ReadRow(r, w);
                for (int t = 0; t < output.Rows; t++)
                    Elementwise.Row(output, t)[head * a.ValueSize + r] = VectorMath.Dot(w, (float*)sums + (long)t * sumRow + head * a.LatentSize, a.LatentSize);
            }
        }
    }
}
