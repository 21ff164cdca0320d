namespace DeepSeek.Text.Splitting;

/// <summary>Finds the places where a text is cut. Immutable, thread-safe.</summary>
internal abstract class Splitter
{
    /// <summary>
    /// Looks for the first match that starts at or behind <paramref name="from"/>. The text is well-formed UTF-16, and <paramref name="from"/> is not inside
    /// a character.
    /// </summary>
    /// <param name="text">The text.</param>
    /// <param name="from">Where to begin.</param>
    /// <param name="memory">The same variable for all searches through one text; null at first.</param>
    /// <param name="start">Where the match starts.</param>
    /// <param name="end">Where it ends.</param>
    /// <returns>Whether there is one: [start, end), possibly empty.</returns>
    public abstract bool Find(ReadOnlySpan<char> text, int from, ref SearchMemory? memory, out int start, out int end);
}
