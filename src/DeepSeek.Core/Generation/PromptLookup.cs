namespace DeepSeek.Generation;

/// <summary>Drafting without a module: text repeats itself, above all what a prompt contains. (Saxena 2023, prompt lookup decoding.)</summary>
internal static class PromptLookup
{
    private const int Longest = 3, Shortest = 2;

    /// <summary>Where the last tokens stood before, most recently, longest match first: the position behind them; −1 where they did not.</summary>
    public static int Find(ReadOnlySpan<int> tokens)
    {
        for (int n = Longest; n >= Shortest; n--)
        {
            if (tokens.Length <= n) continue;
            int at = tokens[..^1].LastIndexOf(tokens[^n..]);
            if (at >= 0) return at + n;
        }
        return -1;
    }
}
