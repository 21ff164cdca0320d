namespace DeepSeek.Generation;

/// <summary>
/// Log-probabilities of a request's tokens under the model, before sampling settings, and of the most probable alternatives. The engine writes an entry before its token is published; the
/// consumer reads published ones.
/// </summary>
/// <param name="capacity">Most tokens.</param>
/// <param name="alternatives">Alternatives of each.</param>
internal sealed class LogProbabilities(int capacity, int alternatives)
{
    private const int PageTokens = 256;

    private readonly Page[] pages = new Page[capacity / PageTokens + 1];
    private readonly float[] values = new float[alternatives];
    private readonly int[] ids = new int[alternatives];
    private float[] raw = [];
    private double logSum;

    private sealed record Page(float[] Own, int[] Ids, float[] Values);

    /// <summary>Takes a row of raw logits.</summary>
    public void Observe(ReadOnlySpan<float> logits)
    {
        if (raw.Length != logits.Length) raw = new float[logits.Length];
        logits.CopyTo(raw);
        logSum = Vectors.LogSumOfExponentials(logits);
        Array.Fill(values, float.NegativeInfinity);
        Array.Fill(ids, -1);
        for (int i = 0; i < logits.Length && alternatives > 0; i++)
        {
            float z = logits[i];
            if (!(z > values[^1])) continue;
            int at = alternatives - 1;
            for (; at > 0 && values[at - 1] < z; at--) (values[at], ids[at]) = (values[at - 1], ids[at - 1]);
            (values[at], ids[at]) = (z, i);
        }
    }

    /// <summary>Notes the token that was drawn from the row.</summary>
    /// <param name="index">Its place in the answer.</param>
    /// <param name="token">Its id.</param>
    public void Record(int index, int token)
    {
        Page page = pages[index / PageTokens] ??= new Page(new float[PageTokens], new int[PageTokens * alternatives], new float[PageTokens * alternatives]);
        int at = index % PageTokens;
        page.Own[at] = (float)(raw[token] - logSum);
        for (int k = 0; k < alternatives; k++)
        {
            page.Ids[at * alternatives + k] = ids[k];
            page.Values[at * alternatives + k] = (float)(values[k] - logSum);
        }
    }

    /// <summary>The entry of a published token.</summary>
    public GeneratedToken this[int index, int id]
    {
        get
        {
            Page page = pages[index / PageTokens];
            int at = index % PageTokens;
            var list = new List<TokenAlternative>(alternatives);
            for (int k = 0; k < alternatives; k++)
                if (page.Ids[at * alternatives + k] is >= 0 and int other) list.Add(new TokenAlternative(other, page.Values[at * alternatives + k]));
            return new GeneratedToken(id, page.Own[at], list);
        }
    }
}
