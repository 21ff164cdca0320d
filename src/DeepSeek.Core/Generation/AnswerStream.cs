namespace DeepSeek.Generation;

/// <summary>The consumer's side of one answer: waits for tokens, and turns them into updates up to the last one. For one thread.</summary>
/// <param name="request">What is answered.</param>
/// <param name="reader">Makes updates of tokens.</param>
/// <param name="engine">Who answers.</param>
/// <param name="store">Where the answer's calls are remembered; null where they are not.</param>
/// <param name="prompt">The text that is answered.</param>
internal sealed class AnswerStream(GenerationRequest request, AnswerReader reader, Engine engine, WrittenCallStore? store, string prompt)
{
    private int seen;
    private bool hasEnded;

    public GenerationRequest Request => request;

    /// <summary>The last update was given.</summary>
    public bool IsOver { get; private set; }

    /// <summary>Waits until there is something to <see cref="Drain"/>.</summary>
    public ValueTask WaitAsync() => request.Feed.WaitAsync(seen);

    /// <summary>Adds what has come since.</summary>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    /// <exception cref="ModelException">It failed.</exception>
    public void Drain(List<GenerationUpdate> updates, CancellationToken cancellationToken)
    {
        (int published, bool ended) = request.Feed.Read();
        for (; seen < published && !reader.Stopped; seen++)
        {
            int id = request.Answer(published)[seen];
            reader.Add(request.LogProbabilities?[seen, id] ?? new GeneratedToken(id, null, []), updates);
        }
        if (ended && !reader.Stopped)
        {
            hasEnded = true;
            if (request.Error is OperationCanceledException) throw new OperationCanceledException("The request was cancelled.", request.Error, cancellationToken);
            if (request.Error is not null) throw request.Error;
            reader.Finish(updates);
        }
        if (!hasEnded && !reader.Stopped) return;
        if (store is not null && reader.Written(prompt, request.Answer(seen)) is { } written) store.Add(written);
        FinishReason reason = reader.HasCalls && (reader.Stopped || request.FinishReason == FinishReason.Stop) ? FinishReason.ToolCalls : reader.Stopped ? FinishReason.Stop : request.FinishReason;
        updates.Add(new GenerationUpdate(UpdateKind.End, "") { FinishReason = reason, Usage = request.Usage(seen), Tokens = [.. reader.Pending] });
        IsOver = true;
        Leave();
    }

    /// <summary>No more is wanted.</summary>
    public void Leave()
    {
        if (!hasEnded) engine.Cancel(request);
    }
}
