namespace DeepSeek.Generation;

/// <summary>
/// What steps cost in which drafts are verified, beside steps without, as this machine shows while it runs the model: by the number of sequences, and of drafts for each. Whether drafting
/// pays depends on it (a dense model reads its weights once either way, a mixture of experts reads more experts for more rows), and no table knows it. One per engine, on its thread;
/// nothing is allocated after construction.
/// </summary>
internal sealed class DraftCosts
{
    /// <summary>Steps that are measured before a figure counts: the first ones compile code and wake memory.</summary>
    private const int Enough = 3;

    /// <summary>Steps with drafts after which one without is measured again: contexts grow, and machines have other things to do.</summary>
    private const int Fresh = 64;

    /// <summary>Steps without drafts after which what those with drafts cost is forgotten, so that it is tried again.</summary>
    private const int Memory = 128;

    private const double Step = 0.2;

    private readonly double[,] seconds = new double[DraftPolicy.MostSequences + 1, Sequence.MaxDrafts + 1];
    private readonly int[,] seen = new int[DraftPolicy.MostSequences + 1, Sequence.MaxDrafts + 1];
    private readonly int[] drafted = new int[DraftPolicy.MostSequences + 1], plain = new int[DraftPolicy.MostSequences + 1];

    /// <summary>Learns from a step of sequences that generate.</summary>
    /// <param name="sequences">Sequences in it.</param>
    /// <param name="drafts">Drafts that it verified, of all sequences together.</param>
    /// <param name="taken">Seconds that it took.</param>
    public void Observe(int sequences, int drafts, double taken)
    {
        if (sequences is < 1 or > DraftPolicy.MostSequences || taken <= 0) return;
        int each = Math.Min((drafts + sequences - 1) / sequences, Sequence.MaxDrafts);
        ref double known = ref seconds[sequences, each];
        // The least of the first; then an average in which a step that was held up counts for no more than twice what is usual.
        known = seen[sequences, each]++ < Enough ? (known == 0 ? taken : Math.Min(known, taken)) : known + Step * (Math.Min(taken, 2 * known) - known);
        if (each > 0)
        {
            drafted[sequences]++;
            plain[sequences] = 0;
            return;
        }
        drafted[sequences] = 0;
        if (++plain[sequences] % Memory != 0) return;
        for (int k = 1; k <= Sequence.MaxDrafts; k++) seconds[sequences, k] = seen[sequences, k] = 0;
    }

    /// <summary>Whether the next step should be one without drafts: there is nothing (recent) to compare with.</summary>
    public bool WantsPlain(int sequences) => sequences <= DraftPolicy.MostSequences && (seen[sequences, 0] < Enough || drafted[sequences] >= Fresh);

    /// <summary>
    /// A step with that many drafts for each sequence, in steps without. What was not tried is taken to cost no more than what was: for each draft as much as for the last one known, and
    /// nothing at all where none is.
    /// </summary>
    public double Of(int sequences, int drafts)
    {
        double one = seconds[sequences, 0];
        int known = drafts;
        while (known > 0 && seen[sequences, known] < Enough) known--;
        return known == 0 || one == 0 ? 1 : 1 + Math.Max(seconds[sequences, known] / one - 1, 0) * drafts / known;
    }
}
