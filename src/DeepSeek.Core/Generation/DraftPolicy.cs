namespace DeepSeek.Generation;

/// <summary>
/// How many tokens are worth drafting for a request: those that bring most tokens in the time of a step, by how many of its drafts were accepted lately and by what a step with drafts
/// costs. It changes the number of steps, never the text.
/// </summary>
/// <param name="mode">Off: none. Auto: by measured costs. On: by a cost that hardly any machine exceeds, so that it depends on the text alone.</param>
internal sealed class DraftPolicy(Speculation mode)
{
    /// <summary>A module that gives its best token less than this is guessing: nothing is drafted.</summary>
    public const double LeastProbability = 0.25;

    /// <summary>
    /// Rows of a step in which tokens are drafted by default. With more, arithmetic is what a step costs, and rows that may be wrong are not free; and up to so many rows the recipe of a
    /// product is one, so that the clock, which decides, changes no bit.
    /// </summary>
    public const int MostRows = 4;

    /// <summary>Where more sequences share a step, nothing is drafted by default.</summary>
    public const int MostSequences = MostRows / 2;

    /// <summary>
    /// Models whose tokens use fewer parameters run their draft module only when told to: it has to run in prompts too, their weights stay in the processor's caches, a step is arithmetic
    /// and overhead, and drafting made the embedded tiny-reasoner slower (measured: 0.6 times, with nearly every draft accepted).
    /// </summary>
    public const long LeastParameters = 64_000_000;

    /// <summary>Weight of a new observation.</summary>
    private const float Step = 0.2f;

    /// <summary>What a draft costs in steps where that is not measured: the row that verifies it and the module that makes it, where arithmetic counts.</summary>
    private const double Assumed = 0.7;

    /// <summary>Above this share one more token is drafted behind, where costs are not measured.</summary>
    private const float Deeper = 0.95f;

    /// <summary>Drafts at a distance that fall below this share are given up, where costs are not measured: they cost most and bring least.</summary>
    private const float Further = 0.85f;

    /// <summary>What drafting must bring to be done.</summary>
    private const double LeastGain = 1.02;

    /// <summary>The share accepted that is assumed when drafting is tried again.</summary>
    private const float Trial = 0.75f;

    /// <summary>Steps with drafts before more than one is drafted.</summary>
    private const int Enough = 8;

    /// <summary>Tokens after which drafting is tried again.</summary>
    private const int Patience = 128;

    /// <summary>Share accepted of drafts at each distance, of those that were looked at.</summary>
    private readonly float[] share = [1, 1, 1];
    private int seen, idle; // idle: tokens since drafts were looked at

    public int Drafted { get; private set; }

    public int Accepted { get; private set; }

    /// <summary>Tokens to draft now.</summary>
    /// <param name="costs">What steps cost.</param>
    /// <param name="sequences">Sequences that share a step.</param>
    public int Limit(DraftCosts costs, int sequences)
    {
        bool measured = mode == Speculation.Auto;
        if (mode == Speculation.Off || (measured && (sequences > MostSequences || costs.WantsPlain(sequences)))) return 0;
        int best = 0;
        double most = LeastGain, tokens = 1, reached = 1;
        int deepest = seen < Enough ? 1 : measured ? Math.Min(Sequence.MaxDrafts, MostRows / sequences - 1) : Sequence.MaxDrafts;
        for (int drafts = 1; drafts <= deepest; drafts++)
        {
            if (!measured && drafts > 1 && (share[drafts - 2] <= Deeper || share[drafts - 1] <= Further)) break;
            tokens += reached *= share[drafts - 1];
            double gain = tokens / (measured ? costs.Of(sequences, drafts) : 1 + Assumed * drafts);
            if (gain <= most) continue;
            (best, most) = (drafts, gain);
        }
        return best;
    }

    /// <summary>Learns from a step: that many drafts were looked at, one after the other, until one was not accepted.</summary>
    public void Observe(int drafted, int accepted)
    {
        Drafted += drafted;
        Accepted += accepted;
        seen++;
        idle = 0;
        if (seen % Patience == 0) // far drafts that failed once are never looked at again otherwise
            for (int i = 1; i < share.Length; i++) share[i] = Math.Max(share[i], Trial);
        for (int i = 0; i < drafted; i++) share[i] += ((i < accepted ? 1 : 0) - share[i]) * Step;
    }

    /// <summary>A token came.</summary>
    public void Count()
    {
        if (++idle % Patience == 0) share[0] = Math.Max(share[0], Trial);
    }
}
