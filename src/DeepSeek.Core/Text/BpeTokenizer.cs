using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;

namespace DeepSeek.Text;

/// <summary>
/// Byte-level byte-pair encoding: a piece's bytes become single-byte tokens, then the pair of lowest rank, leftmost first, merges until none does (Sennrich
/// et al., arXiv 1508.07909). Thread-safe.
/// </summary>
/// <param name="vocabulary">The token of each text in byte symbols.</param>
/// <param name="byteIds">The token of each byte; -1 = the vocabulary has none: such a byte becomes the unknown token, or is dropped where there is
/// none.</param>
/// <param name="merges">The pairs that merge.</param>
/// <param name="ignoreMerges">Whether a piece that is a token as a whole becomes that token, whatever the merges say.</param>
/// <param name="unknownId">The unknown token; -1 = none.</param>
/// <param name="fuseUnknown">Whether neighbouring unknown bytes become one unknown token.</param>
internal sealed class BpeTokenizer(Dictionary<string, int> vocabulary, int[] byteIds, MergeTable merges, bool ignoreMerges, int unknownId, bool fuseUnknown)
{
    private const int CacheBits = 15, MaxCachedLength = 32, MaxScannedSymbols = 40, MaxStackBytes = 3 * 128;

    /// <summary>
    /// Words seen before, each in the place that its hash names; a newer one displaces an older one. Entries never change, so that readers and writers need
    /// no lock.
    /// </summary>
    private readonly Word?[] cache = new Word?[1 << CacheBits];

    private sealed record Word(string Text, int[] Ids);

    /// <summary>Appends the tokens of a piece of well-formed text.</summary>
    public void Encode(ReadOnlySpan<char> piece, List<int> ids)
    {
        if (piece.Length > MaxCachedLength) { EncodeUncached(piece, ids); return; }
        ref Word? place = ref cache[Hash(piece)];
        Word? word = Volatile.Read(ref place);
        if (word is null || !piece.SequenceEqual(word.Text))
        {
            int before = ids.Count;
            EncodeUncached(piece, ids);
            Volatile.Write(ref place, new Word(piece.ToString(), CollectionsMarshal.AsSpan(ids)[before..].ToArray()));
        }
        else if (word.Ids.Length == 1) ids.Add(word.Ids[0]);
        else ids.AddRange(word.Ids.AsSpan());
    }

    private static int Hash(ReadOnlySpan<char> piece)
    {
        ulong h = (ulong)piece.Length;
        while (piece.Length >= 4)
        {
            h = (h ^ MemoryMarshal.Read<ulong>(MemoryMarshal.AsBytes(piece))) * 0x9E3779B97F4A7C15;
            h ^= h >> 29;
            piece = piece[4..];
        }
        foreach (char c in piece) h = (h ^ c) * 0x9E3779B97F4A7C15;
        return (int)((h ^ (h >> 32)) * 0x9E3779B97F4A7C15 >> (64 - CacheBits));
    }

    private void EncodeUncached(ReadOnlySpan<char> piece, List<int> ids)
    {
        int maxBytes = Encoding.UTF8.GetMaxByteCount(piece.Length);
        byte[]? rented = maxBytes > MaxStackBytes ? ArrayPool<byte>.Shared.Rent(maxBytes) : null;
        Span<byte> bytes = rented ?? stackalloc byte[MaxStackBytes];
        bytes = bytes[..Encoding.UTF8.GetBytes(piece, bytes)];
        if (!ignoreMerges || !TryWhole(bytes, ids)) Merge(bytes, ids);
        if (rented is not null) ArrayPool<byte>.Shared.Return(rented);
    }

    private bool TryWhole(ReadOnlySpan<byte> bytes, List<int> ids)
    {
        // No vocabulary has tokens that long; the limit keeps the symbols on the stack.
        if (bytes.Length > 512) return false;
        Span<char> symbols = stackalloc char[bytes.Length];
        for (int i = 0; i < bytes.Length; i++) symbols[i] = ByteSymbols.SymbolOf(bytes[i]);
        if (!vocabulary.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(symbols, out int id)) return false;
        ids.Add(id);
        return true;
    }

    private void Merge(ReadOnlySpan<byte> bytes, List<int> ids)
    {
        int[]? rented = bytes.Length > MaxStackBytes ? ArrayPool<int>.Shared.Rent(bytes.Length) : null;
        Span<int> symbols = rented ?? stackalloc int[MaxStackBytes];
        int count = 0;
        bool lastUnknown = false;
        foreach (byte b in bytes)
        {
            int id = byteIds[b];
            bool unknown = id < 0;
            if (unknown) id = unknownId;
            if (id >= 0 && !(unknown && lastUnknown && fuseUnknown)) symbols[count++] = id;
            lastUnknown = unknown;
        }
        symbols = symbols[..count];
        if (count <= MaxScannedSymbols) count = MergeByScanning(symbols);
        else count = MergeByQueue(symbols);
        ids.AddRange(symbols[..count]);
        if (rented is not null) ArrayPool<int>.Shared.Return(rented);
    }

    /// <summary>For short pieces: looks for the lowest rank again after each merge.</summary>
    private int MergeByScanning(Span<int> symbols)
    {
        Span<int> ranks = stackalloc int[MaxScannedSymbols], merged = stackalloc int[MaxScannedSymbols];
        int count = symbols.Length;
        for (int i = 0; i + 1 < count; i++) ranks[i] = merges.Rank(symbols[i], symbols[i + 1], out merged[i]);
        while (count > 1)
        {
            int best = 0;
            for (int i = 1; i < count - 1; i++)
                if (ranks[i] < ranks[best]) best = i;
            if (ranks[best] == int.MaxValue) break;
            symbols[best] = merged[best];
            symbols[(best + 2)..count].CopyTo(symbols[(best + 1)..]);
            ranks[(best + 1)..(count - 1)].CopyTo(ranks[best..]);
            merged[(best + 1)..(count - 1)].CopyTo(merged[best..]);
            count--;
            if (best + 1 < count) ranks[best] = merges.Rank(symbols[best], symbols[best + 1], out merged[best]);
            if (best > 0) ranks[best - 1] = merges.Rank(symbols[best - 1], symbols[best], out merged[best - 1]);
        }
        return count;
    }

    /// <summary>For long pieces: a priority queue of (rank, position) over a linked list, so that n symbols take n·log n steps.</summary>
    private int MergeByQueue(Span<int> symbols)
    {
        int count = symbols.Length;
        int[] rented = ArrayPool<int>.Shared.Rent(4 * count);
        Span<int> next = rented.AsSpan(0, count), previous = rented.AsSpan(count, count), ranks = rented.AsSpan(2 * count, count), merged = rented.AsSpan(3 * count, count);
        var queue = new PriorityQueue<int, ulong>(count);
        for (int i = 0; i < count; i++)
        {
            (next[i], previous[i]) = (i + 1, i - 1);
            ranks[i] = i + 1 < count ? merges.Rank(symbols[i], symbols[i + 1], out merged[i]) : int.MaxValue;
            if (ranks[i] != int.MaxValue) queue.Enqueue(i, QueueKey(ranks[i], i));
        }
        while (queue.TryDequeue(out int i, out ulong key))
        {
            // A rank belongs to one pair: where it differs, the pair that was queued is gone.
            if (ranks[i] != (int)(key >> 32)) continue;
            int gone = next[i];
            symbols[i] = merged[i];
            next[i] = next[gone];
            ranks[gone] = int.MaxValue;
            symbols[gone] = -1;
            if (next[i] < count) previous[next[i]] = i;
            Update(i, symbols, next, ranks, merged, queue);
            if (previous[i] >= 0) Update(previous[i], symbols, next, ranks, merged, queue);
        }
        int kept = 0;
        for (int i = 0; i < count; i = next[i]) symbols[kept++] = symbols[i];
        ArrayPool<int>.Shared.Return(rented);
        return kept;
    }

    /// <summary>Lower ranks first, then from the left.</summary>
    private static ulong QueueKey(int rank, int position) => ((ulong)(uint)rank << 32) | (uint)position;

    private void Update(int i, Span<int> symbols, Span<int> next, Span<int> ranks, Span<int> merged, PriorityQueue<int, ulong> queue)
    {
        ranks[i] = next[i] < symbols.Length ? merges.Rank(symbols[i], symbols[next[i]], out merged[i]) : int.MaxValue;
        if (ranks[i] != int.MaxValue) queue.Enqueue(i, QueueKey(ranks[i], i));
    }
}
