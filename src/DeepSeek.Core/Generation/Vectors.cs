using System.Numerics;

namespace DeepSeek.Generation;

/// <summary>Loops over logits, as wide as the machine allows.</summary>
internal static class Vectors
{
    /// <summary>The largest number; no number (NaN) where one is none; −∞ for an empty row.</summary>
    public static float Max(ReadOnlySpan<float> x)
    {
        float max = float.NegativeInfinity;
        int i = 0;
        if (x.Length >= Vector<float>.Count)
        {
            var m = new Vector<float>(x);
            for (i = Vector<float>.Count; i <= x.Length - Vector<float>.Count; i += Vector<float>.Count) m = Vector.Max(m, new Vector<float>(x[i..]));
            for (int k = 0; k < Vector<float>.Count; k++) max = MathF.Max(max, m[k]);
        }
        for (; i < x.Length; i++) max = MathF.Max(max, x[i]);
        return max;
    }

    /// <summary>w = e^((x − max)·scale) where x ≥ least, 0 elsewhere; their sum.</summary>
    public static double Exponentials(Span<float> w, ReadOnlySpan<float> x, float max, float scale, float least)
    {
        double total = 0;
        int i = 0, width = Vector<float>.Count;
        Vector<float> m = new(max), s = new(scale), l = new(least), sum = Vector<float>.Zero;
        for (int block = 0; i <= x.Length - width; i += width)
        {
            var v = new Vector<float>(x[i..]);
            Vector<int> kept = Vector.GreaterThanOrEqual(v, l);
            if (Vector.EqualsAll(kept, Vector<int>.Zero)) Vector<float>.Zero.CopyTo(w[i..]);
            else
            {
                Vector<float> e = Vector.ConditionalSelect(kept, Vector.Exp((v - m) * s), Vector<float>.Zero);
                e.CopyTo(w[i..]);
                sum += e;
            }
            if ((++block & 63) == 0) // float sums stay short, so that their rounding does not move a threshold
            {
                total += Vector.Sum(sum);
                sum = Vector<float>.Zero;
            }
        }
        if (i < x.Length) // the rest by the same instructions: equal numbers have equal weights wherever they stand
        {
            Span<float> rest = stackalloc float[Vector<float>.Count];
            rest.Fill(float.NegativeInfinity);
            x[i..].CopyTo(rest);
            var v = new Vector<float>(rest);
            Vector<float> e = Vector.ConditionalSelect(Vector.GreaterThanOrEqual(v, l), Vector.Exp((v - m) * s), Vector<float>.Zero);
            e.CopyTo(rest);
            rest[..(x.Length - i)].CopyTo(w[i..]);
            for (int k = 0; k < x.Length - i; k++) total += rest[k];
        }
        return total + Vector.Sum(sum);
    }

    /// <summary>Whether there is no infinity and no NaN: 0·x is 0 for every other number.</summary>
    public static bool AreFinite(ReadOnlySpan<float> x)
    {
        int i = 0, width = Vector<float>.Count;
        Vector<float> zero = Vector<float>.Zero;
        for (; i <= x.Length - width; i += width) zero += new Vector<float>(x[i..]) * Vector<float>.Zero;
        float rest = Vector.Sum(zero);
        for (; i < x.Length; i++) rest += x[i] * 0;
        return rest == 0;
    }

    /// <summary>ln Σ e^x.</summary>
    public static double LogSumOfExponentials(ReadOnlySpan<float> x)
    {
        float max = Max(x);
        double total = 0;
        int i = 0, width = Vector<float>.Count;
        Vector<float> m = new(max), sum = Vector<float>.Zero;
        for (int block = 0; i <= x.Length - width; i += width)
        {
            sum += Vector.Exp(new Vector<float>(x[i..]) - m);
            if ((++block & 63) != 0) continue;
            total += Vector.Sum(sum);
            sum = Vector<float>.Zero;
        }
        total += Vector.Sum(sum);
        for (; i < x.Length; i++) total += MathF.Exp(x[i] - max);
        return max + Math.Log(total);
    }

    /// <summary>Clears what is below the floor; the sum of the rest.</summary>
    public static double SumAtLeast(Span<float> w, float floor)
    {
        int i = 0, width = Vector<float>.Count;
        Vector<float> f = new(floor), sum = Vector<float>.Zero;
        for (; i <= w.Length - width; i += width)
        {
            var v = new Vector<float>(w[i..]);
            v = Vector.ConditionalSelect(Vector.GreaterThanOrEqual(v, f), v, Vector<float>.Zero);
            v.CopyTo(w[i..]);
            sum += v;
        }
        double total = Vector.Sum(sum);
        for (; i < w.Length; i++)
        {
            if (w[i] < floor) w[i] = 0;
            total += w[i];
        }
        return total;
    }

    /// <summary>The sum of integers, as fast as memory gives them.</summary>
    public static long Sum(ReadOnlySpan<long> x)
    {
        Vector<long> a = Vector<long>.Zero, b = a, c = a, d = a;
        int width = Vector<long>.Count, i = 0;
        for (; i <= x.Length - 4 * width; i += 4 * width)
        {
            a += new Vector<long>(x[i..]);
            b += new Vector<long>(x[(i + width)..]);
            c += new Vector<long>(x[(i + 2 * width)..]);
            d += new Vector<long>(x[(i + 3 * width)..]);
        }
        long sum = Vector.Sum(a + b + c + d);
        for (; i < x.Length; i++) sum += x[i];
        return sum;
    }
}
