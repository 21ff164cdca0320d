namespace DeepSeek.Generation;

/// <summary>
/// How many tokens are worth drafting for a request: by how many of its drafts were accepted lately. It changes the number of steps, never the text.
/// </summary>
/// <param name="mode">Off: none.</param>
internal sealed class DraftPolicy(Speculation mode)
{
    /// <summary>A module that gives its best token less than this is guessing: nothing is drafted.</summary>
    public const double LeastProbability = 0.25;

    /// <summary>Where more sequences share a step, arithmetic is what it costs, and rows that may be wrong are not free: by default nothing is drafted there.</summary>
    public const int MostSequences = 4;

    /// <summary>
    /// Models whose tokens use fewer parameters draft only when told to: their weights stay in the processor's caches, a step is arithmetic and overhead, and drafting made the embedded
    /// tiny-reasoner slower (measured: 0.6 times, with nearly every draft accepted).
    /// </summary>
    public const long LeastParameters = 64_000_000;

    /// <summary>Weight of a new observation.</summary>
    private const float Step = 0.2f;

    /// <summary>
    /// Below this share a draft costs more than it saves: the row that verifies it and the module that makes it take about 0.7 of a step where arithmetic counts.
    /// </summary>
    private const float Paying = 0.7f;

    /// <summary>Above this share, over <see cref="Enough"/> drafts, one more token is drafted behind.</summary>
    private const float Deeper = 0.95f;

    /// <summary>Drafts at a distance that fall below this share are given up: they cost most and bring least.</summary>
    private const float Further = 0.85f;

    private const int Enough = 8;

    /// <summary>Tokens after which drafting is tried again.</summary>
    private const int Patience = 128;

    /// <summary>Share accepted of drafts at each distance, of those that were looked at.</summary>
    private readonly float[] share = [1, 1, 1];
    private int seen, idle;

    /// <summary>Tokens to draft now.</summary>
    public int Limit
    {
        get
        {
            if (mode == Speculation.Off || share[0] < Paying) return 0;
            int limit = 1;
            while (limit < Sequence.MaxDrafts && seen >= Enough && share[limit - 1] > Deeper && share[limit] > Further) limit++;
            return limit;
        }
    }

    public int Drafted { get; private set; }

    public int Accepted { get; private set; }

    /// <summary>Learns from a step: that many drafts were looked at, one after the other, until one was not accepted.</summary>
    public void Observe(int drafted, int accepted)
    {
        Drafted += drafted;
        Accepted += accepted;
        seen++;
        for (int i = 0; i < drafted; i++) share[i] += ((i < accepted ? 1 : 0) - share[i]) * Step;
    }

    /// <summary>A token came while nothing was drafted.</summary>
    public void Idle()
    {
        if (mode != Speculation.Off && ++idle % Patience == 0) share[0] = Paying;
    }
}
