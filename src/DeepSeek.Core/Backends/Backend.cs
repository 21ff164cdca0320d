using DeepSeek.Tensors;

namespace DeepSeek.Backends;

/// <summary>
/// The table of operations that every architecture is written over. Primitives are abstract; composites have a default made of primitives, which is also what an
/// override is tested against. Activations are float32 tensors in the backend's scratch memory; an operation may only enqueue, <see cref="Read"/> waits.
/// One thread (the engine's) calls it; inside, a backend uses its own threads. T = rows of the step.
/// </summary>
internal abstract class Backend : IDisposable
{
    /// <summary>Short name: <c>cpu</c>, <c>reference</c>, a device's name.</summary>
    public abstract string Name { get; }

    /// <summary>What was chosen on this machine and why, for people: instruction sets, kernels, threads.</summary>
    public abstract string Description { get; }

    /// <summary>What <see cref="CacheType.Default"/> means here.</summary>
    public abstract CacheFormat PreferredCache { get; }

    /// <summary>
    /// Multiplications and additions of a prompt's products that may be expected in a second, from what the device is and never from a clock: it decides where prompts are cut, and so in
    /// which order numbers are added.
    /// </summary>
    public virtual double OperationsPerSecond => 2e13;

    // ---- memory

    /// <summary>The only place that repacks or uploads a weight. Preparing the same weight for the same role again returns the same object.</summary>
    public abstract DeviceWeight Prepare(Weight weight, WeightRole role);

    /// <summary>Tells which experts will be chosen from by their numbers: a backend with memory of its own lays them side by side. Its weights are prepared.</summary>
    public virtual void PrepareExperts(ExpertWeights experts)
    {
    }

    /// <summary>The same of the heads of latent attention.</summary>
    public virtual void PrepareLatent(LatentAttentionSettings attention)
    {
    }

    /// <summary>Brings all prepared weights to where they are used, where that takes time; without it each comes when it is first needed.</summary>
    /// <param name="progress">Told the part that is done, from 0 to 1.</param>
    public virtual void Upload(IProgress<double>? progress)
    {
    }

    /// <summary>Bytes of memory that prepared weights take beside the mapped file.</summary>
    public abstract long PreparedBytes { get; }

    /// <summary>Storage for a cache; the caller owns it.</summary>
    public abstract CacheStorage CreateCache(IReadOnlyList<CacheStream> streams, CacheFormat format, int blockTokens, int blockCount);

    /// <summary>Scratch memory, not cleared, valid until <see cref="Release"/> of an earlier mark. Rows are 64-byte aligned where the column count allows.</summary>
    public abstract Tensor Rent(int rows, int columns);

    /// <summary>The present height of the scratch stack.</summary>
    public abstract long Mark();

    /// <summary>Gives back all scratch memory rented since the mark.</summary>
    public abstract void Release(long mark);

    /// <summary>Waits for all operations and copies rows out. [x.Rows · x.Columns]</summary>
    public abstract void Read(Tensor x, Span<float> destination);

    /// <summary>
    /// Waits, and reads the largest numbers of a row with their columns, largest first, of equal ones the lower column first. False where there is nothing gained over <see cref="Read"/>, or where a
    /// number is not finite: then the row has to be read.
    /// </summary>
    /// <param name="row">One row.</param>
    /// <param name="columns">Their columns; as many as wanted. No more than the row has.</param>
    /// <param name="values">The numbers.</param>
    public virtual bool TryReadLargest(Tensor row, Span<int> columns, Span<float> values) => false;

    /// <summary>Copies rows in: the reverse of <see cref="Read"/>.</summary>
    public abstract void Write(Tensor x, ReadOnlySpan<float> source);

    // ---- primitives

    /// <summary>y[t] = row tokens[t] of the table.</summary>
    public abstract void Embed(Tensor y, DeviceWeight table, ReadOnlySpan<int> tokens);

    /// <summary>y[i] = x[rows[i]].</summary>
    public abstract void Gather(Tensor y, Tensor x, ReadOnlySpan<int> rows);

    /// <summary>y = gain ⊙ x / √(mean(x²) + epsilon), for every stretch of gain.Columns numbers of a row (one for a hidden state, one a head for q/k norms). y may be x.</summary>
    public abstract void RmsNorm(Tensor y, Tensor x, DeviceWeight gain, float epsilon);

    /// <summary>y = W·x + bias for every row; with accumulate, y += W·x + bias. y never overlaps x.</summary>
    public abstract void MatMul(Tensor y, Tensor x, DeviceWeight weight, DeviceWeight? bias = null, bool accumulate = false);

    /// <summary>y += x.</summary>
    public abstract void Add(Tensor y, Tensor x);

    /// <summary>gate = silu(gate) ⊙ up, silu(z) = z / (1 + e^−z).</summary>
    public abstract void SiluMultiply(Tensor gate, Tensor up);

    /// <summary>factors[t] = [cos | sin] of every pair at the step's positions, times the magnitude. [T, R]</summary>
    public abstract void RotaryFactors(Tensor factors, RotarySettings rotary, StepLayout step);

    /// <summary>Rotates dimensions [offset, offset + R) of every head (stretch of headSize numbers) of every row, in place.</summary>
    public abstract void Rotate(Tensor x, Tensor factors, RotarySettings rotary, int headSize, int offset);

    /// <summary>Stores the step's rows in a stream of the cache, at the step's positions.</summary>
    public abstract void Append(CacheStorage cache, int stream, Tensor rows, StepLayout step);

    /// <summary>The mixture's routed part: y += Σ g_e·E_e(x), experts chosen by x's own router logits (float32). y never overlaps x.</summary>
    public abstract void RoutedExperts(Tensor y, Tensor x, ExpertWeights experts);

    /// <summary>Causal attention of the step's queries over all cache rows up to their own positions, which are in the cache already. output, q: [T, H·D]</summary>
    public abstract void AttendCached(Tensor output, Tensor q, AttentionSettings attention, StepLayout step, CacheStorage cache);

    /// <summary>Latent attention likewise, over the rows from the settings' FirstPosition on. output: [T, H·V]; q: [T, H·(N+R)], rotated.</summary>
    public abstract void AttendLatentCached(Tensor output, Tensor q, LatentAttentionSettings attention, StepLayout step, CacheStorage cache);

    // ---- composites

    /// <summary>Products that share their input, which is normalised first where a norm is given.</summary>
    public virtual void Project(Tensor x, DeviceWeight? norm, float epsilon, params ReadOnlySpan<Projection> projections)
    {
        long mark = Mark();
        Tensor n = x;
        if (norm is not null) RmsNorm(n = Rent(x.Rows, x.Columns), x, norm, epsilon);
        foreach (ref readonly Projection p in projections) MatMul(p.Output, n, p.Weight, p.Bias);
        Release(mark);
    }

    /// <summary>residual += MLP(norm(residual)).</summary>
    public virtual void GatedMlp(Tensor residual, DeviceWeight norm, float epsilon, GatedMlpWeights mlp)
    {
        long mark = Mark();
        Tensor x = Rent(residual.Rows, residual.Columns);
        RmsNorm(x, residual, norm, epsilon);
        Mlp(residual, x, mlp);
        Release(mark);
    }

    /// <summary>residual += Σ g_e·E_e(norm(residual)) + Shared(norm(residual)).</summary>
    public virtual void Experts(Tensor residual, DeviceWeight norm, float epsilon, ExpertWeights experts)
    {
        long mark = Mark();
        Tensor x = Rent(residual.Rows, residual.Columns);
        RmsNorm(x, residual, norm, epsilon);
        RoutedExperts(residual, x, experts);
        if (experts.Shared is { } shared) Mlp(residual, x, shared);
        Release(mark);
    }

    /// <summary>Appends keys and values to the cache, then attends. k, v: [T, G·D]</summary>
    public virtual void Attend(Tensor output, Tensor q, Tensor k, Tensor v, AttentionSettings attention, StepLayout step, CacheStorage cache)
    {
        Append(cache, attention.KeyStream, k, step);
        Append(cache, attention.ValueStream, v, step);
        AttendCached(output, q, attention, step, cache);
    }

    /// <summary>Appends latents (normalised latent | rotated key) to the cache, then attends. latents: [T, C+R]</summary>
    public virtual void AttendLatent(Tensor output, Tensor q, Tensor latents, LatentAttentionSettings attention, StepLayout step, CacheStorage cache)
    {
        Append(cache, attention.Stream, latents, step);
        AttendLatentCached(output, q, attention, step, cache);
    }

    /// <summary>logits = head·hidden for the given rows only. logits: [rows.Length, vocabulary]</summary>
    public virtual void Head(Tensor logits, Tensor hidden, ReadOnlySpan<int> rows, DeviceWeight head)
    {
        long mark = Mark();
        Tensor chosen = Rent(rows.Length, hidden.Columns);
        Gather(chosen, hidden, rows);
        MatMul(logits, chosen, head);
        Release(mark);
    }

    /// <summary>Gives back threads and memory. No operation may be running.</summary>
    public abstract void Dispose();

    /// <summary>y += MLP(x), of primitives.</summary>
    private protected void Mlp(Tensor y, Tensor x, GatedMlpWeights mlp)
    {
        long mark = Mark();
        Tensor gate = Rent(x.Rows, mlp.Gate.Rows), up = Rent(x.Rows, mlp.Up.Rows);
        MatMul(gate, x, mlp.Gate);
        MatMul(up, x, mlp.Up);
        SiluMultiply(gate, up);
        MatMul(y, gate, mlp.Down, accumulate: true);
        Release(mark);
    }
}
