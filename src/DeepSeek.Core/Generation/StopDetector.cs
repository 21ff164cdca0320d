namespace DeepSeek.Generation;

/// <summary>
/// Ends a text before the first of a few strings, wherever the pieces are cut: text that may be the beginning of one is held back until it is decided. Of strings that begin at the same
/// place the shortest counts, of overlapping ones the one that is complete first.
/// </summary>
/// <param name="stops">The strings; none empty.</param>
internal sealed class StopDetector(IReadOnlyList<string> stops)
{
    private string held = "";

    /// <summary>Whether one of the strings has come.</summary>
    public bool Stopped { get; private set; }

    /// <summary>Takes a piece; returns what can be shown now.</summary>
    public string Add(string piece)
    {
        if (Stopped || piece.Length == 0) return "";
        string all = held + piece;
        int end = int.MaxValue, start = 0;
        foreach (string stop in stops)
        {
            int at = all.IndexOf(stop, StringComparison.Ordinal);
            if (at < 0 || at + stop.Length > end || (at + stop.Length == end && at >= start)) continue;
            (start, end) = (at, at + stop.Length);
        }
        if (end != int.MaxValue)
        {
            Stopped = true;
            held = "";
            return all[..start];
        }
        int keep = 0;
        foreach (string stop in stops)
            for (int n = Math.Min(stop.Length - 1, all.Length); n > keep; n--)
                if (all.AsSpan(all.Length - n).SequenceEqual(stop.AsSpan(0, n))) keep = n;
        held = all[^keep..];
        return all[..^keep];
    }

    /// <summary>What was held back, when no more text comes.</summary>
    public string Flush()
    {
        string rest = held;
        held = "";
        return rest;
    }
}
