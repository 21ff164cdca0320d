namespace DeepSeek.Generation;

/// <summary>
/// What has been said, for penalties: tokens of prompt and answer, and how often the answer contains each. Memory is taken at construction; adding and applying allocate nothing.
/// </summary>
/// <param name="vocabulary">Token ids are below this.</param>
/// <param name="capacity">Most tokens that will be added.</param>
internal sealed class Penalties(int vocabulary, int capacity)
{
    /// <summary>One more than the times that the answer contains a token; 0 where neither prompt nor answer does.</summary>
    private readonly int[] marks = new int[vocabulary];
    private readonly int[] seen = new int[Math.Min(vocabulary, capacity)];
    private int seenCount;

    public void AddPrompt(ReadOnlySpan<int> tokens)
    {
        foreach (int token in tokens) Mark(token);
    }

    public void AddAnswer(int token)
    {
        Mark(token);
        if ((uint)token < (uint)marks.Length) marks[token]++;
    }

    /// <summary>
    /// Repetition: a token of prompt or answer has its logit divided by the penalty, multiplied where negative (Keskar et al. 2019, as transformers does it). Presence and
    /// frequency: subtracted from a token of the answer, the one once, the other for each time (OpenAI's formula).
    /// </summary>
    public void Apply(Span<float> logits, SamplingSettings settings)
    {
        float repetition = settings.RepetitionPenalty;
        foreach (int token in seen.AsSpan(0, seenCount))
        {
            if (token >= logits.Length) continue;
            float z = logits[token];
            if (repetition != 1) z = z < 0 ? z * repetition : z / repetition;
            int count = marks[token] - 1;
            if (count > 0) z -= settings.PresencePenalty + settings.FrequencyPenalty * count;
            logits[token] = z;
        }
    }

    private void Mark(int token)
    {
        if ((uint)token >= (uint)marks.Length || marks[token] > 0) return;
        marks[token] = 1;
        seen[seenCount++] = token;
    }
}
