namespace DeepSeek.Backends;

/// <summary>The choice of experts for one token (spec 2.6): the same for every backend, allocation-free. Ties go to the lower index.</summary>
internal static class Routing
{
    /// <summary>Keeps the sum of chosen scores from being zero, as the reference adds it.</summary>
    private const double Tiny = 1e-20;

    /// <summary>Numbers of working memory that <see cref="Choose"/> wants.</summary>
    public static int ScratchLength(RouterSettings settings) => 2 * settings.ExpertCount + settings.GroupCount;

    /// <summary>
    /// Chooses experts by score plus bias within the best groups and weighs them by score alone. A NaN among the logits makes weights NaN, never the indices invalid.
    /// </summary>
    /// <param name="settings">How; groups divide the experts, and the groups kept hold at least TopK experts.</param>
    /// <param name="logits">Router logits. [E]</param>
    /// <param name="bias">Correction bias, which only the choice sees. [E], or empty</param>
    /// <param name="experts">The chosen experts, best first. [TopK]</param>
    /// <param name="weights">Their weights. [TopK]</param>
    /// <param name="scratch">Working memory. [ScratchLength]</param>
    public static void Choose(RouterSettings settings, ReadOnlySpan<float> logits, ReadOnlySpan<float> bias, Span<int> experts, Span<float> weights, Span<float> scratch)
    {
        int count = settings.ExpertCount, groupSize = count / settings.GroupCount;
        Span<float> scores = scratch[..count], choice = scratch.Slice(count, count), groups = scratch.Slice(2 * count, settings.GroupCount);
        Score(settings.Scoring, logits, scores);
        for (int e = 0; e < count; e++)
        {
            float c = bias.IsEmpty ? scores[e] : scores[e] + bias[e];
            choice[e] = float.IsNaN(c) ? float.NegativeInfinity : c; // from here on NaN means "out of the race"
        }
        if (settings.TopKGroups < settings.GroupCount)
        {
            for (int g = 0; g < groups.Length; g++) groups[g] = GroupScore(settings.Scoring, choice.Slice(g * groupSize, groupSize));
            for (int k = 0; k < settings.TopKGroups; k++) groups[Best(groups)] = float.NaN; // kept
            for (int g = 0; g < groups.Length; g++)
                if (!float.IsNaN(groups[g])) choice.Slice(g * groupSize, groupSize).Fill(float.NaN);
        }
        double sum = Tiny;
        for (int k = 0; k < settings.TopK; k++)
        {
            int e = Best(choice);
            choice[e] = float.NaN;
            experts[k] = e;
            sum += scores[e];
        }
        double scale = settings.Normalise ? settings.Scale / sum : settings.Scale;
        for (int k = 0; k < settings.TopK; k++) weights[k] = (float)(scores[experts[k]] * scale);
    }

    /// <summary>softmax(logits), or σ(logits).</summary>
    private static void Score(RouterScoring scoring, ReadOnlySpan<float> logits, Span<float> scores)
    {
        if (scoring == RouterScoring.Sigmoid)
        {
            for (int e = 0; e < logits.Length; e++) scores[e] = (float)(1 / (1 + Math.Exp(-(double)logits[e])));
            return;
        }
        double max = double.NegativeInfinity, sum = 0;
        foreach (float logit in logits) max = Math.Max(max, logit);
        foreach (float logit in logits) sum += Math.Exp(logit - max);
        for (int e = 0; e < logits.Length; e++) scores[e] = (float)(Math.Exp(logits[e] - max) / sum);
    }

    /// <summary>Softmax gates score a group by its largest member (V2), sigmoid gates by the sum of its two largest (V3).</summary>
    private static float GroupScore(RouterScoring scoring, ReadOnlySpan<float> group)
    {
        float first = float.NegativeInfinity, second = float.NegativeInfinity;
        foreach (float c in group)
        {
            if (c > first) (first, second) = (c, first);
            else if (c > second) second = c;
        }
        return scoring == RouterScoring.Softmax || group.Length == 1 ? first : first + second;
    }

    /// <summary>The first of the largest values that are not NaN.</summary>
    private static int Best(ReadOnlySpan<float> values)
    {
        int best = -1;
        for (int i = 0; i < values.Length; i++)
            if (!float.IsNaN(values[i]) && (best < 0 || values[i] > values[best])) best = i;
        return best;
    }
}
