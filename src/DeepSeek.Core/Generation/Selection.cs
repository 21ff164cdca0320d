using System.Numerics;

namespace DeepSeek.Generation;

/// <summary>Thresholds over long rows without sorting them: gather what may matter, then select within that. Expected linear time.</summary>
internal static class Selection
{
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
        // Most often few tokens hold the mass: look at ever smaller weights until what is seen reaches the target.
        for (float cutoff = 1f / 64; ; cutoff *= 1f / 4096)
        {
            if (cutoff < 1e-30f) cutoff = 0;
            double mass = 0;
            int count = 0, i = 0, width = Vector<float>.Count;
            var c = new Vector<float>(cutoff);
            while (i < weights.Length)
            {
                int n = Math.Min(width, weights.Length - i);
                if (n == width && !Vector.GreaterThanAny(new Vector<float>(weights[i..]), c))
                {
                    i += width;
                    continue;
                }
                for (int end = i + n; i < end; i++)
                {
                    if (weights[i] <= cutoff) continue;
                    scratch[count++] = weights[i];
                    mass += weights[i];
                }
            }
            if (mass >= target) return Nucleus(scratch[..count], target);
            if (cutoff == 0) return (0, 0); // the target is the whole mass, but for rounding
        }
    }

    /// <summary>Splits round a pivot and goes on in the part where the sum passes the target.</summary>
    private static (float Threshold, int Excess) Nucleus(Span<float> w, double target)
    {
        double above = 0;
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
