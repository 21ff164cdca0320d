using DeepSeek.Backends.Cpu.Assembly;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>The processor: vector kernels on the stored numbers, a fixed pool of threads, scratch memory in one arena.</summary>
internal sealed unsafe class CpuBackend : Backend
{
    private readonly WorkerPool pool;
    private readonly ScratchArena scratch = new();
    private readonly Capabilities capabilities;
    private readonly Kernels kernels;
    private readonly MatMul matMul;
    private readonly Dictionary<(Weight, WeightRole), CpuWeight> prepared = [];

    public CpuBackend(CpuBackendOptions? options = null)
    {
        options ??= new CpuBackendOptions();
        Reproducible = options.Reproducible;
        pool = new WorkerPool(options.Threads ?? ProcessorTopology.UsableCores());
        capabilities = Capabilities.Detect(options.DisabledInstructionSets);
        kernels = new Kernels(capabilities);
        matMul = new MatMul(pool, scratch, capabilities, kernels, Reproducible);
    }

    public override string Name => "cpu";

    public override string Description => $"{pool.ThreadCount} threads, {capabilities}, {kernels}";

    public override CacheFormat PreferredCache => CacheFormat.BF16;

    /// <summary>What whole models reach with the kernels of each kind (AVX-512 VNNI: measured; the others: half of what the kernels do).</summary>
    public override double OperationsPerSecond => pool.ThreadCount * (capabilities switch
    {
        { AmxInt8: true } or { AmxBf16: true } => 8e11,
        { Avx512Vnni: true } => 3e11,
        { Avx512: true } or { AvxVnni: true } or { Avx2: true } => 1e11,
        { ArmDot: true } => 4e10,
        _ => 2e9,
    });

    /// <summary>One recipe for each product and attention, whatever the batch, the threads and the chunking of the prompt.</summary>
    public bool Reproducible { get; }

    /// <summary>The threads of computation.</summary>
    public WorkerPool Pool => pool;

    public override long PreparedBytes => prepared.Values.Sum(w => w.PreparedBytes);

    public override DeviceWeight Prepare(Weight weight, WeightRole role)
    {
        if (!prepared.TryGetValue((weight, role), out CpuWeight? w)) prepared.Add((weight, role), w = new CpuWeight(weight, role, kernels));
        return w;
    }

    public override CacheStorage CreateCache(IReadOnlyList<CacheStream> streams, CacheFormat format, int blockTokens, int blockCount)
        => new CpuCache(streams, format, blockTokens, blockCount, capabilities);

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
        for (int i = 0; i < tokens.Length; i++) ((CpuWeight)table).ReadRow(tokens[i], Row(y, i));
    }

    public override void Gather(Tensor y, Tensor x, ReadOnlySpan<int> rows)
    {
        for (int i = 0; i < rows.Length; i++) Buffer.MemoryCopy(Row(x, rows[i]), Row(y, i), 4L * x.Columns, 4L * x.Columns);
    }

    public override void RmsNorm(Tensor y, Tensor x, DeviceWeight gain, float epsilon)
        => Elementwise.RmsNorm(pool, y, x, ((CpuWeight)gain).Values, gain.Columns, epsilon);

    public override void MatMul(Tensor y, Tensor x, DeviceWeight weight, DeviceWeight? bias = null, bool accumulate = false)
        => matMul.Run(y, x, (CpuWeight)weight, (CpuWeight?)bias, accumulate);

    public override void Project(Tensor x, DeviceWeight? norm, float epsilon, params ReadOnlySpan<Projection> projections)
    {
        long mark = Mark();
        Tensor n = x;
        if (norm is not null) RmsNorm(n = Rent(x.Rows, x.Columns), x, norm, epsilon);
        matMul.Project(n, projections);
        Release(mark);
    }

    public override void GatedMlp(Tensor residual, DeviceWeight norm, float epsilon, GatedMlpWeights mlp)
    {
        long mark = Mark();
        Tensor x = Rent(residual.Rows, residual.Columns), gate = Rent(x.Rows, mlp.Gate.Rows), up = Rent(x.Rows, mlp.Up.Rows);
        RmsNorm(x, residual, norm, epsilon);
        matMul.Project(x, new Projection(gate, mlp.Gate), new Projection(up, mlp.Up));
        SiluMultiply(gate, up);
        MatMul(residual, gate, mlp.Down, accumulate: true);
        Release(mark);
    }

    public override void Add(Tensor y, Tensor x) => Elementwise.Add(pool, y, x);

    public override void SiluMultiply(Tensor gate, Tensor up) => Elementwise.SiluMultiply(pool, gate, up);

    public override void RotaryFactors(Tensor factors, RotarySettings rotary, StepLayout step) => Elementwise.RotaryFactors(pool, factors, rotary, step);

    public override void Rotate(Tensor x, Tensor factors, RotarySettings rotary, int headSize, int offset)
        => Elementwise.Rotate(pool, x, factors, rotary, headSize, offset);

    public override void Append(CacheStorage cache, int stream, Tensor rows, StepLayout step) => Elementwise.Append(pool, (CpuCache)cache, stream, rows, step);

    public override void RoutedExperts(Tensor y, Tensor x, ExpertWeights experts) => Cpu.Experts.Run(this, matMul, scratch, y, x, experts);

    public override void AttendCached(Tensor output, Tensor q, AttentionSettings attention, StepLayout step, CacheStorage cache)
        => Attention.Run(pool, scratch, output, q, attention, step, (CpuCache)cache, Reproducible ? null : kernels.Brains);

    public override void AttendLatentCached(Tensor output, Tensor q, LatentAttentionSettings attention, StepLayout step, CacheStorage cache)
        => LatentAttention.Run(pool, scratch, matMul, output, q, attention, step, (CpuCache)cache, absorbedOnly: Reproducible, kernels.Brains);

    public override void Dispose()
    {
        pool.Dispose();
        scratch.Dispose();
        foreach (CpuWeight w in prepared.Values) w.Dispose();
        kernels.Dispose();
    }
}
