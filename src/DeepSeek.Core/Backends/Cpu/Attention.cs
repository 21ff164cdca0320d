using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>Grouped-query attention over the paged cache. One work item: one row and one key head with its query heads.</summary>
internal static unsafe class Attention
{
    public static void Run(WorkerPool pool, ScratchArena scratch, Tensor output, Tensor q, AttentionSettings attention, StepLayout step, CpuCache cache)
    {
        int longest = 0;
        foreach (SequenceSlice s in step.Sequences) longest = Math.Max(longest, s.FirstPosition + s.RowCount);
        long mark = scratch.Mark();
        int stride = longest * attention.QueryHeads / attention.KeyHeads + attention.HeadSize;
        float* buffers = (float*)scratch.Rent((long)stride * pool.ThreadCount * sizeof(float));
        pool.Run(new Work(output, q, attention, step, cache, (nint)buffers, stride), step.TokenCount * attention.KeyHeads);
        scratch.Release(mark);
    }

    private readonly struct Work(Tensor output, Tensor q, AttentionSettings a, StepLayout step, CpuCache cache, nint buffers, int stride) : IParallelWork
    {
        public void Execute(int item, int worker)
        {
            int row = item / a.KeyHeads, g = item % a.KeyHeads, group = a.QueryHeads / a.KeyHeads, size = a.HeadSize, width = size * a.KeyHeads;
            SequenceSlice sequence = default;
            foreach (SequenceSlice s in step.Sequences)
                if (row >= s.FirstRow && row < s.FirstRow + s.RowCount) sequence = s;
            int count = step.Positions[row] + 1;
            ReadOnlySpan<int> blocks = step.BlockTables[sequence.TableStart..];
            float* numbers = (float*)buffers + (long)worker * stride, scores = numbers + size;
            float* queries = (float*)q.Address + (long)row * q.Stride + g * group * size, results = (float*)output.Address + (long)row * output.Stride + g * group * size;
            for (int p = 0; p < count; p++)
            {
                CacheRows.Load(cache.Format, cache.Row(a.KeyStream, blocks[p / step.BlockTokens], p % step.BlockTokens), width, g * size, size, numbers);
                for (int h = 0; h < group; h++)
                {
                    float dot = 0;
                    for (int d = 0; d < size; d++) dot += queries[h * size + d] * numbers[d];
                    scores[h * count + p] = dot * a.Scale;
                }
            }
            for (int h = 0; h < group; h++) Elementwise.Softmax(scores + h * count, count);
            new Span<float>(results, group * size).Clear();
            for (int p = 0; p < count; p++)
            {
                CacheRows.Load(cache.Format, cache.Row(a.ValueStream, blocks[p / step.BlockTokens], p % step.BlockTokens), width, g * size, size, numbers);
                for (int h = 0; h < group; h++)
                    for (int d = 0; d < size; d++) results[h * size + d] += scores[h * count + p] * numbers[d];
            }
        }
    }
}
