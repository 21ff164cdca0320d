using DeepSeek.Caching;

namespace DeepSeek.Generation;

/// <summary>
/// Decides which tokens of which sequences a step works on: integers only. Everyone that generates takes part in every step; what is left of the step's tokens goes to prompts, in order.
/// The order is by priority, one more for every <see cref="StepsPerLevel"/> steps since arrival, then by arrival, so that nobody starves. Where the cache is full, the last in that order
/// gives its blocks back and waits again; the first one always goes on, since the cache holds at least one sequence of full length. Nothing is allocated while it plans.
/// </summary>
/// <param name="cache">Whose blocks are given out.</param>
/// <param name="maxSequences">Sequences that run at the same time.</param>
/// <param name="maxStepTokens">Tokens in a step; at least <paramref name="maxSequences"/>.</param>
/// <param name="aloneTokens">Where a prompt is alone, it is cut at multiples of the largest whole number of half blocks, or part of a block, that is no more than this.</param>
internal sealed class Scheduler(KvCache cache, int maxSequences, int maxStepTokens, int aloneTokens)
{
    /// <summary>Steps after which a sequence counts one level of priority more.</summary>
    public const int StepsPerLevel = 256;

    private readonly List<Sequence> waiting = new(64), running = new(maxSequences), planned = new(maxSequences);
    private readonly int stride = Stride(Math.Min(aloneTokens, maxStepTokens), cache.BlockTokens);
    private long step, arrivals;

    /// <summary>Sequences that hold blocks, the first in order in front (as of the last plan).</summary>
    public IReadOnlyList<Sequence> Running => running;

    /// <summary>Sequences that wait for a place.</summary>
    public IReadOnlyList<Sequence> Waiting => waiting;

    /// <summary>Sequences of the step that was planned last, with <see cref="Sequence.StepRows"/> set; their blocks cover those rows and what is drafted behind them.</summary>
    public IReadOnlyList<Sequence> Planned => planned;

    /// <summary>Times that a sequence had to give its blocks back.</summary>
    public long Preemptions { get; private set; }

    public void Enqueue(Sequence sequence)
    {
        Arrive(sequence, SequenceState.Waiting);
        waiting.Add(sequence);
    }

    /// <summary>Lets a new sequence begin where a running one is: both hold the same blocks. False where no more may run: it can be enqueued instead.</summary>
    public bool TryFork(Sequence from, Sequence to)
    {
        if (running.Count >= maxSequences) return false;
        Arrive(to, SequenceState.Running);
        cache.Fork(from.Blocks, to.Blocks, from.Computed);
        to.CachedTokens = to.Computed = from.Computed;
        running.Add(to);
        return true;
    }

    /// <summary>Takes a sequence out, wherever it is; its blocks are free at once.</summary>
    public void Remove(Sequence sequence)
    {
        if (!running.Remove(sequence)) waiting.Remove(sequence);
        planned.Remove(sequence);
        cache.Release(sequence.Blocks);
        sequence.State = SequenceState.Done;
    }

    /// <summary>Plans the next step into <see cref="Planned"/>; it stays empty where nothing can run.</summary>
    /// <param name="promptTokens">Most tokens of prompts, and of drafts, in this step: the time that they take is bounded by the caller. It does not count where a sequence is alone.</param>
    public void Plan(int promptTokens)
    {
        step++;
        planned.Clear();
        while (running.Count < maxSequences && NextWaiting() is { } next && TryAdmit(next)) { }
        Sort();
        bool isAlone = running.Count == 1 && waiting.Count == 0;
        if (isAlone) promptTokens = maxStepTokens;
        int left = Math.Min(promptTokens, maxStepTokens);
        for (int i = 0; i < running.Count && planned.Count < maxStepTokens; i++)
        {
            Sequence s = running[i];
            if (s.Pending > 1) continue;
            s.LimitDrafts(Math.Min(left - 1, s.Capacity - s.Length - 1));
            if (TryPlan(s, 1 + s.DraftCount)) left -= s.StepRows;
            if (i >= running.Count || running[i] != s) i--; // it, or one behind it, gave way
        }
        left = Math.Max(left, Math.Max(1, Math.Min(promptTokens, maxStepTokens) / 2)); // however many generate: prompts go on
        bool isFirst = true;
        for (int i = 0; i < running.Count; i++)
        {
            Sequence s = running[i];
            if (s.Pending <= 1) continue;
            int rows = isAlone ? Chunk(s, Math.Min(left, stride - s.Computed % stride), isFirst, Math.Min(stride & -stride, cache.BlockTokens)) : Chunk(s, left, isFirst, cache.BlockTokens);
            if (rows <= 0) continue;
            if (TryPlan(s, rows))
            {
                left -= rows;
                isFirst = false;
            }
            if (i >= running.Count || running[i] != s) i--;
        }
    }

    /// <summary>
    /// Prompts are cut at multiples of a unit, the block size or where a sequence is alone a part of it, and what is left behind the last multiple is a step's part of its own: so the cuts
    /// are the same whatever part of a prompt is cached, and however fast the machine is at the moment.
    /// </summary>
    private int Chunk(Sequence s, int left, bool isFirst, int unit)
    {
        int rows = Math.Min(Math.Min(s.Pending, left), s.MaxStepTokens), end = s.Computed + rows, cut = end - end % unit;
        if (cut > s.Computed) return cut - s.Computed;
        return rows == s.Pending || isFirst || s.MaxStepTokens < cache.BlockTokens ? rows : 0;
    }

    /// <summary>A whole number of half blocks, or a part of one that divides it.</summary>
    private static int Stride(int tokens, int blockTokens)
    {
        int half = Math.Max(blockTokens / 2, 1);
        return tokens >= half ? tokens / half * half : 1 << int.Log2(Math.Max(tokens, 1));
    }

    private bool TryPlan(Sequence s, int rows)
    {
        int to = Math.Min(s.Computed + rows + (s.DraftsByModule ? Sequence.MaxDrafts : 0), s.Capacity);
        while (!cache.Reserve(s.Blocks, s.Computed, to))
        {
            Sequence victim = running[^1];
            Preempt(victim);
            if (victim == s) return false;
        }
        s.StepRows = rows;
        planned.Add(s);
        return true;
    }

    private void Preempt(Sequence s)
    {
        running.Remove(s);
        planned.Remove(s);
        cache.Release(s.Blocks);
        s.ClearDrafts();
        s.Computed = 0;
        s.State = SequenceState.Waiting;
        waiting.Add(s);
        Preemptions++;
    }

    private bool TryAdmit(Sequence s)
    {
        int known = s.UsesPrefixes ? cache.Match(s.Blocks, s.Tokens, s.Tenant) : 0;
        int start = Math.Max(0, Math.Min(known - (s.DraftsByModule ? 1 : 0), s.Length - 1));
        if (cache.Needed(s.Blocks, start, Math.Min(s.Length + 1, s.Capacity)) > cache.AvailableCount)
        {
            cache.Release(s.Blocks);
            if (running.Count > 0) return false;
            start = 0; // its known beginning and the copy that it would write to do not fit together: alone, it is computed anew
            if (cache.BlocksFor(Math.Min(s.Length + 1, s.Capacity)) > cache.AvailableCount) return false;
        }
        s.Computed = start;
        if (s.CachedTokens < 0) s.CachedTokens = start;
        s.State = SequenceState.Running;
        waiting.Remove(s);
        running.Add(s);
        return true;
    }

    private Sequence? NextWaiting()
    {
        Sequence? best = null;
        foreach (Sequence s in waiting)
            if (best is null || Before(s, best)) best = s;
        return best;
    }

    /// <summary>Insertion: the list is nearly in order already.</summary>
    private void Sort()
    {
        for (int i = 1; i < running.Count; i++)
        {
            Sequence s = running[i];
            int at = i;
            for (; at > 0 && Before(s, running[at - 1]); at--) running[at] = running[at - 1];
            running[at] = s;
        }
    }

    private bool Before(Sequence a, Sequence b)
    {
        long x = a.Priority + (step - a.ArrivalStep) / StepsPerLevel, y = b.Priority + (step - b.ArrivalStep) / StepsPerLevel;
        return x != y ? x > y : a.Arrival < b.Arrival;
    }

    private void Arrive(Sequence s, SequenceState state)
    {
        (s.Arrival, s.ArrivalStep, s.State) = (arrivals++, step, state);
    }
}
