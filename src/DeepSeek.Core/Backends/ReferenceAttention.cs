using DeepSeek.Tensors;

namespace DeepSeek.Backends;

/// <summary>Attention as the papers write it: every score, softmax over them, the weighted sum of values, in float64.</summary>
internal static unsafe class ReferenceAttention
{
    /// <summary>Grouped-query attention (spec 2.3) of one sequence's rows over its cache rows.</summary>
    public static void Grouped(Tensor output, Tensor q, AttentionSettings attention, StepLayout step, in SequenceSlice sequence, ReferenceCache cache)
    {
        int size = attention.HeadSize, shared = attention.QueryHeads / attention.KeyHeads, width = attention.KeyHeads * size;
        float[][] keys = ReadRows(cache, attention.KeyStream, width, step, sequence), values = ReadRows(cache, attention.ValueStream, width, step, sequence);
        for (int row = 0; row < sequence.RowCount; row++)
            for (int h = 0; h < attention.QueryHeads; h++)
            {
                int first = h / shared * size;
                Attend(Row(output, sequence.FirstRow + row).Slice(h * size, size), Row(q, sequence.FirstRow + row).Slice(h * size, size),
                    keys, first, values, first, 0, sequence.FirstPosition + row, attention.Scale);
            }
    }

    /// <summary>Latent attention (spec 2.4, un-absorbed): each head's keys and values are made from the latents, then it attends as usual.</summary>
    public static void Latent(Tensor output, Tensor q, LatentAttentionSettings attention, StepLayout step, in SequenceSlice sequence, ReferenceCache cache)
    {
        int n = attention.NopeSize, r = attention.RopeSize, v = attention.ValueSize, c = attention.LatentSize;
        float[][] latents = ReadRows(cache, attention.Stream, c + r, step, sequence);
        for (int h = 0; h < attention.Heads; h++)
        {
            float[][] keyUp = ReferenceBackend.ReadMatrix(attention.KeyUp[h].Source), valueUp = ReferenceBackend.ReadMatrix(attention.ValueUp[h].Source);
            if (attention.KeyUpTransposed) keyUp = Transpose(keyUp);
            var keys = new float[latents.Length][];
            var values = new float[latents.Length][];
            for (int s = attention.FirstPosition; s < latents.Length; s++)
            {
                ReadOnlySpan<float> latent = latents[s].AsSpan(0, c);
                float[] key = keys[s] = new float[n + r], value = values[s] = new float[v];
                for (int i = 0; i < n; i++) key[i] = (float)ReferenceBackend.Dot(keyUp[i], latent);
                for (int i = 0; i < r; i++) key[n + i] = latents[s][c + i];
                for (int i = 0; i < v; i++) value[i] = (float)ReferenceBackend.Dot(valueUp[i], latent);
            }
            for (int row = 0; row < sequence.RowCount; row++)
                Attend(Row(output, sequence.FirstRow + row).Slice(h * v, v), Row(q, sequence.FirstRow + row).Slice(h * (n + r), n + r),
                    keys, 0, values, 0, attention.FirstPosition, sequence.FirstPosition + row, attention.Scale);
        }
    }

    /// <summary>One query of one head over cache rows [from, position].</summary>
    private static void Attend(Span<float> output, ReadOnlySpan<float> q, float[][] keys, int keyFirst, float[][] values, int valueFirst, int from, int position, float scale)
    {
        var p = new double[position + 1];
        double max = double.NegativeInfinity, sum = 0;
        for (int s = from; s <= position; s++)
        {
            p[s] = ReferenceBackend.Dot(q, keys[s].AsSpan(keyFirst, q.Length)) * scale;
            max = Math.Max(max, p[s]);
        }
        for (int s = from; s <= position; s++) sum += p[s] = Math.Exp(p[s] - max);
        var z = new double[output.Length];
        for (int s = from; s <= position; s++)
        {
            ReadOnlySpan<float> v = values[s].AsSpan(valueFirst, z.Length);
            for (int i = 0; i < z.Length; i++) z[i] += p[s] * v[i];
        }
        for (int i = 0; i < z.Length; i++) output[i] = (float)(z[i] / sum);
    }

    /// <summary>A sequence's cache rows from position 0 up to its last row in the step.</summary>
    private static float[][] ReadRows(ReferenceCache cache, int stream, int width, StepLayout step, in SequenceSlice sequence)
    {
        var rows = new float[sequence.FirstPosition + sequence.RowCount][];
        for (int s = 0; s < rows.Length; s++)
            cache.Read(stream, step.BlockTables[sequence.TableStart + s / cache.BlockTokens], s % cache.BlockTokens, rows[s] = new float[width]);
        return rows;
    }

    private static float[][] Transpose(float[][] x) => [.. Enumerable.Range(0, x[0].Length).Select(c => x.Select(row => row[c]).ToArray())];

    private static Span<float> Row(Tensor x, int row) => ReferenceBackend.Row(x, row);
}
