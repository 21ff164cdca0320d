namespace DeepSeek.Generation;

/// <summary>What a guide watches for.</summary>
/// <param name="StartsInThought">The prompt opened the thought itself.</param>
/// <param name="MayThink">An answer that begins with the opening tag begins with a thought.</param>
/// <param name="ThinkingBudget">Tokens of thought after which it is closed; null: no limit.</param>
/// <param name="ClosingTokens">What closes a thought.</param>
/// <param name="Stops">The answer ends with the first of these; thoughts may contain them.</param>
internal sealed record GuideSettings(bool StartsInThought, bool MayThink, int? ThinkingBudget, int[] ClosingTokens, byte[][] Stops);

/// <summary>
/// Follows an answer token by token on the engine's thread: where the thought ends, whether it has to be closed, where the answer stops. It reads tokens' bytes; nothing is
/// allocated after construction.
/// </summary>
internal sealed class OutputGuide
{
    private readonly Tokenizer tokenizer;
    private readonly GuideSettings settings;
    private readonly ByteMatcher close = new("</think>"u8.ToArray());
    private readonly ByteMatcher? stops;
    private Phase phase;
    private int opened, forced = -1, openBytes;

    private enum Phase : byte { Undecided, Thought, Answer }

    public OutputGuide(Tokenizer tokenizer, GuideSettings settings)
    {
        (this.tokenizer, this.settings) = (tokenizer, settings);
        phase = settings.StartsInThought ? Phase.Thought : settings.MayThink ? Phase.Undecided : Phase.Answer;
        if (settings.Stops.Length > 0) stops = new ByteMatcher(settings.Stops);
    }

    /// <summary>Tokens of thought so far, the closing tag included.</summary>
    public int ReasoningTokens { get; private set; }

    /// <summary>The token that must come next; −1 where the model is free.</summary>
    public int Forced => forced >= 0 && forced < settings.ClosingTokens.Length ? settings.ClosingTokens[forced] : -1;

    /// <summary>Rules out what must not come next.</summary>
    public void Mask(Span<float> logits) { }

    /// <summary>Takes the token that came. True: the answer ends here.</summary>
    public bool Accept(int token)
    {
        bool stopped = false;
        if (phase != Phase.Answer) ReasoningTokens++;
        foreach (byte b in tokenizer.TokenBytes(token)) stopped |= Accept(b);
        if (forced >= 0) forced++;
        else if (phase == Phase.Thought && settings.ThinkingBudget is { } budget && ReasoningTokens >= budget && openBytes == 0) forced = 0;
        if (phase == Phase.Answer && opened >= 0)
        {
            if (!settings.StartsInThought && opened < OpeningTag.Length) ReasoningTokens = 0; // it was no thought after all
            opened = -1;
        }
        return stopped;
    }

    private static ReadOnlySpan<byte> OpeningTag => "<think>"u8;

    private bool Accept(byte b)
    {
        // Continuation bytes that the present character still lacks: a thought is never closed inside one.
        if ((b & 0xC0) != 0x80) openBytes = b >= 0xF0 ? 3 : b >= 0xE0 ? 2 : b >= 0xC0 ? 1 : 0;
        else if (openBytes > 0) openBytes--;
        switch (phase)
        {
            case Phase.Undecided:
                if (opened == 0 && b is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t') return false;
                if (b != OpeningTag[opened])
                {
                    phase = Phase.Answer;
                    return stops?.Add(b) == true;
                }
                if (++opened == OpeningTag.Length) phase = Phase.Thought;
                return false;
            case Phase.Thought:
                if (close.Add(b)) phase = Phase.Answer;
                return false;
            default:
                return stops?.Add(b) == true;
        }
    }
}
