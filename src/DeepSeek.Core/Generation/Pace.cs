namespace DeepSeek.Generation;

/// <summary>
/// How many tokens of prompts a step may hold, so that it plans no more than a quarter of a second of work: by the speed of the steps so far. Before the first one, by a guess from the
/// model's size that errs on the small side. It counts where sequences share a step; a request that is alone is cut at places that no clock moves (<see cref="Alone"/>).
/// </summary>
/// <param name="clock">Measures steps.</param>
/// <param name="parameters">Parameters that a token uses.</param>
internal sealed class Pace(TimeProvider clock, long parameters)
{
    private const double LongestStepSeconds = 0.25, AloneStepSeconds = 0.5;

    private const int LeastAlone = 16;

    /// <summary>What is planned of it: attention grows along a prompt, and machines hesitate.</summary>
    private const double Share = 0.85;

    /// <summary>Steps of fewer tokens say how fast memory is, not arithmetic.</summary>
    private const int Telling = 16;

    private double tokensPerSecond = 1e11 / (2 * Math.Max(parameters, 1_000_000));

    /// <summary>
    /// Tokens of a prompt's steps where nobody waits: about as many, but from what the device and the model are. How many rows a step has decides between recipes (and how many of them an
    /// expert gets), and the same request, alone, shall give the same tokens on a busy day. Such a step may take longer: it is given up between two layers where it is cancelled, and weights
    /// that come from memory want to be used for more than a few tokens.
    /// </summary>
    public static int Alone(double operationsPerSecond, long parameters) => (int)Math.Clamp(operationsPerSecond / (2.0 * Math.Max(parameters, 1)) * AloneStepSeconds, LeastAlone, 1 << 20);

    /// <summary>Most tokens of the next step; at least one.</summary>
    public int Tokens => (int)Math.Clamp(tokensPerSecond * LongestStepSeconds * Share, 1, 1 << 20);

    /// <summary>The present moment, for <see cref="Since"/>.</summary>
    public long Now => clock.GetTimestamp();

    /// <summary>Seconds since a moment.</summary>
    public double Since(long moment) => clock.GetElapsedTime(moment).TotalSeconds;

    /// <summary>Learns from a step.</summary>
    /// <param name="tokens">Its rows.</param>
    /// <param name="seconds">How long it took.</param>
    public void Observe(long tokens, double seconds)
    {
        if (tokens < Math.Min(Telling, Tokens) || seconds <= 0) return;
        double seen = tokens / seconds;
        // Slower at once, faster by degrees: one lucky step must not make the next one too long.
        tokensPerSecond = seen < tokensPerSecond ? (seen + tokensPerSecond) / 2 : Math.Min(seen, tokensPerSecond * 2);
    }
}
