namespace DeepSeek.Generation;

/// <summary>Finds the first of a few byte strings in a stream, byte by byte (Knuth, Morris, Pratt 1977, once for each). Allocates nothing while it runs.</summary>
internal sealed class ByteMatcher
{
    private readonly byte[][] patterns;
    private readonly int[][] borders;
    private readonly int[] matched;

    /// <param name="patterns">None empty.</param>
    public ByteMatcher(params byte[][] patterns)
    {
        this.patterns = patterns;
        borders = [.. patterns.Select(Borders)];
        matched = new int[patterns.Length];
    }

    /// <summary>Takes a byte. True: one of the strings ends with it.</summary>
    public bool Add(byte value)
    {
        bool found = false;
        for (int p = 0; p < patterns.Length; p++)
        {
            byte[] pattern = patterns[p];
            int m = matched[p];
            while (m > 0 && pattern[m] != value) m = borders[p][m - 1];
            if (pattern[m] == value) m++;
            if (m == pattern.Length)
            {
                found = true;
                m = borders[p][m - 1];
            }
            matched[p] = m;
        }
        return found;
    }

    /// <summary>For each beginning: length of the longest shorter beginning that is also its end.</summary>
    private static int[] Borders(byte[] pattern)
    {
        var b = new int[pattern.Length];
        for (int i = 1, m = 0; i < pattern.Length; i++)
        {
            while (m > 0 && pattern[m] != pattern[i]) m = b[m - 1];
            if (pattern[m] == pattern[i]) m++;
            b[i] = m;
        }
        return b;
    }
}
