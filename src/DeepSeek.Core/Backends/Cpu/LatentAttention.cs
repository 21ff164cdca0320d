using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>Latent attention in the absorbed form (spec 2.5): queries are taken to the latent space, where keys and values are the cache rows themselves.</summary>
internal static unsafe class LatentAttention
{
    public static void Run(WorkerPool pool, ScratchArena scratch, Tensor output, Tensor q, LatentAttentionSettings attention, StepLayout step, CpuCache cache)
    {
        int longest = 0;
        foreach (SequenceSlice s in step.Sequences) longest = Math.Max(longest, s.FirstPosition + s.RowCount);
        long mark = scratch.Mark();
        int stride = longest + 3 * (attention.LatentSize + attention.RopeSize);
        float* buffers = (float*)scratch.Rent((long)stride * pool.ThreadCount * sizeof(float));
        pool.Run(new Work(output, q, attention, step, cache, (nint)buffers, stride), step.TokenCount * attention.Heads);
        scratch.Release(mark);
    }

    private readonly struct Work(Tensor output, Tensor q, LatentAttentionSettings a, StepLayout step, CpuCache cache, nint buffers, int stride) : IParallelWork
    {
        public void Execute(int item, int worker)
        {
            int row = item / a.Heads, h = item % a.Heads, latent = a.LatentSize, width = latent + a.RopeSize;
            SequenceSlice sequence = default;
            foreach (SequenceSlice s in step.Sequences)
                if (row >= s.FirstRow && row < s.FirstRow + s.RowCount) sequence = s;
            int count = step.Positions[row] + 1;
            ReadOnlySpan<int> blocks = step.BlockTables[sequence.TableStart..];
            float* numbers = (float*)buffers + (long)worker * stride, absorbed = numbers + width, sum = absorbed + width, scores = sum + width;
            float* query = (float*)q.Address + (long)row * q.Stride + h * (a.NopeSize + a.RopeSize);
            float* result = (float*)output.Address + (long)row * output.Stride + h * a.ValueSize;
            PlainWeight keyUp = (PlainWeight)a.KeyUp[h], valueUp = (PlainWeight)a.ValueUp[h];

            new Span<float>(absorbed, latent).Clear();
            for (int r = 0; r < keyUp.Rows; r++)
            {
                keyUp.ReadRow(r, numbers);
                if (a.KeyUpTransposed) for (int n = 0; n < a.NopeSize; n++) absorbed[r] += numbers[n] * query[n];
                else for (int c = 0; c < latent; c++) absorbed[c] += numbers[c] * query[r];
            }
            for (int d = 0; d < a.RopeSize; d++) absorbed[latent + d] = query[a.NopeSize + d];
            for (int p = a.FirstPosition; p < count; p++)
            {
                CacheRows.Load(cache.Format, cache.Row(a.Stream, blocks[p / step.BlockTokens], p % step.BlockTokens), width, 0, width, numbers);
                float dot = 0;
                for (int d = 0; d < width; d++) dot += absorbed[d] * numbers[d];
                scores[p] = dot * a.Scale;
            }
            if (count > a.FirstPosition) Elementwise.Softmax(scores + a.FirstPosition, count - a.FirstPosition);
            new Span<float>(sum, latent).Clear();
            for (int p = a.FirstPosition; p < count; p++)
            {
                CacheRows.Load(cache.Format, cache.Row(a.Stream, blocks[p / step.BlockTokens], p % step.BlockTokens), width, 0, latent, numbers);
                for (int d = 0; d < latent; d++) sum[d] += scores[p] * numbers[d];
            }
            for (int r = 0; r < a.ValueSize; r++)
            {
                valueUp.ReadRow(r, numbers);
                float dot = 0;
                for (int d = 0; d < latent; d++) dot += numbers[d] * sum[d];
                result[r] = dot;
            }
        }
    }
}
