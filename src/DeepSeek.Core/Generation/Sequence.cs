using DeepSeek.Caching;

namespace DeepSeek.Generation;

/// <summary>
/// A sequence of tokens on its way through the engine: what the scheduler and the cache need to know of it, in integers. Memory is taken at construction.
/// </summary>
/// <param name="prompt">Its tokens; at least one.</param>
/// <param name="capacity">Most tokens that it may come to hold, prompt included.</param>
/// <param name="blockTokens">Positions that a cache block covers.</param>
internal sealed class Sequence(ReadOnlySpan<int> prompt, int capacity, int blockTokens)
{
    /// <summary>Most drafted tokens in a step. Further ones are rarely right; and up to four rows, memory decides what a step takes, not arithmetic.</summary>
    public const int MaxDrafts = 3;

    private readonly int[] tokens = Copy(prompt, capacity);

    /// <summary>Higher goes first where sequences wait.</summary>
    public int Priority { get; init; }

    /// <summary>Sequences of different tenants never share prefixes.</summary>
    public string? Tenant { get; init; }

    /// <summary>Whether known prefixes may be used: not where every row's result is wanted.</summary>
    public bool UsesPrefixes { get; init; } = true;

    /// <summary>Whether the draft module needs the hidden state of the last known token: that token is then computed again.</summary>
    public bool DraftsByModule { get; set; }

    /// <summary>Most tokens of it in one step.</summary>
    public int MaxStepTokens { get; init; } = int.MaxValue;

    public int PromptLength { get; } = prompt.Length;

    public int Capacity { get; } = capacity;

    /// <summary>Tokens so far, prompt and answer.</summary>
    public int Length { get; private set; } = prompt.Length;

    /// <summary>Positions whose cache rows are valid.</summary>
    public int Computed { get; set; }

    /// <summary>Tokens whose cache rows are missing; 1 while it generates.</summary>
    public int Pending => Length - Computed;

    /// <summary>Tokens of the prompt that were found in the cache when it was first admitted; −1 before.</summary>
    public int CachedTokens { get; set; } = -1;

    public BlockTable Blocks { get; } = new((capacity + blockTokens - 1) / blockTokens);

    /// <summary>Order of arrival; set by the scheduler.</summary>
    public long Arrival { get; set; }

    /// <summary>The scheduler's step at its arrival; set by the scheduler.</summary>
    public long ArrivalStep { get; set; }

    /// <summary>Where it stands; set by the scheduler.</summary>
    public SequenceState State { get; set; }

    /// <summary>Tokens of it in the present step, drafts included.</summary>
    public int StepRows { get; set; }

    /// <summary>Drafted tokens behind <see cref="Length"/>, to be verified in the next step.</summary>
    public int DraftCount { get; private set; }

    public ReadOnlySpan<int> Tokens => tokens.AsSpan(0, Length);

    /// <summary>The tokens that the present step works on: behind what is computed, drafts included.</summary>
    public ReadOnlySpan<int> StepTokens => tokens.AsSpan(Computed, StepRows);

    /// <summary>The request that it belongs to; the scheduler never looks.</summary>
    public Request? Request { get; init; }

    /// <summary>The array behind <see cref="Tokens"/>, for readers on other threads: entries below a published length never change.</summary>
    public int[] Storage => tokens;

    public void Append(int token) => tokens[Length++] = token;

    /// <summary>Adds a drafted token; there must be room for it below <see cref="Capacity"/>.</summary>
    public void AddDraft(int token) => tokens[Length + DraftCount++] = token;

    /// <summary>The draft for the next position: <see cref="Append"/> overwrites it.</summary>
    public int NextDraft => tokens[Length];

    public void ClearDrafts() => DraftCount = 0;

    /// <summary>Keeps the first drafts only.</summary>
    public void LimitDrafts(int count) => DraftCount = Math.Min(DraftCount, Math.Max(count, 0));

    private static int[] Copy(ReadOnlySpan<int> prompt, int capacity)
    {
        int[] all = GC.AllocateUninitializedArray<int>(capacity);
        prompt.CopyTo(all);
        return all;
    }
}

/// <summary>Where a sequence stands.</summary>
internal enum SequenceState : byte
{
    /// <summary>Not yet with the scheduler.</summary>
    New,
    /// <summary>Waits for a place, for the first time or again.</summary>
    Waiting,
    /// <summary>Holds cache blocks and takes part in steps.</summary>
    Running,
    /// <summary>Ended; holds nothing.</summary>
    Done,
}
