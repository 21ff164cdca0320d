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

    private static float* Row(Tensor x, int row) => (float*)x.Address + (long)row * x.Stride;

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
    {
        int size = gain.Columns;
        float* g = stackalloc float[size];
        ((PlainWeight)gain).ReadRow(0, g);
        for (int r = 0; r < x.Rows; r++)
            for (int c = 0; c + size <= x.Columns; c += size) Elementwise.RmsNorm(Row(y, r) + c, Row(x, r) + c, g, size, epsilon);
    }

    public override void MatMul(Tensor y, Tensor x, DeviceWeight weight, DeviceWeight? bias = null, bool accumulate = false)
    {
        long mark = Mark();
        float* biases = (float*)scratch.Rent(4L * weight.Rows);
        new Span<float>(biases, weight.Rows).Clear();
        (bias as PlainWeight)?.ReadRow(0, biases);
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
                    float value = Elementwise.Dot(w, Row(x, t), weight.Columns) + ((float*)biases)[n];
                    Row(y, t)[n] = accumulate ? Row(y, t)[n] + value : value;
                }
            }
        }
    }

    public override void Add(Tensor y, Tensor x)
    {
        for (int r = 0; r < x.Rows; r++) Elementwise.Add(Row(y, r), Row(x, r), x.Columns);
    }

    public override void SiluMultiply(Tensor gate, Tensor up)
    {
        for (int r = 0; r < gate.Rows; r++) Elementwise.SiluMultiply(Row(gate, r), Row(up, r), gate.Columns);
    }

    public override void RotaryFactors(Tensor factors, RotarySettings rotary, StepLayout step)
    {
        for (int r = 0; r < factors.Rows; r++) Elementwise.RotaryFactors(Row(factors, r), rotary, step.Positions[r]);
    }

    public override void Rotate(Tensor x, Tensor factors, RotarySettings rotary, int headSize, int offset)
    {
        for (int r = 0; r < x.Rows; r++)
            for (int c = 0; c + headSize <= x.Columns; c += headSize)
                Elementwise.Rotate(Row(x, r) + c + offset, Row(factors, r), rotary.Frequencies.Length, rotary.Pairs);
    }

    public override void Append(CacheStorage cache, int stream, Tensor rows, StepLayout step)
    {
        CpuCache storage = (CpuCache)cache;
        foreach (SequenceSlice s in step.Sequences)
            for (int i = 0; i < s.RowCount; i++)
            {
                int p = s.FirstPosition + i;
                CacheRows.Store(cache.Format, Row(rows, s.FirstRow + i), storage.Row(stream, step.BlockTables[s.TableStart + p / step.BlockTokens], p % step.BlockTokens), rows.Columns);
            }
    }

    public override void RoutedExperts(Tensor y, Tensor x, ExpertWeights experts)
        => throw new UnsupportedModelException("Mixtures of experts do not run on the CPU backend yet; use the reference backend.");

    public override void AttendCached(Tensor output, Tensor q, AttentionSettings attention, StepLayout step, CacheStorage cache)
        => Attention.Run(pool, scratch, output, q, attention, step, (CpuCache)cache);

    public override void AttendLatentCached(Tensor output, Tensor q, LatentAttentionSettings attention, StepLayout step, CacheStorage cache)
        => LatentAttention.Run(pool, scratch, output, q, attention, step, (CpuCache)cache);

    public override void Dispose()
    {
        pool.Dispose();
        scratch.Dispose();
    }
}
