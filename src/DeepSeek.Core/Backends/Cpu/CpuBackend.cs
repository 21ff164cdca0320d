using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>The processor: vector kernels on the stored numbers, a fixed pool of threads, scratch memory in one arena.</summary>
internal sealed unsafe class CpuBackend : Backend
{
    private readonly WorkerPool pool;
    private readonly ScratchArena scratch = new();
    private readonly Dictionary<(Weight, WeightRole), PlainWeight> prepared = [];

    public CpuBackend(CpuBackendOptions? options = null)
    {
        options ??= new CpuBackendOptions();
        Reproducible = options.Reproducible;
        pool = new WorkerPool(options.Threads ?? ProcessorTopology.UsableCores());
    }

    public override string Name => "cpu";

    public override string Description => $"{pool.ThreadCount} threads";

    public override CacheFormat PreferredCache => CacheFormat.BF16;

    /// <summary>One recipe for each product and attention, whatever the batch, the threads and the chunking of the prompt.</summary>
    public bool Reproducible { get; }

    public override long PreparedBytes => 0;

    public override DeviceWeight Prepare(Weight weight, WeightRole role)
    {
        if (!prepared.TryGetValue((weight, role), out PlainWeight? w)) prepared.Add((weight, role), w = new PlainWeight(weight, role));
        return w;
    }

    public override CacheStorage CreateCache(IReadOnlyList<CacheStream> streams, CacheFormat format, int blockTokens, int blockCount)
        => new CpuCache(streams, format, blockTokens, blockCount);

    // ---- scratch

    public override Tensor Rent(int rows, int columns)
    {
        int stride = (columns + 15) & -16;
        return new Tensor((nint)scratch.Rent((long)rows * stride * sizeof(float)), rows, columns, stride);
    }

    public override long Mark() => scratch.Mark();

    public override void Release(long mark) => scratch.Release(mark);

    public override void Read(Tensor x, Span<float> destination)
    {
        for (int r = 0; r < x.Rows; r++) new ReadOnlySpan<float>(Row(x, r), x.Columns).CopyTo(destination[(r * x.Columns)..]);
    }

    public override void Write(Tensor x, ReadOnlySpan<float> source)
    {
        for (int r = 0; r < x.Rows; r++) source.Slice(r * x.Columns, x.Columns).CopyTo(new Span<float>(Row(x, r), x.Columns));
    }

    private static float* Row(Tensor x, int row) => Elementwise.Row(x, row);

    // ---- primitives

    public override void Embed(Tensor y, DeviceWeight table, ReadOnlySpan<int> tokens)
    {
        for (int i = 0; i < tokens.Length; i++) ((PlainWeight)table).ReadRow(tokens[i], Row(y, i));
    }

    public override void Gather(Tensor y, Tensor x, ReadOnlySpan<int> rows)
    {
        for (int i = 0; i < rows.Length; i++) Buffer.MemoryCopy(Row(x, rows[i]), Row(y, i), 4L * x.Columns, 4L * x.Columns);
    }

    public override void RmsNorm(Tensor y, Tensor x, DeviceWeight gain, float epsilon)
        => Elementwise.RmsNorm(pool, y, x, ((PlainWeight)gain).Values, gain.Columns, epsilon);

    public override void MatMul(Tensor y, Tensor x, DeviceWeight weight, DeviceWeight? bias = null, bool accumulate = false)
    {
        long mark = Mark();
        float* biases = (float*)scratch.Rent(4L * weight.Rows);
        if (bias is PlainWeight b) new Span<float>(b.Values, weight.Rows).CopyTo(new Span<float>(biases, weight.Rows));
        else new Span<float>(biases, weight.Rows).Clear();
        int stride = (weight.Columns + 15) & -16;
        float* rows = (float*)scratch.Rent(4L * stride * pool.ThreadCount);
        pool.Run(new Product(y, x, (PlainWeight)weight, (nint)biases, (nint)rows, stride, accumulate), (weight.Rows + 15) / 16);
        Release(mark);
    }

    private readonly struct Product(Tensor y, Tensor x, PlainWeight weight, nint biases, nint rows, int stride, bool accumulate) : IParallelWork
    {
        public void Execute(int item, int worker)
        {
            float* w = (float*)rows + (long)stride * worker;
            for (int n = item * 16, end = Math.Min(n + 16, weight.Rows); n < end; n++)
            {
                weight.ReadRow(n, w);
                for (int t = 0; t < x.Rows; t++)
                {
                    float value = VectorMath.Dot(w, Row(x, t), weight.Columns) + ((float*)biases)[n];
                    Row(y, t)[n] = accumulate ? Row(y, t)[n] + value : value;
                }
            }
        }
    }

    public override void Add(Tensor y, Tensor x) => Elementwise.Add(pool, y, x);

    public override void SiluMultiply(Tensor gate, Tensor up) => Elementwise.SiluMultiply(pool, gate, up);

    public override void RotaryFactors(Tensor factors, RotarySettings rotary, StepLayout step) => Elementwise.RotaryFactors(pool, factors, rotary, step);

    public override void Rotate(Tensor x, Tensor factors, RotarySettings rotary, int headSize, int offset)
        => Elementwise.Rotate(pool, x, factors, rotary, headSize, offset);

    public override void Append(CacheStorage cache, int stream, Tensor rows, StepLayout step) => Elementwise.Append(pool, (CpuCache)cache, stream, rows, step);

    public override void RoutedExperts(Tensor y, Tensor x, ExpertWeights experts)
    {
        RouterSettings settings = experts.Settings;
        long mark = Mark();
        Tensor logits = Rent(x.Rows, settings.ExpertCount), result = Rent(1, y.Columns);
        Span<int> chosen = new((void*)Rent(1, settings.TopK).Address, settings.TopK);
        Span<float> weights = new((void*)Rent(1, settings.TopK).Address, settings.TopK);
        Span<float> numbers = new((void*)Rent(1, Routing.ScratchLength(settings)).Address, Routing.ScratchLength(settings));
        ReadOnlySpan<float> bias = experts.CorrectionBias is PlainWeight b ? new(b.Values, b.Columns) : default;
        MatMul(logits, x, experts.Router);
        for (int t = 0; t < x.Rows; t++)
        {
            Routing.Choose(settings, new(Row(logits, t), settings.ExpertCount), bias, chosen, weights, numbers);
            for (int k = 0; k < settings.TopK; k++)
            {
                new Span<float>(Row(result, 0), y.Columns).Clear();
                Mlp(result, x.TakeRows(t, 1), experts.Experts[chosen[k]]);
                for (int i = 0; i < y.Columns; i++) Row(y, t)[i] += weights[k] * Row(result, 0)[i];
            }
        }
        Release(mark);
    }

    public override void AttendCached(Tensor output, Tensor q, AttentionSettings attention, StepLayout step, CacheStorage cache)
        => Attention.Run(pool, scratch, output, q, attention, step, (CpuCache)cache);

    public override void AttendLatentCached(Tensor output, Tensor q, LatentAttentionSettings attention, StepLayout step, CacheStorage cache)
        => LatentAttention.Run(pool, scratch, output, q, attention, step, (CpuCache)cache);

    public override void Dispose()
    {
        pool.Dispose();
        scratch.Dispose();
        foreach (PlainWeight w in prepared.Values)
            if (w.Values != null) NativePages.Free(w.Values);
    }
}
