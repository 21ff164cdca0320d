using System.Text;
using DeepSeek.Generation.Constraints;
using DeepSeek.Text;

namespace DeepSeek.Generation;

/// <summary>What a guide watches for.</summary>
/// <param name="StartsInThought">The prompt opened the thought itself.</param>
/// <param name="MayThink">An answer that begins with the opening tag begins with a thought.</param>
/// <param name="ThinkingBudget">Tokens of thought after which it is closed; null: no limit.</param>
/// <param name="ClosingTokens">What closes a thought.</param>
/// <param name="Stops">The answer ends with the first of these; thoughts may contain them.</param>
/// <param name="OpeningToken">The token that opens a thought; null where several together do.</param>
internal sealed record GuideSettings(bool StartsInThought, bool MayThink, int? ThinkingBudget, int[] ClosingTokens, byte[][] Stops, int? OpeningToken);

/// <summary>
/// Follows an answer token by token on the engine's thread: where the thought ends, whether it has to be closed, what the answer is held to, where it stops. It reads tokens' bytes;
/// nothing is allocated after construction, but for what a constraint takes.
/// </summary>
internal sealed class OutputGuide
{
    private readonly Tokenizer tokenizer;
    private readonly GuideSettings settings;
    private readonly ByteMatcher close = new("</think>"u8.ToArray());
    private readonly ByteMatcher? stops;
    private readonly GrammarMatcher? constraint;
    private Phase phase;
    private int opened, forced = -1, openBytes;

    private enum Phase : byte { Undecided, Thought, Answer }

    /// <param name="tokenizer">Whose tokens they are.</param>
    /// <param name="settings">What to watch for.</param>
    /// <param name="constraint">What the answer is held to, once the thought is over; null: nothing.</param>
    public OutputGuide(Tokenizer tokenizer, GuideSettings settings, GrammarMatcher? constraint)
    {
        (this.tokenizer, this.settings, this.constraint) = (tokenizer, settings, constraint);
        // An answer that is held to something can begin with a thought only where one token says so.
        bool mayThink = settings.MayThink && (constraint is null || settings.OpeningToken is not null);
        phase = settings.StartsInThought ? Phase.Thought : mayThink ? Phase.Undecided : Phase.Answer;
        if (settings.Stops.Length > 0) stops = new ByteMatcher(settings.Stops);
    }

    /// <summary>The guide of an answer; null where there is nothing to watch for.</summary>
    /// <exception cref="UnsupportedModelException">A constraint cannot be enforced.</exception>
    /// <exception cref="InvalidOptionException">A constraint is malformed, or nothing satisfies it.</exception>
    public static OutputGuide? For(LoadedModel model, Prompt prompt, GenerationOptions options, bool isChat)
    {
        GrammarMatcher? constraint = ConstraintOf(model, prompt, options);
        bool mayThink = isChat && options.Thinking != false && model.Prompter?.MayThink == true;
        // With tools on offer a stop string ends the answer on the reader's side only: calls may contain it.
        byte[][] stops = prompt.Dialect is null ? [.. (options.StopSequences ?? []).Select(Encoding.UTF8.GetBytes)] : [];
        if (constraint is null && !prompt.StartsInThought && !mayThink && stops.Length == 0) return null;
        int[] closing = options.ThinkingBudget is null ? [] : model.Tokenizer.Encode("\n" + ReasoningSplitter.Close, parseSpecialTokens: true);
        return new OutputGuide(model.Tokenizer, new GuideSettings(prompt.StartsInThought, mayThink, options.ThinkingBudget, closing, stops, model.Tokenizer.IdOf(ReasoningSplitter.Open)), constraint);
    }

    private static GrammarMatcher? ConstraintOf(LoadedModel model, Prompt prompt, GenerationOptions options)
    {
        GrammarMatcher? text = options.Constraint is { } constraint ? model.Constraints.Start(constraint) : null; // refused now, and not when its turn comes
        if (prompt.Dialect is not { } dialect || options.Tools is not { Count: > 0 } tools) return text;
        bool isRequired = options.ToolChoice == ToolChoice.Required || options.ToolChoice is ToolChoice.Function;
        if (!isRequired && text is null) return null;
        ToolDefinition[] allowed = options.ToolChoice is ToolChoice.Function f ? [tools.First(t => t.Name == f.Name)] : [.. tools];
        bool several = options.AllowParallelToolCalls != false && options.ToolChoice is not ToolChoice.Function;
        string key = ToolGrammar.Key(dialect, allowed, several);
        if (isRequired) return model.Constraints.Start(key, b => ToolGrammar.Compose(b, model.Tokenizer, dialect, allowed, several));
        return model.Constraints.Start($"{key}\n{ConstraintCache.KeyOf(options.Constraint!)}", b => b.Choice(ToolGrammar.Compose(b, model.Tokenizer, dialect, allowed, several), b.Constraint(options.Constraint!)));
    }

    /// <summary>Tokens of thought so far, the closing tag included.</summary>
    public int ReasoningTokens { get; private set; }

    /// <summary>The token that must come next; −1 where the model is free.</summary>
    public int Forced => forced >= 0 && forced < settings.ClosingTokens.Length ? settings.ClosingTokens[forced] : -1;

    /// <summary>Rules out what must not come next.</summary>
    public void Mask(Span<float> logits)
    {
        if (constraint is null || phase == Phase.Thought) return;
        float think = phase == Phase.Undecided ? logits[settings.OpeningToken!.Value] : 0;
        constraint.Mask.Apply(logits);
        if (phase == Phase.Undecided) logits[settings.OpeningToken!.Value] = think;
    }

    /// <summary>Takes the token that came. True: the answer ends here.</summary>
    public bool Accept(int token)
    {
        bool stopped = false, constrained = phase == Phase.Answer;
        if (phase != Phase.Answer) ReasoningTokens++;
        foreach (byte b in tokenizer.TokenBytes(token)) stopped |= Accept(b);
        if (forced >= 0) forced++;
        else if (phase == Phase.Thought && settings.ThinkingBudget is { } budget && ReasoningTokens >= budget && openBytes == 0) forced = 0;
        if (phase == Phase.Answer && opened >= 0)
        {
            if (!settings.StartsInThought && opened < OpeningTag.Length) ReasoningTokens = 0; // it was no thought after all
            constrained |= !settings.StartsInThought && opened < OpeningTag.Length;
            opened = -1;
        }
        if (constrained && constraint is not null)
        {
            if (!constraint.TryAccept(token)) throw new ModelException($"The token {token} breaks the constraint that it was drawn under. This is a defect of the library.");
            stopped |= constraint.MustEnd;
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
