using System.Numerics;

namespace DeepSeek.Generation;

/// <summary>Thresholds over long rows without sorting them: gather what may matter, then select within that. Expected linear time.</summary>
internal static class Selection
{
    /// <summary>Weights relative to the largest; few are above this where a distribution is peaked.</summary>
    private const float Few = 1f / 64;

    /// <summary>Sign, exponent and five bits of the mantissa: 32 buckets for every factor of two.</summary>
    private const int BucketShift = 18;

    /// <summary>Weights are at most 1.</summary>
    private const int Buckets = (0x3F800000 >> BucketShift) + 1;

    /// <summary>The k-th largest number; −∞ where there are fewer. <paramref name="scratch"/> is a vector longer than the row.</summary>
    public static float KthLargest(ReadOnlySpan<float> x, int k, Span<float> scratch)
    {
        if (x.Length < k) return float.NegativeInfinity;
        int width = Vector<float>.Count, limit = Math.Min(Math.Max(4 * k, 1024), scratch.Length), count = 0, i = 0;
        float least = float.NegativeInfinity;
        bool full = false; // k numbers are held: only larger ones than the least of them matter
        while (i < x.Length)
        {
            int n = Math.Min(width, x.Length - i);
            if (full && n == width && !Vector.GreaterThanAny(new Vector<float>(x[i..]), new Vector<float>(least)))
            {
                i += width;
                continue;
            }
            if (count + n > limit)
            {
                least = Select(scratch[..count], k);
                count = k;
                full = true;
            }
            for (int end = i + n; i < end; i++)
                if (!full || x[i] > least) scratch[count++] = x[i];
        }
        return Select(scratch[..count], k);
    }

    /// <summary>
    /// The least weight of the nucleus: the fewest largest weights whose sum reaches the target, the one that reaches it included; and how many of those equal to it are left out.
    /// </summary>
    public static (float Threshold, int Excess) Nucleus(ReadOnlySpan<float> weights, double target, Span<float> scratch)
    {
        // Most often few tokens hold the mass.
        int count;
        for (float least = Few; least >= Few * Few; least *= Few)
        {
            count = Gather(weights, least, float.PositiveInfinity, scratch, out double mass);
            if (count > Math.Max(weights.Length / 16, 1024)) break;
            if (mass >= target) return Nucleus(scratch[..count], target, 0);
        }
        // A flat distribution: sort roughly by the leading bits of the weights, which are in the order of their values.
        Span<double> masses = stackalloc double[Buckets];
        masses.Clear();
        foreach (float w in weights) masses[BitConverter.SingleToInt32Bits(w) >> BucketShift] += w;
        double above = 0;
        int bucket = Buckets - 1;
        while (bucket >= 0 && above + masses[bucket] < target) above += masses[bucket--];
        if (bucket <= 0) return (0, 0); // the target is the whole mass, but for rounding
        count = Gather(weights, BitConverter.Int32BitsToSingle(bucket << BucketShift), BitConverter.Int32BitsToSingle((bucket + 1) << BucketShift), scratch, out _);
        return Nucleus(scratch[..count], target, above);
    }

    /// <summary>Numbers from <paramref name="from"/> on and below <paramref name="to"/>.</summary>
    private static int Gather(ReadOnlySpan<float> x, float from, float to, Span<float> found, out double sum)
    {
        int count = 0, i = 0, width = Vector<float>.Count;
        sum = 0;
        Vector<float> low = new(from), high = new(to);
        while (i < x.Length)
        {
            int n = Math.Min(width, x.Length - i);
            if (n == width)
            {
                var v = new Vector<float>(x[i..]);
                if (Vector.EqualsAll(Vector.GreaterThanOrEqual(v, low) & Vector.LessThan(v, high), Vector<int>.Zero))
                {
                    i += width;
                    continue;
                }
            }
            for (int end = i + n; i < end; i++)
            {
                if (x[i] < from || x[i] >= to) continue;
                found[count++] = x[i];
                sum += x[i];
            }
        }
        return count;
    }

    /// <summary>Splits round a pivot and goes on in the part where the sum, with what lies above all of these, passes the target.</summary>
    private static (float Threshold, int Excess) Nucleus(Span<float> w, double target, double above)
    {
        while (true)
        {
            float pivot = MedianOfThree(w);
            (int greater, int equal) = Partition(w, pivot);
            double mass = above;
            foreach (float x in w[..greater]) mass += x;
            if (greater > 0 && mass >= target)
            {
                w = w[..greater];
                continue;
            }
            int needed = 0;
            while (needed < equal && mass < target)
            {
                mass += pivot;
                needed++;
            }
            if (mass >= target || greater + equal == w.Length) return (pivot, equal - Math.Max(needed, 1));
            above = mass;
            w = w[(greater + equal)..];
        }
    }

    /// <summary>The k-th largest; the k largest are in front afterwards.</summary>
    private static float Select(Span<float> x, int k)
    {
        int wanted = k;
        while (true)
        {
            float pivot = MedianOfThree(x);
            (int greater, int equal) = Partition(x, pivot);
            if (wanted <= greater) x = x[..greater];
            else if (wanted <= greater + equal) return pivot;
            else
            {
                wanted -= greater + equal;
                x = x[(greater + equal)..];
            }
        }
    }

    /// <summary>Greater ones, then equal ones, then the rest.</summary>
    private static (int Greater, int Equal) Partition(Span<float> x, float pivot)
    {
        int greater = 0, equal = 0;
        for (int i = 0; i < x.Length; i++)
        {
            float v = x[i];
            if (v < pivot) continue;
            x[i] = x[greater + equal];
            if (v > pivot)
            {
                x[greater + equal] = x[greater];
                x[greater++] = v;
            }
            else x[greater + equal++] = v;
        }
        return (greater, equal);
    }

    private static float MedianOfThree(ReadOnlySpan<float> x)
    {
        float a = x[0], b = x[x.Length / 2], c = x[^1];
        return MathF.Max(MathF.Min(a, b), MathF.Min(MathF.Max(a, b), c));
    }
}
