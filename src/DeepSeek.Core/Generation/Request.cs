using DeepSeek.Backends;
using DeepSeek.Tensors;

namespace DeepSeek.Generation;

/// <summary>Which rows' logits a request wants.</summary>
internal enum RowsWanted : byte { None, Last, All }

/// <summary>
/// Something that the engine does for somebody. Submitted once, ends exactly once: <see cref="Ended"/> is called on the engine's thread, or on the submitting one where the request was
/// refused. All other virtual members are called on the engine's thread only.
/// </summary>
internal abstract class Request
{
    private int ended;
    private volatile bool cancelled;

    /// <summary>Its tokens.</summary>
    public abstract Sequence Sequence { get; }

    public abstract RowsWanted Rows { get; }

    /// <summary>The most candidates for a token where they are few and the rest of the logits does not matter; 0 where all are wanted. The others are then −∞.</summary>
    public virtual int Candidates => 0;

    /// <summary>Whether <see cref="OnHidden"/> is called for every row.</summary>
    public virtual bool WantsHidden => false;

    public bool IsCancelled => cancelled;

    public long SubmittedAt { get; set; }

    public long AdmittedAt { get; set; }

    /// <summary>Asks the engine to end it; use <see cref="Engine.Cancel"/>.</summary>
    public void MarkCancelled() => cancelled = true;

    /// <summary>Takes a row of logits, which it may change. A request that generates appends the next token to its sequence here.</summary>
    /// <param name="logits">Of the token behind the row's.</param>
    /// <param name="position">Position that the logits are for.</param>
    /// <param name="sampler">Draws.</param>
    /// <returns>Whether the request has all that it wants.</returns>
    public abstract bool OnLogits(Span<float> logits, int position, Sampler sampler);

    /// <summary>Takes the hidden states of rows of the step.</summary>
    public virtual void OnHidden(Backend backend, Tensor rows, int firstPosition) { }

    /// <summary>Most tokens that are worth drafting for the next step.</summary>
    /// <param name="costs">What steps cost.</param>
    /// <param name="sequences">Sequences that share it.</param>
    public virtual int DraftLimit(DraftCosts costs, int sequences) => 0;

    /// <summary>The token that a draft module's logits stand for; −1 where none is likely enough. It may change the logits.</summary>
    public virtual int Draft(Span<float> logits, int position, Sampler sampler) => Sampler.Largest(logits);

    /// <summary>Learns what became of drafts: that many were looked at, that many of them accepted.</summary>
    public virtual void OnDrafts(int drafted, int accepted) { }

    /// <summary>Called after each step that the request took part in, when everything of the step is done.</summary>
    public virtual void Publish() { }

    /// <summary>Ends it, once; with the error that ended it, or null.</summary>
    /// <returns>False where it had ended before.</returns>
    public bool End(Exception? error)
    {
        if (Interlocked.Exchange(ref ended, 1) != 0) return false;
        Ended(error);
        return true;
    }

    protected abstract void Ended(Exception? error);
}
