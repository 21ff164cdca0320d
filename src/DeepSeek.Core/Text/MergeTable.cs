namespace DeepSeek.Text;

/// <summary>Which pairs of tokens merge, at which rank, into what. Open addressing over one array; immutable once filled.</summary>
internal sealed class MergeTable
{
    /// <param name="Key">first·2³² + second; <see cref="Empty"/> = a free place.</param>
    /// <param name="Rank">Lower ranks merge first.</param>
    /// <param name="Id">What the pair becomes.</param>
    private readonly record struct Entry(ulong Key, int Rank, int Id);

    private const ulong Empty = ulong.MaxValue;
    private readonly Entry[] entries;
    private readonly int shift;

    /// <summary>Makes room for so many pairs at half load.</summary>
    public MergeTable(int count)
    {
        int bits = 4;
        while (1L << bits < 2L * count) bits++;
        entries = new Entry[1 << bits];
        Array.Fill(entries, new Entry(Empty, 0, 0));
        shift = 64 - bits;
    }

    /// <summary>Adds a pair; one that is there already gets the new rank.</summary>
    public void Set(int first, int second, int rank, int id)
    {
        ulong key = Key(first, second);
        int i = Slot(key);
        while (entries[i].Key != Empty && entries[i].Key != key) i = (i + 1) & (entries.Length - 1);
        entries[i] = new(key, rank, id);
    }

    /// <summary>The rank of a pair and what it becomes; <see cref="int.MaxValue"/> where it does not merge.</summary>
    public int Rank(int first, int second, out int id)
    {
        ulong key = Key(first, second);
        for (int i = Slot(key); ; i = (i + 1) & (entries.Length - 1))
        {
            Entry e = entries[i];
            if (e.Key == key) { id = e.Id; return e.Rank; }
            if (e.Key == Empty) { id = -1; return int.MaxValue; }
        }
    }

    private static ulong Key(int first, int second) => ((ulong)(uint)first << 32) | (uint)second;

    private int Slot(ulong key) => (int)(key * 0x9E3779B97F4A7C15 >> shift);
}
