namespace DeepSeek.Generation;

/// <summary>A request for the logits of every position, or of the last one only; nothing is generated, and no cached prefix is used where every row counts.</summary>
internal sealed class ScoringRequest : Request
{
    private readonly Action<int, ReadOnlySpan<float>> receive;
    private readonly TaskCompletionSource done = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly bool all;

    /// <param name="prompt">Token ids; at least one, no more than the context holds.</param>
    /// <param name="all">Every position's logits, or the last one's.</param>
    /// <param name="maxStepTokens">Most tokens of it in one step: 1 computes token by token.</param>
    /// <param name="engine">Limits.</param>
    /// <param name="blockTokens">Positions of a cache block.</param>
    /// <param name="receive">Takes logits, and the index of the token that they follow, on the engine's thread.</param>
    public ScoringRequest(ReadOnlySpan<int> prompt, bool all, int maxStepTokens, EngineSettings engine, int blockTokens, Action<int, ReadOnlySpan<float>> receive)
    {
        if (prompt.Length == 0) throw new InvalidOptionException("The prompt has no tokens. Give it at least one.");
        if (prompt.Length > engine.ContextLength) throw new ContextLengthException(prompt.Length, engine.ContextLength);
        (this.receive, this.all) = (receive, all);
        Sequence = new Sequence(prompt, prompt.Length, blockTokens) { Request = this, UsesPrefixes = !all, MaxStepTokens = maxStepTokens };
    }

    public override Sequence Sequence { get; }

    public override RowsWanted Rows => all ? RowsWanted.All : RowsWanted.Last;

    /// <summary>Completes when it has ended.</summary>
    public Task Completion => done.Task;

    public override bool OnLogits(Span<float> logits, int position, Sampler sampler)
    {
        receive(position - 1, logits);
        return position == Sequence.Length;
    }

    protected override void Ended(Exception? error)
    {
        if (error is null) done.SetResult();
        else if (error is OperationCanceledException) done.SetCanceled();
        else done.SetException(error);
    }
}
