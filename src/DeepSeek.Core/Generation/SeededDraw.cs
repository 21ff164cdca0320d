namespace DeepSeek.Generation;

/// <summary>
/// Random numbers that depend on (seed, position) only: whatever else runs, however often a position is drawn, and in whatever order, the number is the same.
/// SplitMix64's output function (Steele, Lea, Flood 2014, with Stafford's variant 13) over seed and position, mixed once each.
/// </summary>
internal static class SeededDraw
{
    /// <summary>Uniform in [0, 1): the top 53 bits.</summary>
    public static double Uniform(ulong seed, int position) => (Mix(Mix(seed) + unchecked((ulong)(position + 1L) * 0x9E3779B97F4A7C15)) >> 11) * (1.0 / (1L << 53));

    private static ulong Mix(ulong x)
    {
        unchecked
        {
            x += 0x9E3779B97F4A7C15;
            x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
            x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
            return x ^ (x >> 31);
        }
    }
}
