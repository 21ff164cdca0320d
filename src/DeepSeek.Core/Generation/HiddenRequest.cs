using DeepSeek.Backends;
using DeepSeek.Tensors;

namespace DeepSeek.Generation;

/// <summary>A request that only computes: for the cache's sake, or for the hidden states, pooled.</summary>
internal sealed class HiddenRequest : Request
{
    private readonly TaskCompletionSource done = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly EmbeddingPooling? pooling;
    private readonly float[] pooled, row;

    /// <param name="prompt">Token ids; at least one, no more than the context holds.</param>
    /// <param name="pooling">How states become one vector; null: they are not wanted.</param>
    /// <param name="hiddenSize">Numbers of a state.</param>
    /// <param name="tenant">Whose prefixes are shared.</param>
    /// <param name="engine">Limits.</param>
    /// <param name="blockTokens">Positions of a cache block.</param>
    /// <param name="draftsByModule">Whether the draft module's stream is filled too.</param>
    public HiddenRequest(ReadOnlySpan<int> prompt, EmbeddingPooling? pooling, int hiddenSize, string? tenant, EngineSettings engine, int blockTokens, bool draftsByModule)
    {
        if (prompt.Length == 0) throw new InvalidOptionException("The text has no tokens. Give it at least one.");
        if (prompt.Length > engine.ContextLength) throw new ContextLengthException(prompt.Length, engine.ContextLength);
        this.pooling = pooling;
        pooled = new float[pooling is null ? 0 : hiddenSize];
        row = new float[pooled.Length];
        Sequence = new Sequence(prompt, prompt.Length, blockTokens) { Request = this, Tenant = tenant, UsesPrefixes = pooling is null, DraftsByModule = draftsByModule && pooling is null };
    }

    public override Sequence Sequence { get; }

    public override RowsWanted Rows => RowsWanted.None;

    public override bool WantsHidden => pooling is not null;

    /// <summary>Completes when it has ended.</summary>
    public Task Completion => done.Task;

    /// <summary>The pooled vector, once it has completed.</summary>
    public float[] Vector => pooled;

    public override bool OnLogits(Span<float> logits, int position, Sampler sampler) => true;

    public override void OnHidden(Backend backend, Tensor rows, int firstPosition)
    {
        if (firstPosition == 0) Array.Clear(pooled); // computed from the beginning again, after blocks were given away
        for (int r = pooling == EmbeddingPooling.LastToken ? rows.Rows - 1 : 0; r < rows.Rows; r++)
        {
            backend.Read(rows.TakeRows(r, 1), row);
            if (pooling == EmbeddingPooling.LastToken) row.CopyTo(pooled, 0);
            else
                for (int i = 0; i < row.Length; i++) pooled[i] += row[i] / Sequence.Length;
        }
    }

    protected override void Ended(Exception? error)
    {
        if (error is null) done.SetResult();
        else if (error is OperationCanceledException) done.SetCanceled();
        else done.SetException(error);
    }
}
