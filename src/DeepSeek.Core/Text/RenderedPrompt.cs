namespace DeepSeek.Text;

/// <summary>A stretch of characters: [Start, End) in UTF-16 units.</summary>
internal readonly record struct TextRange(int Start, int End);

/// <summary>
/// A prompt as a chat template wrote it, with the places where the caller's own words stand. Only text outside those places may become control tokens:
/// a user's literal <c>&lt;|im_start|&gt;</c> stays ordinary text. The text is tokenised as one string, so that ordinary merges cross the borders.
/// </summary>
/// <param name="Text">The whole prompt.</param>
/// <param name="Untrusted">Where the caller's words stand: ascending, not overlapping, none empty.</param>
internal sealed record RenderedPrompt(string Text, IReadOnlyList<TextRange> Untrusted)
{
    /// <summary>A prompt that is the program's own text throughout.</summary>
    public static RenderedPrompt Trusted(string text) => new(text, []);

    /// <summary>Whether the caller wrote this character.</summary>
    public bool IsUntrusted(int at)
    {
        int low = 0, high = Untrusted.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (Untrusted[middle].End <= at) low = middle + 1;
            else high = middle;
        }
        return low < Untrusted.Count && Untrusted[low].Start <= at;
    }

    /// <summary>A part of it.</summary>
    public RenderedPrompt Slice(int start, int end)
        => new(Text[start..end], [.. Untrusted.Where(r => r.End > start && r.Start < end).Select(r => new TextRange(Math.Max(r.Start, start) - start, Math.Min(r.End, end) - start))]);
}
