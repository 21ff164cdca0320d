using DeepSeek.Backends;

namespace DeepSeek.Caching;

/// <summary>
/// The attention cache of all sequences: block tables over one pool, shared prefixes, copies on write. It moves integers; the only bytes it touches are copies of whole blocks.
/// Not thread-safe: the engine's thread uses it.
/// </summary>
/// <param name="storage">The bytes; owned by the caller.</param>
/// <param name="sharePrefixes">Whether blocks are kept and found by their tokens.</param>
internal sealed class KvCache(CacheStorage storage, bool sharePrefixes)
{
    private readonly BlockPool pool = new(storage.BlockCount);
    private readonly PrefixIndex index = new(sharePrefixes ? storage.BlockCount : 0, storage.BlockTokens);

    public CacheStorage Storage { get; } = storage;

    public int BlockTokens { get; } = storage.BlockTokens;

    public int BlockCount => pool.BlockCount;

    /// <summary>Blocks that sequences hold.</summary>
    public int HeldCount => pool.HeldCount;

    /// <summary>Blocks that can be had, known prefixes that nobody holds included.</summary>
    public int AvailableCount => pool.AvailableCount;

    public int BlocksFor(int positions) => (positions + BlockTokens - 1) / BlockTokens;

    /// <summary>Takes the known blocks at the beginning of these tokens into an empty table.</summary>
    /// <returns>Tokens that they cover.</returns>
    public int Match(BlockTable table, ReadOnlySpan<int> tokens, string? tenant)
    {
        if (!sharePrefixes) return 0;
        int parent = PrefixIndex.Root;
        while ((table.Count + 1) * BlockTokens <= tokens.Length)
        {
            int block = index.Find(parent, tenant, tokens.Slice(table.Count * BlockTokens, BlockTokens));
            if (block < 0) break;
            pool.Hold(block);
            table.Add(block);
            parent = block;
        }
        return (table.IndexedCount = table.Count) * BlockTokens;
    }

    /// <summary>
    /// Makes positions [from, to) writable: takes blocks until the table covers them, and copies the block that begins before <paramref name="from"/> where others may read it.
    /// </summary>
    /// <returns>False where blocks ran out; what was taken stays in the table.</returns>
    public bool Reserve(BlockTable table, int from, int to)
    {
        int first = from / BlockTokens;
        if (from < to && first < table.Count && pool.IsShared(table[first]))
        {
            int copy = Take();
            if (copy < 0) return false;
            if (from % BlockTokens != 0) Storage.CopyBlock(table[first], copy);
            pool.Release(table[first]);
            table[first] = copy;
            table.IndexedCount = Math.Min(table.IndexedCount, first);
        }
        while (table.Count * BlockTokens < to)
        {
            int block = Take();
            if (block < 0) return false;
            table.Add(block);
        }
        return true;
    }

    /// <summary>Blocks that <see cref="Reserve"/> would take.</summary>
    public int Needed(BlockTable table, int from, int to)
    {
        int first = from / BlockTokens;
        return Math.Max(0, BlocksFor(to) - table.Count) + (from < to && first < table.Count && pool.IsShared(table[first]) ? 1 : 0);
    }

    /// <summary>Makes full blocks known. <paramref name="tokens"/> are those whose rows are in the cache for good: nothing of them will be rolled back.</summary>
    public void Register(BlockTable table, ReadOnlySpan<int> tokens, string? tenant)
    {
        if (!sharePrefixes) return;
        for (int i = table.IndexedCount; (i + 1) * BlockTokens <= tokens.Length; i++)
        {
            int parent = i == 0 ? PrefixIndex.Root : table[i - 1], block = table[i];
            ReadOnlySpan<int> ids = tokens.Slice(i * BlockTokens, BlockTokens);
            int known = index.Find(parent, tenant, ids);
            if (known >= 0 && known != block) // computed twice at the same time: both hold the first from now on
            {
                pool.Hold(known);
                pool.Release(block);
                table[i] = known;
            }
            else if (known < 0)
            {
                index.Add(block, parent, tenant, ids);
                pool.Keep(block);
            }
            table.IndexedCount = i + 1;
        }
    }

    /// <summary>Fills the block behind the table with saved rows and makes it known.</summary>
    /// <param name="table">All blocks before.</param>
    /// <param name="tokens">All tokens up to the block's end.</param>
    /// <param name="tenant">Whose prefix it is.</param>
    /// <param name="rows">The block's bytes.</param>
    /// <returns>False where there is no room.</returns>
    public bool TryRestore(BlockTable table, ReadOnlySpan<int> tokens, string? tenant, ReadOnlySpan<byte> rows)
    {
        if (!sharePrefixes || !Reserve(table, tokens.Length - BlockTokens, tokens.Length)) return false;
        Storage.WriteBlock(table[table.Count - 1], rows);
        Register(table, tokens, tenant);
        return true;
    }

    /// <summary>A table over the same blocks, as far as they hold the first <paramref name="positions"/>; who writes first copies.</summary>
    public void Fork(BlockTable from, BlockTable to, int positions)
    {
        foreach (int block in from.Blocks[..BlocksFor(positions)])
        {
            pool.Hold(block);
            to.Add(block);
        }
        to.IndexedCount = Math.Min(from.IndexedCount, to.Count);
    }

    /// <summary>Empties a table. The last blocks are given away first later on, because earlier ones are worth nothing less without them.</summary>
    public void Release(BlockTable table)
    {
        for (int i = table.Count - 1; i >= 0; i--) pool.Release(table[i]);
        table.Clear();
    }

    private int Take()
    {
        int block = pool.Take(out bool forgotten);
        if (forgotten && block >= 0) index.Remove(block);
        return block;
    }
}
