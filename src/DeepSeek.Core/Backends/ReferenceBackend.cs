using System.Runtime.InteropServices;
using DeepSeek.Tensors;

namespace DeepSeek.Backends;

/// <summary>
/// The scalar backend: the specification of every operation and the oracle that the others are tested against. Single-threaded; activations in float32, sums in
/// float64; weights are read row by row in their stored form. Nothing here is fast, and nothing should be.
/// </summary>
internal sealed unsafe class ReferenceBackend : Backend
{
    private readonly Dictionary<(Weight Weight, WeightRole Role), DeviceWeight> prepared = [];
    private readonly Stack<nint> scratch = [];

    public override string Name => "reference";

    public override string Description => "scalar, one thread, float32 activations with float64 sums";

    public override CacheFormat PreferredCache => CacheFormat.F32;

    public override double OperationsPerSecond => 2e8;

    public override long PreparedBytes => 0;

    public override DeviceWeight Prepare(Weight weight, WeightRole role)
    {
        if (!prepared.TryGetValue((weight, role), out DeviceWeight? result)) prepared[(weight, role)] = result = new ReferenceWeight(weight, role);
        return result;
    }

    public override CacheStorage CreateCache(IReadOnlyList<CacheStream> streams, CacheFormat format, int blockTokens, int blockCount)
        => new ReferenceCache(streams, format, blockTokens, blockCount);

    // ---- memory: every tensor is an allocation of its own, filled with NaN so that a number read before it was written shows

    public override Tensor Rent(int rows, int columns)
    {
        nint address = (nint)NativeMemory.AlignedAlloc((nuint)((long)rows * columns * sizeof(float)), 64);
        scratch.Push(address);
        var x = new Tensor(address, rows, columns, columns);
        for (int t = 0; t < rows; t++) Row(x, t).Fill(float.NaN);
        return x;
    }

    public override long Mark() => scratch.Count;

    public override void Release(long mark)
    {
        while (scratch.Count > mark) NativeMemory.AlignedFree((void*)scratch.Pop());
    }

    public override void Read(Tensor x, Span<float> destination)
    {
        for (int t = 0; t < x.Rows; t++) Row(x, t).CopyTo(destination.Slice(t * x.Columns, x.Columns));
    }

    public override void Write(Tensor x, ReadOnlySpan<float> source)
    {
        for (int t = 0; t < x.Rows; t++) source.Slice(t * x.Columns, x.Columns).CopyTo(Row(x, t));
    }

    public override void Dispose() => Release(0);

    // ---- primitives

    public override void Embed(Tensor y, DeviceWeight table, ReadOnlySpan<int> tokens)
    {
        for (int t = 0; t < tokens.Length; t++) Dequantise.Row(table.Source, tokens[t], Row(y, t));
    }

    public override void Gather(Tensor y, Tensor x, ReadOnlySpan<int> rows)
    {
        for (int i = 0; i < rows.Length; i++) Row(x, rows[i]).CopyTo(Row(y, i));
    }

    public override void RmsNorm(Tensor y, Tensor x, DeviceWeight gain, float epsilon)
    {
        float[] g = ReadVector(gain);
        for (int t = 0; t < x.Rows; t++)
            for (int first = 0; first < x.Columns; first += g.Length)
            {
                Span<float> from = Row(x, t).Slice(first, g.Length), to = Row(y, t).Slice(first, g.Length);
                double squares = 0;
                foreach (float value in from) squares += (double)value * value;
                double factor = 1 / Math.Sqrt(squares / g.Length + epsilon);
                for (int i = 0; i < g.Length; i++) to[i] = (float)(g[i] * (from[i] * factor));
            }
    }

    public override void MatMul(Tensor y, Tensor x, DeviceWeight weight, DeviceWeight? bias = null, bool accumulate = false)
    {
        float[] row = new float[weight.Columns], b = bias is null ? [] : ReadVector(bias);
        for (int r = 0; r < weight.Rows; r++)
        {
            Dequantise.Row(weight.Source, r, row);
            for (int t = 0; t < x.Rows; t++)
            {
                double sum = Dot(row, Row(x, t)) + (bias is null ? 0 : b[r]);
                ref float result = ref Row(y, t)[r];
                result = (float)(accumulate ? result + sum : sum);
            }
        }
    }

    public override void Add(Tensor y, Tensor x)
    {
        for (int t = 0; t < x.Rows; t++)
            for (int i = 0; i < x.Columns; i++) Row(y, t)[i] += Row(x, t)[i];
    }

    public override void SiluMultiply(Tensor gate, Tensor up)
    {
        for (int t = 0; t < gate.Rows; t++)
        {
            Span<float> g = Row(gate, t), u = Row(up, t);
            for (int i = 0; i < g.Length; i++) g[i] = (float)(g[i] / (1 + Math.Exp(-(double)g[i])) * u[i]);
        }
    }

    public override void RotaryFactors(Tensor factors, RotarySettings rotary, StepLayout step)
    {
        int pairs = rotary.Frequencies.Length;
        for (int t = 0; t < step.TokenCount; t++)
            for (int i = 0; i < pairs; i++)
            {
                double angle = step.Positions[t] * rotary.Frequencies[i];
                Row(factors, t)[i] = (float)(Math.Cos(angle) * rotary.Magnitude);
                Row(factors, t)[pairs + i] = (float)(Math.Sin(angle) * rotary.Magnitude);
            }
    }

    public override void Rotate(Tensor x, Tensor factors, RotarySettings rotary, int headSize, int offset)
    {
        int pairs = rotary.Frequencies.Length;
        for (int t = 0; t < x.Rows; t++)
            for (int head = 0; head < x.Columns; head += headSize)
            {
                Span<float> z = Row(x, t).Slice(head + offset, 2 * pairs), factor = Row(factors, t);
                for (int i = 0; i < pairs; i++)
                {
                    (int a, int b) = rotary.Pairs == RotaryPairs.Interleaved ? (2 * i, 2 * i + 1) : (i, i + pairs);
                    double u = z[a], v = z[b], cos = factor[i], sin = factor[pairs + i];
                    z[a] = (float)(u * cos - v * sin);
                    z[b] = (float)(u * sin + v * cos);
                }
            }
    }

    public override void RoutedExperts(Tensor y, Tensor x, ExpertWeights experts)
    {
        RouterSettings settings = experts.Settings;
        int top = settings.TopK;
        var chosen = new int[x.Rows * top];
        var weights = new float[x.Rows * top];
        var numbers = new float[Routing.ScratchLength(settings)];
        float[] bias = experts.CorrectionBias is null ? [] : ReadVector(experts.CorrectionBias);
        long mark = Mark();
        Tensor logits = Rent(x.Rows, settings.ExpertCount);
        MatMul(logits, x, experts.Router);
        for (int t = 0; t < x.Rows; t++) Routing.Choose(settings, Row(logits, t), bias, chosen.AsSpan(t * top, top), weights.AsSpan(t * top, top), numbers);
        for (int e = 0; e < settings.ExpertCount; e++) // expert by expert, so that each is read once
        {
            int[] uses = [.. Enumerable.Range(0, chosen.Length).Where(i => chosen[i] == e)], rows = [.. uses.Select(i => i / top)];
            if (uses.Length == 0) continue;
            Tensor input = Rent(uses.Length, x.Columns), result = Rent(uses.Length, y.Columns);
            Gather(input, x, rows);
            for (int i = 0; i < uses.Length; i++) Row(result, i).Clear();
            Mlp(result, input, experts.Experts[e]);
            for (int i = 0; i < uses.Length; i++)
                for (int c = 0; c < y.Columns; c++) Row(y, rows[i])[c] += weights[uses[i]] * Row(result, i)[c];
        }
        Release(mark);
    }

    public override void Append(CacheStorage cache, int stream, Tensor rows, StepLayout step)
    {
        foreach (SequenceSlice sequence in step.Sequences)
            for (int row = 0; row < sequence.RowCount; row++)
            {
                int position = sequence.FirstPosition + row, block = step.BlockTables[sequence.TableStart + position / cache.BlockTokens];
                ((ReferenceCache)cache).Write(stream, block, position % cache.BlockTokens, Row(rows, sequence.FirstRow + row));
            }
    }

    public override void AttendCached(Tensor output, Tensor q, AttentionSettings attention, StepLayout step, CacheStorage cache)
    {
        foreach (SequenceSlice sequence in step.Sequences) ReferenceAttention.Grouped(output, q, attention, step, sequence, (ReferenceCache)cache);
    }

    public override void AttendLatentCached(Tensor output, Tensor q, LatentAttentionSettings attention, StepLayout step, CacheStorage cache)
    {
        foreach (SequenceSlice sequence in step.Sequences) ReferenceAttention.Latent(output, q, attention, step, sequence, (ReferenceCache)cache);
    }

    // ---- numbers

    /// <summary>A row of a tensor of this backend.</summary>
    internal static Span<float> Row(Tensor x, int row) => new((float*)x.Address + (long)row * x.Stride, x.Columns);

    /// <summary>A whole matrix in float32, row by row.</summary>
    internal static float[][] ReadMatrix(Weight weight)
    {
        var matrix = new float[weight.Rows][];
        for (int r = 0; r < weight.Rows; r++) Dequantise.Row(weight, r, matrix[r] = new float[weight.Columns]);
        return matrix;
    }

    private static float[] ReadVector(DeviceWeight vector)
    {
        var values = new float[vector.Columns];
        Dequantise.Row(vector.Source, 0, values);
        return values;
    }

    /// <summary>Four sums, because each addition waits for the one before it.</summary>
    internal static double Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        int i = 0;
        for (; i + 4 <= a.Length; i += 4)
        {
            s0 += (double)a[i] * b[i];
            s1 += (double)a[i + 1] * b[i + 1];
            s2 += (double)a[i + 2] * b[i + 2];
            s3 += (double)a[i + 3] * b[i + 3];
        }
        for (; i < a.Length; i++) s0 += (double)a[i] * b[i];
        return s0 + s1 + (s2 + s3);
    }

    private sealed class ReferenceWeight(Weight source, WeightRole role) : DeviceWeight(source, role);
}
