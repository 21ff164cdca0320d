using System.Numerics;

namespace DeepSeek.Generation;

/// <summary>
/// Draws tokens. The order is transformers': bias, penalties, temperature, top-k, top-p, min-p. Works on weights e^((z − max)/T) and thresholds over them, in one order of ids:
/// nothing is sorted, and nothing is allocated after construction. Not thread-safe; the engine's thread owns one.
/// </summary>
/// <param name="vocabulary">Most logits in a row.</param>
internal sealed class Sampler(int vocabulary)
{
    /// <summary>Weights that are summed together: the draw looks for its stretch first.</summary>
    private const int Stretch = 512;

    /// <summary>Below this a temperature is the limit: the most probable token.</summary>
    public const float SmallestTemperature = 1e-6f;

    private readonly float[] weights = new float[vocabulary];
    private readonly float[] candidates = new float[vocabulary + 64];
    private readonly double[] sums = new double[(vocabulary + Stretch - 1) / Stretch];

    /// <summary>The token at a position. Changes the logits.</summary>
    /// <exception cref="ModelException">No token is possible, or logits are no numbers.</exception>
    public int Draw(Span<float> logits, SamplingSettings settings, Penalties? said, int position)
    {
        Adjust(logits, settings, said);
        if (settings.Temperature < SmallestTemperature) return Largest(logits);
        double total = Weigh(logits, settings), target = SeededDraw.Uniform(settings.Seed, position) * total, reached = 0;
        int stretch = 0;
        for (int last = (logits.Length - 1) / Stretch; stretch < last && reached + sums[stretch] <= target; stretch++) reached += sums[stretch];
        int found = -1;
        for (int i = stretch * Stretch; i < logits.Length; i++)
        {
            if (weights[i] == 0) continue;
            found = i;
            if ((reached += weights[i]) > target) break;
        }
        return found >= 0 ? found : Largest(logits); // the target lay beyond the last weight by a rounding of the sums
    }

    /// <summary>The distribution that <see cref="Draw"/> draws from. Changes the logits.</summary>
    public void Probabilities(Span<float> logits, SamplingSettings settings, Penalties? said, Span<float> probabilities)
    {
        Adjust(logits, settings, said);
        if (settings.Temperature < SmallestTemperature)
        {
            probabilities.Clear();
            probabilities[Largest(logits)] = 1;
            return;
        }
        double total = Weigh(logits, settings);
        for (int i = 0; i < logits.Length; i++) probabilities[i] = (float)(weights[i] / total);
    }

    /// <summary>Index of the largest number, the lowest one where several are equal.</summary>
    /// <exception cref="ModelException">All are −∞, or one is no number.</exception>
    public static int Largest(ReadOnlySpan<float> logits)
    {
        float max = Vectors.Max(logits);
        if (!float.IsFinite(max)) throw NoToken(max);
        int i = 0;
        var wanted = new Vector<float>(max);
        while (i <= logits.Length - Vector<float>.Count && !Vector.EqualsAny(new Vector<float>(logits[i..]), wanted)) i += Vector<float>.Count;
        while (logits[i] != max) i++;
        return i;
    }

    private static void Adjust(Span<float> logits, SamplingSettings settings, Penalties? said)
    {
        foreach ((int id, float bias) in settings.LogitBias)
            if ((uint)id < (uint)logits.Length) logits[id] += bias;
        if (settings.HasPenalties) said?.Apply(logits, settings);
    }

    /// <summary>Weights of the tokens that are kept, 0 for the others, and their sum; <see cref="sums"/> are those of the stretches.</summary>
    private double Weigh(ReadOnlySpan<float> logits, SamplingSettings settings)
    {
        float max = Vectors.Max(logits);
        if (!float.IsFinite(max)) throw NoToken(max);
        float least = settings.TopK > 0 && settings.TopK < logits.Length ? Selection.KthLargest(logits, settings.TopK, candidates) : float.NegativeInfinity;
        Span<float> w = weights.AsSpan(0, logits.Length);
        double total = Vectors.Exponentials(w, logits, max, 1 / settings.Temperature, least);
        float floor = settings.MinP;
        if (settings.TopP < 1)
        {
            (float threshold, int tied) = Selection.Nucleus(w, settings.TopP * total, candidates);
            for (int i = w.Length - 1; tied > 0; i--)
            {
                if (w[i] != threshold) continue;
                w[i] = 0; // of equals, the lowest ids stay
                tied--;
            }
            floor = Math.Max(floor, threshold);
        }
        total = 0;
        for (int s = 0; s * Stretch < w.Length; s++)
            total += sums[s] = Vectors.SumAtLeast(w.Slice(s * Stretch, Math.Min(Stretch, w.Length - s * Stretch)), floor);
        return total;
    }

    private static ModelException NoToken(float max) => new(float.IsNegativeInfinity(max)
        ? "No token is possible here: bias or constraint rule out all of them. Loosen them."
        : $"The model's logits are no finite numbers (largest: {max}). Its weights may be damaged, or a number format overflows.");
}
