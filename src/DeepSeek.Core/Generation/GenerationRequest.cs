namespace DeepSeek.Generation;

/// <summary>What a generation is made of, with every default resolved.</summary>
/// <param name="Sampling">How tokens are drawn.</param>
/// <param name="MaxTokens">Most tokens of the answer.</param>
/// <param name="EndTokens">Tokens that end the answer.</param>
/// <param name="Entries">Logits beyond these stand for no token.</param>
/// <param name="TopLogProbabilities">Alternatives to report for each token; null: no log-probabilities.</param>
/// <param name="Speculation">When tokens are drafted.</param>
internal sealed record GenerationSettings(SamplingSettings Sampling, int MaxTokens, int[] EndTokens, int Entries, int? TopLogProbabilities, Speculation Speculation)
{
    public int Priority { get; init; }

    public string? Tenant { get; init; }

    /// <summary>Keeps the logits that the last token was drawn from.</summary>
    public bool KeepsLastLogits { get; init; }
}

/// <summary>A request for text. Its tokens are in the sequence's array; the consumer reads as many as <see cref="Feed"/> says, and turns them into text on its own thread.</summary>
internal sealed class GenerationRequest : Request
{
    private readonly GenerationSettings settings;
    private readonly TimeProvider clock;
    private readonly OutputGuide? guide;
    private readonly Penalties? said;
    private readonly DraftPolicy drafts;
    private long firstAt, lastAt, endedAt;

    /// <param name="prompt">Token ids; at least one, fewer than the context holds.</param>
    /// <param name="settings">What is wanted.</param>
    /// <param name="guide">What may come next, and where it ends; null: free text.</param>
    /// <param name="engine">Limits.</param>
    /// <param name="blockTokens">Positions of a cache block.</param>
    /// <param name="draftsByModule">Whether the model's draft module runs along.</param>
    public GenerationRequest(ReadOnlySpan<int> prompt, GenerationSettings settings, OutputGuide? guide, EngineSettings engine, int blockTokens, bool draftsByModule)
    {
        (this.settings, this.guide, clock) = (settings, guide, engine.Clock);
        if (prompt.Length == 0) throw new InvalidOptionException("The prompt has no tokens. Give it at least one.");
        if (prompt.Length >= engine.ContextLength) throw new ContextLengthException(prompt.Length, engine.ContextLength);
        int capacity = (int)Math.Min((long)prompt.Length + settings.MaxTokens, engine.ContextLength);
        Sequence = new Sequence(prompt, capacity, blockTokens) { Request = this, Priority = settings.Priority, Tenant = settings.Tenant, DraftsByModule = draftsByModule };
        drafts = new DraftPolicy(settings.Speculation);
        if (settings.Sampling.HasPenalties)
        {
            said = new Penalties(settings.Entries, capacity);
            said.AddPrompt(prompt);
        }
        if (settings.TopLogProbabilities is { } top) LogProbabilities = new LogProbabilities(capacity - prompt.Length, top);
    }

    public override Sequence Sequence { get; }

    public override RowsWanted Rows => RowsWanted.Last;

    /// <summary>Top-k and the most probable token need no more than their own logits, as long as nothing else looks at them or changes them.</summary>
    public override int Candidates
        => guide is not null || LogProbabilities is not null || settings.KeepsLastLogits || Followers.Count > 0 || settings.Sampling.HasPenalties || settings.Sampling.LogitBias.Length > 0 ? 0
            : settings.Sampling.Candidates;

    public override int DraftLimit(DraftCosts costs, int sequences) => drafts.Limit(costs, sequences);

    /// <summary>Generated tokens that were reasoning; valid when the feed has ended.</summary>
    public int ReasoningTokens => guide?.ReasoningTokens ?? 0;

    /// <summary>Wakes the consumer.</summary>
    public TokenFeed Feed { get; } = new();

    /// <summary>Log-probabilities of published tokens; null unless asked for.</summary>
    public LogProbabilities? LogProbabilities { get; }

    /// <summary>Why it ended; valid when the feed has ended without an error.</summary>
    public FinishReason FinishReason { get; private set; }

    /// <summary>The error that ended it; valid when the feed has ended.</summary>
    public Exception? Error { get; private set; }

    /// <summary>
    /// Requests for other answers to the same prompt: when this one's prompt is computed they go on from its cache blocks. Set before it is submitted, together with them.
    /// </summary>
    public IReadOnlyList<GenerationRequest> Followers { get; init; } = [];

    /// <summary>The logits behind the prompt, for the followers; null before they are there.</summary>
    public float[]? PromptLogits { get; private set; }

    /// <summary>The logits that the last token was drawn from, where they are kept.</summary>
    public float[]? LastLogits { get; private set; }

    /// <summary>Published tokens of the answer.</summary>
    public ReadOnlySpan<int> Answer(int count) => Sequence.Storage.AsSpan(Sequence.PromptLength, count);

    /// <summary>What it cost; valid when the feed has ended.</summary>
    public GenerationUsage Usage(int generated) => new()
    {
        PromptTokens = Sequence.PromptLength,
        CachedTokens = Math.Max(Sequence.CachedTokens, 0),
        GeneratedTokens = generated,
        ReasoningTokens = ReasoningTokens,
        DraftedTokens = drafts.Drafted,
        AcceptedTokens = drafts.Accepted,
        QueueTime = clock.GetElapsedTime(SubmittedAt, AdmittedAt == 0 ? endedAt : AdmittedAt),
        PromptTime = AdmittedAt == 0 ? default : clock.GetElapsedTime(AdmittedAt, firstAt == 0 ? endedAt : firstAt),
        GenerationTime = firstAt == 0 ? default : clock.GetElapsedTime(firstAt, lastAt),
    };

    public override bool OnLogits(Span<float> logits, int position, Sampler sampler)
    {
        if (Followers.Count > 0 && Sequence.Length == Sequence.PromptLength) PromptLogits = logits.ToArray();
        if (settings.KeepsLastLogits) logits.CopyTo(LastLogits ??= new float[logits.Length]);
        logits = logits[..settings.Entries];
        LogProbabilities?.Observe(logits);
        int token = guide?.Forced ?? -1;
        if (token < 0)
        {
            guide?.Mask(logits);
            token = sampler.Draw(logits, settings.Sampling, said, position);
        }
        LogProbabilities?.Record(Sequence.Length - Sequence.PromptLength, token);
        drafts.Count();
        Sequence.Append(token);
        said?.AddAnswer(token);
        lastAt = clock.GetTimestamp();
        if (firstAt == 0) firstAt = lastAt;
        if (settings.EndTokens.AsSpan().Contains(token) || guide?.Accept(token) == true) FinishReason = FinishReason.Stop;
        else if (Sequence.Length >= Sequence.Capacity) FinishReason = FinishReason.Length;
        else return false;
        return true;
    }

    public override int Draft(Span<float> logits, int position, Sampler sampler)
    {
        logits = logits[..settings.Entries];
        double least = Vectors.LogSumOfExponentials(logits) + Math.Log(DraftPolicy.LeastProbability);
        if (Vectors.Max(logits) < least) return -1;
        return sampler.Draw(logits, settings.Sampling, said, position); // the same number decides for draft and model: where their distributions agree, so do the draws
    }

    public override void OnDrafts(int drafted, int accepted) => drafts.Observe(drafted, accepted);

    public override void Publish() => Feed.Publish(Sequence.Length - Sequence.PromptLength);

    protected override void Ended(Exception? error)
    {
        Error = error;
        endedAt = clock.GetTimestamp();
        Feed.End(Sequence.Length - Sequence.PromptLength);
    }
}
