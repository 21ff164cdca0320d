using DeepSeek.Backends;

namespace DeepSeek.Core.Tests.Backends;

/// <summary>Steps for operation cases: several sequences, blocks in any order.</summary>
internal static class Steps
{
    public const int BlockTokens = 8, Blocks = 64;

    /// <summary>For each step its sequences: tokens in the cache already, and new ones.</summary>
    public static (int Past, int New)[][] Shapes { get; } =
        [[(0, 1)], [(37, 1)], [(0, 7)], [(0, 33)], [(64, 66)], [(5, 1), (17, 2), (0, 7), (130, 1)], [(0, 130)], [(15, 1), (16, 1), (17, 1), (3, 33)]];

    public static string Describe((int Past, int New)[] parts) => string.Join(" ", parts.Select(p => $"{p.Past}+{p.New}"));

    /// <summary>A step of sequences, each with its first position, its row count and its blocks.</summary>
    public static StepLayout Of(int blockTokens, params (int First, int Count, int[] Blocks)[] sequences)
    {
        int tokens = sequences.Sum(s => s.Count);
        var step = new StepLayout(Math.Max(tokens, 1), sequences.Length, sequences.Sum(s => s.Blocks.Length), blockTokens);
        foreach ((int first, int count, int[] blocks) in sequences) step.Add(new int[count], first, blocks, 1);
        return step;
    }

    /// <summary>The step that fills the cache and the step under test, over blocks in a shuffled order. Sequences begin at firstPosition.</summary>
    public static (StepLayout Past, StepLayout Step) WithPast((int Past, int New)[] parts, int seed, int firstPosition = 0)
    {
        int[] order = [.. Enumerable.Range(0, Blocks)];
        new Random(seed).Shuffle(order);
        int next = 0;
        int[][] tables = [.. parts.Select(p => order[next..(next += (firstPosition + p.Past + p.New + BlockTokens - 1) / BlockTokens)])];
        return (Of(BlockTokens, [.. parts.Select((p, i) => (firstPosition, p.Past, tables[i])).Where(p => p.Past > 0)]),
            Of(BlockTokens, [.. parts.Select((p, i) => (firstPosition + p.Past, p.New, tables[i]))]));
    }
}
