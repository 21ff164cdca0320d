namespace DeepSeek.Caching;

/// <summary>
/// Who holds which cache block: integers only. A block is free, held (by one or more block tables), or idle: held by nobody, but its contents are known to the prefix index and may be
/// wanted again. Idle blocks are given away when free ones run out, the one idle longest first. Nothing is allocated after construction.
/// </summary>
internal sealed class BlockPool
{
    private readonly int[] references, free, older, newer;
    private readonly bool[] kept;
    private int freeCount, idleCount, oldest = -1, newest = -1;

    public BlockPool(int blockCount)
    {
        references = new int[blockCount];
        free = new int[blockCount];
        older = new int[blockCount];
        newer = new int[blockCount];
        kept = new bool[blockCount];
        for (int i = 0; i < blockCount; i++) free[i] = blockCount - 1 - i; // low numbers first: memory that is never touched is never taken
        freeCount = blockCount;
    }

    public int BlockCount => references.Length;

    /// <summary>Blocks that <see cref="Take"/> can give: free and idle ones.</summary>
    public int AvailableCount => freeCount + idleCount;

    public int IdleCount => idleCount;

    /// <summary>Blocks that tables hold.</summary>
    public int HeldCount => BlockCount - AvailableCount;

    public int References(int block) => references[block];

    /// <summary>Whether its contents must not change: several tables hold it, or the prefix index knows it.</summary>
    public bool IsShared(int block) => references[block] > 1 || kept[block];

    /// <summary>A block, held once; −1 where there is none. <paramref name="forgotten"/>: it was idle, and the prefix index must forget it.</summary>
    public int Take(out bool forgotten)
    {
        forgotten = freeCount == 0;
        int block;
        if (!forgotten) block = free[--freeCount];
        else
        {
            if (idleCount == 0) return -1;
            block = oldest;
            Unlink(block);
            kept[block] = false;
        }
        references[block] = 1;
        return block;
    }

    /// <summary>Holds a held or idle block once more.</summary>
    public void Hold(int block)
    {
        if (references[block]++ == 0) Unlink(block);
    }

    /// <summary>Holds a block once less.</summary>
    public void Release(int block)
    {
        if (--references[block] > 0) return;
        if (kept[block]) Link(block);
        else free[freeCount++] = block;
    }

    /// <summary>The prefix index knows a held block from now on.</summary>
    public void Keep(int block) => kept[block] = true;

    private void Link(int block)
    {
        older[block] = newest;
        newer[block] = -1;
        if (newest >= 0) newer[newest] = block;
        else oldest = block;
        newest = block;
        idleCount++;
    }

    private void Unlink(int block)
    {
        if (older[block] >= 0) newer[older[block]] = newer[block];
        else oldest = newer[block];
        if (newer[block] >= 0) older[newer[block]] = older[block];
        else newest = older[block];
        idleCount--;
    }
}
