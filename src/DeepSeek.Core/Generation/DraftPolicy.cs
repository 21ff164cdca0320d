namespace DeepSeek.Generation;

/// <summary>How many tokens are worth drafting for a request: by how many of its drafts were accepted so far. It changes the number of steps, never the text.</summary>
/// <param name="mode">Auto: stops where it does not pay.</param>
internal sealed class DraftPolicy(Speculation mode)
{
    /// <summary>Weight of a new observation.</summary>
    private const float Step = 0.2f;

    /// <summary>Below this share a draft costs more than it saves: a drafted row costs about a third of a step.</summary>
    private const float Paying = 0.35f;

    /// <summary>Above this share one more token is drafted behind.</summary>
    private const float Deeper = 0.9f;

    /// <summary>Drafts without which a share says nothing.</summary>
    private const int Enough = 8;

    /// <summary>Tokens after which a draft that did not pay is tried again.</summary>
    private const int Patience = 64;

    /// <summary>Share accepted of drafts at each distance, of those that were looked at.</summary>
    private readonly float[] share = [1, 1, 1, 1];
    private readonly int[] seen = new int[Sequence.MaxDrafts];
    private int idle;

    /// <summary>Tokens to draft now.</summary>
    public int Limit
    {
        get
        {
            if (mode == Speculation.Off || (mode == Speculation.Auto && seen[0] >= Enough && share[0] < Paying)) return 0;
            int limit = 1;
            while (limit < Sequence.MaxDrafts && seen[limit - 1] >= Enough && share[limit - 1] > Deeper && (seen[limit] < 2 || share[limit] > Paying)) limit++;
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
        for (int i = 0; i < drafted; i++)
        {
            share[i] += ((i < accepted ? 1 : 0) - share[i]) * Step;
            seen[i]++;
        }
    }

    /// <summary>A token came without a draft.</summary>
    public void Idle()
    {
        if (++idle % Patience == 0) share[0] = Math.Max(share[0], Paying);
    }
}
