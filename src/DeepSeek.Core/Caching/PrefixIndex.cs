using System.Numerics;

namespace DeepSeek.Caching;

/// <summary>
/// Finds the cache block of a stretch of tokens by all that comes before it: a chained hash over tenant and token ids, in which the hash only narrows the search. A block is found when
/// its own tokens are equal and its predecessor is the very entry that was found before, so a hit is never stale and never a collision. Model, cache format and numerics are the same for
/// all entries: an index belongs to one engine. Integers only; nothing is allocated after construction.
/// </summary>
/// <param name="blockCount">Blocks of the pool.</param>
/// <param name="blockTokens">Tokens that a block covers.</param>
internal sealed class PrefixIndex(int blockCount, int blockTokens)
{
    /// <summary>In place of a predecessor: the first block of a prompt.</summary>
    public const int Root = -1;

    private readonly int[] tokens = new int[blockCount * blockTokens];
    private readonly ulong[] hashes = new ulong[blockCount];
    private readonly int[] parents = new int[blockCount];
    /// <summary>Which registration of the parent an entry follows: a number is never used twice.</summary>
    private readonly long[] parentEntries = new long[blockCount];
    /// <summary>The number of a block's registration; 0: not registered.</summary>
    private readonly long[] entries = new long[blockCount];
    private readonly string?[] tenants = new string?[blockCount];
    private readonly int[] next = new int[blockCount];
    private readonly int[] buckets = NewBuckets(blockCount);
    private long lastEntry;

    public int Count { get; private set; }

    public bool Contains(int block) => entries[block] != 0;

    /// <summary>The block whose tokens are these, behind that predecessor (or <see cref="Root"/>); −1 where there is none.</summary>
    public int Find(int parent, string? tenant, ReadOnlySpan<int> ids)
    {
        if (parent != Root && entries[parent] == 0) return -1;
        ulong hash = Hash(parent, tenant, ids);
        for (int block = buckets[Bucket(hash)]; block >= 0; block = next[block])
        {
            if (hashes[block] != hash || parents[block] != parent || (parent == Root ? tenants[block] != tenant : parentEntries[block] != entries[parent])) continue;
            if (ids.SequenceEqual(tokens.AsSpan(block * blockTokens, blockTokens))) return block;
        }
        return -1;
    }

    /// <summary>Registers a block. It is not registered, the predecessor is, and <see cref="Find"/> finds nothing there.</summary>
    public void Add(int block, int parent, string? tenant, ReadOnlySpan<int> ids)
    {
        ids.CopyTo(tokens.AsSpan(block * blockTokens, blockTokens));
        ulong hash = hashes[block] = Hash(parent, tenant, ids);
        parents[block] = parent;
        parentEntries[block] = parent == Root ? 0 : entries[parent];
        tenants[block] = parent == Root ? tenant : null;
        entries[block] = ++lastEntry;
        int bucket = Bucket(hash);
        next[block] = buckets[bucket];
        buckets[bucket] = block;
        Count++;
    }

    /// <summary>Forgets a registered block; entries behind it can no longer be found.</summary>
    public void Remove(int block)
    {
        ref int at = ref buckets[Bucket(hashes[block])];
        while (at != block) at = ref next[at];
        at = next[block];
        entries[block] = 0;
        tenants[block] = null;
        Count--;
    }

    private ulong Hash(int parent, string? tenant, ReadOnlySpan<int> ids)
    {
        unchecked
        {
            ulong h = 0x9E3779B97F4A7C15;
            if (parent != Root) h = hashes[parent];
            else if (tenant is not null)
                foreach (char c in tenant) h = (h ^ c) * 0x100000001B3;
            foreach (int id in ids)
            {
                h = (h ^ (uint)id) * 0xBF58476D1CE4E5B9;
                h ^= h >> 29;
            }
            return h ^ (h >> 32);
        }
    }

    private int Bucket(ulong hash) => (int)(hash & (ulong)(buckets.Length - 1));

    private static int[] NewBuckets(int blockCount)
    {
        var b = new int[BitOperations.RoundUpToPowerOf2((uint)Math.Max(blockCount, 8))];
        Array.Fill(b, -1);
        return b;
    }
}
