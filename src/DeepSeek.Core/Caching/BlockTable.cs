namespace DeepSeek.Caching;

/// <summary>The cache blocks of one sequence, in order: block i holds positions [i·BlockTokens, (i+1)·BlockTokens). Filled by <see cref="KvCache"/>.</summary>
/// <param name="capacity">Most blocks.</param>
internal sealed class BlockTable(int capacity)
{
    private readonly int[] blocks = new int[capacity];

    public int Count { get; private set; }

    /// <summary>Blocks in front that the prefix index knows.</summary>
    public int IndexedCount { get; set; }

    public ReadOnlySpan<int> Blocks => blocks.AsSpan(0, Count);

    public int this[int index]
    {
        get => blocks[index];
        set => blocks[index] = value;
    }

    public void Add(int block) => blocks[Count++] = block;

    public void Clear() => Count = IndexedCount = 0;
}
