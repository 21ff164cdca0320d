using DeepSeek.Backends;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Core.Tests.Backends;

/// <summary>The choice of experts: vectors worked out by hand or given by the specification (addition 15).</summary>
public class RoutingTests
{
    [Fact]
    public void MaskedGroupsNeverWin()
    {
        // Every biased score is negative, so a mask of 0 in place of −∞ would choose 0, 1, 2.
        var settings = new RouterSettings(8, 3, RouterScoring.Sigmoid, 4, 2, Normalise: true, 2.5f);
        (int[] experts, float[] weights) = Choose(settings, [.5f, -.2f, .1f, -1, 1.2f, .3f, -.5f, 0], [-1, -.9f, -1.2f, -.8f, -1.1f, -1, -.7f, -1]);
        Assert.Equal([6, 4, 5], experts);
        Close([.548589f, 1.116712f, .834699f], weights);
    }

    [Fact]
    public void SoftmaxGroupsAreScoredByTheirLargest()
    {
        // Group 1 has the largest single score, group 0 the largest sum: softmax keeps group 1, sigmoid group 0.
        float[] logits = [1, 1, 2, -3];
        (int[] softmax, float[] weights) = Choose(new RouterSettings(4, 2, RouterScoring.Softmax, 2, 1, Normalise: false, 16), logits, []);
        Assert.Equal([2, 3], softmax);
        double sum = 2 * Math.E + Math.Exp(2) + Math.Exp(-3);
        Close([(float)(16 * Math.Exp(2) / sum), (float)(16 * Math.Exp(-3) / sum)], weights); // over all experts, not normalised
        Assert.Equal([0, 1], Choose(new RouterSettings(4, 2, RouterScoring.Sigmoid, 2, 1, Normalise: false, 1), logits, []).Experts);
    }

    [Fact]
    public void TiesGoToTheLowerIndex()
    {
        Assert.Equal([0, 1, 2], Choose(new RouterSettings(6, 3, RouterScoring.Softmax, 1, 1, Normalise: true, 1), [0, 0, 0, 0, 0, 0], []).Experts);
        Assert.Equal([2, 3, 4], Choose(new RouterSettings(6, 3, RouterScoring.Sigmoid, 3, 2, Normalise: true, 1), [-1, -1, 0, 0, 0, 0], []).Experts);
    }

    [Fact]
    public void TheBiasChoosesButDoesNotWeigh()
    {
        (int[] experts, float[] weights) = Choose(new RouterSettings(3, 1, RouterScoring.Sigmoid, 1, 1, Normalise: false, 2), [3, 0, -3], [0, 0, 9]);
        Assert.Equal([2], experts);
        Close([(float)(2 / (1 + Math.Exp(3)))], weights);
    }

    [Fact]
    public void NormalisedWeightsSumToTheScale()
    {
        (int[] experts, float[] weights) = Choose(new RouterSettings(5, 3, RouterScoring.Softmax, 1, 1, Normalise: true, 1), [4, -2, 0, 1, 3], []);
        Assert.Equal([0, 4, 3], experts);
        Assert.Equal(1, weights.Sum(), 1e-6);
        Assert.Equal(Math.E, weights[0] / weights[1], 1e-5);
    }

    [Fact]
    public void BrokenNumbersChooseValidExperts()
    {
        (int[] experts, float[] weights) = Choose(new RouterSettings(6, 3, RouterScoring.Softmax, 3, 2, Normalise: true, 1), [float.NaN, 1, float.NegativeInfinity, float.NaN, 2, 3], []);
        Assert.Equal(3, experts.Distinct().Count());
        Assert.All(experts, e => Assert.InRange(e, 0, 5));
        Assert.All(weights, w => Assert.True(float.IsNaN(w)));
    }

    /// <summary>Against the definition by sorting, for random settings and logits full of ties.</summary>
    [Fact]
    public void ItIsTheDefinition()
    {
        var settings = from groups in Gen.Choose(1, 5)
                       from size in Gen.Choose(1, 6)
                       from kept in Gen.Choose(1, groups)
                       from top in Gen.Choose(1, kept * size)
                       from sigmoid in Gen.Elements(true, false)
                       from normalise in Gen.Elements(true, false)
                       from logits in Gen.ArrayOf(Gen.Choose(-3, 3), groups * size)
                       from bias in Gen.ArrayOf(Gen.Choose(-2, 2), groups * size)
                       select (new RouterSettings(groups * size, top, sigmoid ? RouterScoring.Sigmoid : RouterScoring.Softmax, groups, kept, normalise, 2.5f), logits, sigmoid ? bias : []);
        Prop.ForAll(Arb.From(settings), c =>
        {
            (RouterSettings s, int[] logits, int[] bias) = c;
            (int[] experts, float[] weights) = Choose(s, [.. logits.Select(x => (float)x)], [.. bias.Select(x => (float)x)]);
            float[] scores = [.. logits.Select(x => s.Scoring == RouterScoring.Sigmoid ? (float)(1 / (1 + Math.Exp(-x))) : (float)(Math.Exp(x - logits.Max()) / logits.Sum(y => Math.Exp(y - logits.Max()))))];
            float[] choice = [.. scores.Select((x, e) => bias.Length == 0 ? x : x + bias[e])];
            int size = s.ExpertCount / s.GroupCount;
            int[] kept = [.. Enumerable.Range(0, s.GroupCount).OrderByDescending(g => choice[(g * size)..(g * size + size)].OrderDescending().Take(s.Scoring == RouterScoring.Sigmoid ? 2 : 1).Aggregate((a, b) => a + b)).Take(s.TopKGroups)];
            int[] expected = [.. Enumerable.Range(0, s.ExpertCount).Where(e => kept.Contains(e / size)).OrderByDescending(e => choice[e]).Take(s.TopK)];
            Assert.Equal(expected, experts);
            double sum = s.Normalise ? expected.Sum(e => (double)scores[e]) : 1;
            for (int k = 0; k < s.TopK; k++) Assert.Equal(scores[expected[k]] / sum * s.Scale, weights[k], 1e-5);
        }).QuickCheckThrowOnFailure();
    }

    private static (int[] Experts, float[] Weights) Choose(RouterSettings settings, float[] logits, float[] bias)
    {
        int[] experts = new int[settings.TopK];
        float[] weights = new float[settings.TopK];
        Routing.Choose(settings, logits, bias, experts, weights, new float[Routing.ScratchLength(settings)]);
        return (experts, weights);
    }

    private static void Close(float[] expected, float[] actual)
    {
        for (int i = 0; i < expected.Length; i++) Assert.Equal(expected[i], actual[i], 1e-6f);
    }
}
