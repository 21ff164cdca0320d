namespace DeepSeek.Gpu.Kernels;

/// <summary>
/// The largest numbers of each segment of a row with their columns, largest first, of equal ones the lower column first: round by round the group's largest, which is then taken out. A segment that
/// has fewer ends with −∞; one that holds a number that is not finite begins with NaN. Applied to its own results, with one segment, it gives the row's. Grid: a group a segment; shared memory:
/// <see cref="SharedWords"/>.
/// </summary>
internal struct Largest<TThread, TMemory> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public TMemory Scratch;

    /// <summary>Numbers, and their columns; below zero: the columns are the places.</summary>
    public long Values, Columns;

    /// <summary>Where each segment's results go: numbers, and columns.</summary>
    public long LargestValues, LargestColumns;

    public int Count, Segment, Wanted;

    public static int SharedWords(int segment, int warps) => segment + 2 * warps;

    public readonly void Run(TThread t)
    {
        int first = t.Group * Segment, count = Count - first < Segment ? Count - first : Segment, warps = t.Items / t.Lanes, best = Segment, places = Segment + warps;
        float odd = 0;
        for (int i = t.Item; i < count; i += t.Items)
        {
            float value = Scratch.Float(Values + first + i);
            // A missing number of a segment before is −∞; a row that has one is read by other means.
            if (float.IsNaN(value) || value == float.PositiveInfinity || (Columns < 0 && value == float.NegativeInfinity)) odd = 1;
            t.SetShared(i, value);
        }
        bool anyOdd = Reduce<TThread>.Sum(t, odd, best) > 0;
        int at = Find(t, count);
        float mine = at < count ? t.Shared(at) : float.NegativeInfinity;
        for (int k = 0; k < Wanted; k++)
        {
            float largest = t.MaxLanes(mine);
            // Places are whole numbers below 2^24, which float32 holds.
            float place = -t.MaxLanes(mine == largest && at < count ? -at : -16777216f);
            t.Barrier();
            if (t.Lane == 0)
            {
                t.SetShared(best + t.Item / t.Lanes, largest);
                t.SetShared(places + t.Item / t.Lanes, place);
            }
            t.Barrier();
            for (int w = 0; w < warps; w++)
            {
                float other = t.Shared(best + w), otherPlace = t.Shared(places + w);
                if (other > largest || (other == largest && otherPlace < place))
                {
                    largest = other;
                    place = otherPlace;
                }
            }
            int winner = (int)place;
            long result = (long)t.Group * Wanted + k;
            bool none = winner >= count || largest == float.NegativeInfinity;
            if (t.Item == 0)
            {
                Scratch.SetFloat(LargestValues + result, anyOdd ? float.NaN : none ? float.NegativeInfinity : largest);
                Scratch.SetWord(LargestColumns + result, none ? 0 : Columns < 0 ? (uint)(first + winner) : Scratch.Word(Columns + first + winner));
            }
            if (at != winner) continue; // barriers are above: those who go on at once wait there
            if (!none) t.SetShared(winner, float.NegativeInfinity);
            at = Find(t, count);
            mine = at < count ? t.Shared(at) : float.NegativeInfinity;
        }
    }

    /// <summary>The first of the largest of an item's numbers; count where none is left.</summary>
    private static int Find(TThread t, int count)
    {
        int at = count;
        float largest = float.NegativeInfinity;
        for (int i = t.Item; i < count; i += t.Items)
        {
            float value = t.Shared(i);
            if (!(value > largest)) continue;
            largest = value;
            at = i;
        }
        return at;
    }
}
