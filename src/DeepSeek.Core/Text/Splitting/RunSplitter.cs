using DeepSeek.Text.Unicode;

namespace DeepSeek.Text.Splitting;

/// <summary>The simple patterns, without backtracking: <c>A?B{1,n}</c> and <c>B+$</c> with sets A and B.</summary>
/// <param name="lead">A: may stand in front of the run; null = nothing may.</param>
/// <param name="set">B: what the run is made of.</param>
/// <param name="max">At most so many; <see cref="int.MaxValue"/> = without limit.</param>
/// <param name="atLineEnd">Whether the run must end at the end of a line.</param>
internal sealed class RunSplitter(RuneSet? lead, RuneSet set, int max, bool atLineEnd) : Splitter
{
    /// <summary>A splitter for the pattern where it is one of the simple ones, else null.</summary>
    public static RunSplitter? TryCreate(Pattern pattern)
    {
        IReadOnlyList<Pattern> parts = pattern is Pattern.Sequence s ? s.Parts : [pattern];
        RuneSet? lead = null;
        int i = 0;
        if (parts.Count == 2 && parts[0] is Pattern.Repeat { Min: 0, Max: 1, Lazy: false, Body: Pattern.One first }) { lead = first.Set; i++; }
        bool end = parts.Count == 2 && parts[1] is Pattern.Anchor { Kind: AnchorKind.LineEnd };
        if (parts.Count - i - (end ? 1 : 0) != 1) return null;
        return parts[i] switch
        {
            Pattern.One one when !end => new RunSplitter(lead, one.Set, 1, false),
            Pattern.Repeat { Min: 1, Lazy: false, Body: Pattern.One one } r when !end || r.Max is null => new RunSplitter(lead, one.Set, r.Max ?? int.MaxValue, end),
            _ => null,
        };
    }

    public override bool Find(ReadOnlySpan<char> text, int from, ref SearchMemory? memory, out int start, out int end)
    {
        for (start = from; start < text.Length;)
        {
            int c = CharacterTables.CodePointAt(text, start, out int length);
            if (lead is not null && lead.Contains(c) && start + length < text.Length && set.ContainsAt(text, start + length, out _))
            {
                end = RunEnd(text, start + length);
                return true;
            }
            if (set.Contains(c))
            {
                end = RunEnd(text, start);
                if (!atLineEnd) return true;
                int run = end;
                // The longest part of the run that ends at a line's end: at the text's end, or in front of a line feed.
                if (end < text.Length && text[end] != '\n') end = start + Math.Max(0, text[start..end].LastIndexOf('\n'));
                if (end > start) return true;
                start = run;
                continue;
            }
            start += length;
        }
        start = end = text.Length;
        return false;
    }

    private int RunEnd(ReadOnlySpan<char> text, int start)
    {
        int end = start;
        for (int count = 0; end < text.Length && count < max && set.ContainsAt(text, end, out int length); count++) end += length;
        return end;
    }
}
