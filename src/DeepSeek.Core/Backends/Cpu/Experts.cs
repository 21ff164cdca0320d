using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// The routed part of a mixture of experts: pairs (token, expert) sorted by expert, so that each expert's weights are read once and multiply all its tokens; then every
/// token adds up its experts' results, in the order of its choice.
/// </summary>
internal static unsafe class Experts
{
    /// <summary>Tokens that are worked on together: bounds the memory of intermediate results.</summary>
    private const int MostTokens = 256;

    /// <summary>y += Σ g_e·E_e(x).</summary>
    public static void Run(CpuBackend backend, MatMul matMul, ScratchArena scratch, Tensor y, Tensor x, ExpertWeights experts)
    {
        for (int t = 0; t < x.Rows; t += MostTokens)
        {
            int count = Math.Min(MostTokens, x.Rows - t);
            long mark = scratch.Mark();
            Some(backend, matMul, scratch, y.TakeRows(t, count), x.TakeRows(t, count), experts);
            scratch.Release(mark);
        }
    }

    private static void Some(CpuBackend backend, MatMul matMul, ScratchArena scratch, Tensor y, Tensor x, ExpertWeights experts)
    {
        RouterSettings settings = experts.Settings;
        int tokens = x.Rows, top = settings.TopK, count = settings.ExpertCount, pairs = tokens * top;
        GatedMlpWeights first = experts.Experts[0];
        Tensor logits = backend.Rent(tokens, count);
        matMul.Run(logits, x, (CpuWeight)experts.Router, bias: null, accumulate: false);

        int* chosen = (int*)scratch.Rent(pairs * sizeof(int)), place = (int*)scratch.Rent(pairs * sizeof(int)), starts = (int*)scratch.Rent((count + 1) * sizeof(int));
        float* weights = (float*)scratch.Rent(pairs * sizeof(float));
        int working = Routing.ScratchLength(settings);
        Span<float> memory = new(scratch.Rent(working * sizeof(float)), working);
        ReadOnlySpan<float> correction = experts.CorrectionBias is CpuWeight b ? new(b.Values, count) : default;
        for (int t = 0; t < tokens; t++)
            Routing.Choose(settings, new((float*)logits.Address + (long)t * logits.Stride, count), correction, new(chosen + t * top, top), new(weights + t * top, top), memory);
        Sort(chosen, pairs, starts, count, place);

        Tensor inputs = backend.Rent(pairs, x.Columns), gate = backend.Rent(pairs, first.Gate.Rows), up = backend.Rent(pairs, first.Up.Rows), outputs = backend.Rent(pairs, y.Columns);
        for (int p = 0; p < pairs; p++)
            Buffer.MemoryCopy((float*)x.Address + (long)(p / top) * x.Stride, (float*)inputs.Address + (long)place[p] * inputs.Stride, 4L * x.Columns, 4L * x.Columns);

        bool blocks = false, downBlocks = false;
        for (int e = 0; e < count; e++)
        {
            blocks |= ((CpuWeight)experts.Experts[e].Gate).Blocks is not null || ((CpuWeight)experts.Experts[e].Up).Blocks is not null;
            downBlocks |= ((CpuWeight)experts.Experts[e].Down).Blocks is not null;
        }
        QuantisedRows quantised = blocks ? matMul.Quantise(inputs) : default;
        matMul.Begin();
        for (int e = 0; e < count; e++)
        {
            int from = starts[e], n = starts[e + 1] - from;
            if (n == 0) continue;
            QuantisedRows q = blocks ? quantised.Take(from, n) : default;
            matMul.Add((CpuWeight)experts.Experts[e].Gate, inputs.TakeRows(from, n), q, gate.TakeRows(from, n), bias: null, accumulate: false);
            matMul.Add((CpuWeight)experts.Experts[e].Up, inputs.TakeRows(from, n), q, up.TakeRows(from, n), bias: null, accumulate: false);
        }
        matMul.Execute();
        backend.SiluMultiply(gate, up);

        quantised = downBlocks ? matMul.Quantise(gate) : default;
        matMul.Begin();
        for (int e = 0; e < count; e++)
        {
            int from = starts[e], n = starts[e + 1] - from;
            if (n == 0) continue;
            QuantisedRows q = downBlocks ? quantised.Take(from, n) : default;
            matMul.Add((CpuWeight)experts.Experts[e].Down, gate.TakeRows(from, n), q, outputs.TakeRows(from, n), bias: null, accumulate: false);
        }
        matMul.Execute();

        for (int p = 0; p < pairs; p++)
        {
            float* to = (float*)y.Address + (long)(p / top) * y.Stride, from = (float*)outputs.Address + (long)place[p] * outputs.Stride;
            float weight = weights[p];
            for (int i = 0; i < y.Columns; i++) to[i] += weight * from[i];
        }
    }

    /// <summary>Counting sort: place[p] is where pair p stands among the pairs sorted by expert, starts[e] where expert e's begin. [count + 1]</summary>
    private static void Sort(int* chosen, int pairs, int* starts, int count, int* place)
    {
        new Span<int>(starts, count + 1).Clear();
        for (int p = 0; p < pairs; p++) starts[chosen[p] + 1]++;
        for (int e = 0; e < count; e++) starts[e + 1] += starts[e];
        for (int p = 0; p < pairs; p++) place[p] = starts[chosen[p]]++;
        for (int e = count; e > 0; e--) starts[e] = starts[e - 1];
        starts[0] = 0;
    }
}
