using DeepSeek.Generation;

namespace DeepSeek;

public sealed partial class LanguageModel
{
    /// <summary>How probable the model finds a text: ln p of each token given those before it, before any sampling setting. For perplexity and for ranking.</summary>
    /// <param name="tokens">Token ids; at least one, no more than the context holds. Nothing is added to them.</param>
    /// <param name="cancellationToken">Ends the request within one step.</param>
    /// <returns>As many numbers as tokens, less one: the first token has nothing before it.</returns>
    /// <exception cref="ContextLengthException">The tokens do not fit the context.</exception>
    /// <exception cref="InvalidOptionException">There are no tokens, or one is outside the vocabulary.</exception>
    /// <exception cref="EngineBusyException">Too many requests wait already.</exception>
    public Task<IReadOnlyList<float>> ScoreAsync(IReadOnlyList<int> tokens, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        return ScoreAsync([.. tokens], int.MaxValue, cancellationToken);
    }

    /// <inheritdoc cref="ScoreAsync(IReadOnlyList{int}, CancellationToken)"/>
    /// <param name="tokens">Token ids.</param>
    /// <param name="maxStepTokens">Most of them in one step: 1 computes token by token, through the cache.</param>
    /// <param name="cancellationToken">Ends the request within one step.</param>
    internal async Task<IReadOnlyList<float>> ScoreAsync(int[] tokens, int maxStepTokens, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        CheckTokens(tokens);
        var scores = new float[Math.Max(0, tokens.Length - 1)];
        var request = new ScoringRequest(tokens, all: true, maxStepTokens, loaded.Settings, loaded.Engine.BlockTokens, (i, logits) =>
        {
            if (i + 1 < tokens.Length) scores[i] = (float)(logits[tokens[i + 1]] - Vectors.LogSumOfExponentials(logits));
        });
        loaded.Engine.Submit(request);
        await using CancellationTokenRegistration registration = cancellationToken.UnsafeRegister(_ => loaded.Engine.Cancel(request), null);
        await request.Completion.ConfigureAwait(false);
        return scores;
    }
}
