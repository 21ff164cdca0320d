using DeepSeek.Generation;

namespace DeepSeek.Core.Tests.Generation;

public class DraftPolicyTests
{
    private static readonly DraftCosts Unknown = new();

    [Fact]
    public void ItGoesDeeperWhereDraftsAreAccepted_AndStopsWhereTheyAreNot_AndTriesAgain()
    {
        var policy = new DraftPolicy(Speculation.On);
        Assert.Equal(1, policy.Limit(Unknown, 1));
        for (int i = 0; i < 40; i++) policy.Observe(policy.Limit(Unknown, 1), policy.Limit(Unknown, 1));
        Assert.Equal(Sequence.MaxDrafts, policy.Limit(Unknown, 1));
        policy.Observe(3, 1);
        Assert.InRange(policy.Limit(Unknown, 1), 1, 2); // the second one failed
        for (int i = 0; i < 5; i++) policy.Observe(1, 0);
        Assert.Equal(0, policy.Limit(Unknown, 1));
        int waited = 0;
        for (; policy.Limit(Unknown, 1) == 0 && waited < 1000; waited++) policy.Count();
        Assert.InRange(waited, 16, 999);
        policy.Observe(1, 0);
        Assert.Equal(0, policy.Limit(Unknown, 1));
        Assert.Equal(0, new DraftPolicy(Speculation.Off).Limit(Unknown, 1));
    }

    [Fact]
    public void MeasuredCostsDecide_WhereItIsLeftToTheMachine()
    {
        DraftCosts cheap = Costs(1.1, 1.2, 1.3), middling = Costs(1.4, 1.9, 2.5), dear = Costs(2.1, 3.2, 4.3);
        Assert.Equal(3, Settled(cheap, 1, 1, 1));
        Assert.Equal(1, Settled(middling, 1, 0.5, 0)); // 2 / 1.4 against 2.5 / 1.9
        Assert.Equal(0, Settled(middling, 0.2, 0, 0));
        Assert.Equal(1, Settled(cheap, 0.5, 0, 0)); // a draft that costs a tenth may well fail half of the time
        Assert.Equal(0, Settled(dear, 1, 1, 1));
        Assert.Equal(0, new DraftPolicy(Speculation.Auto).Limit(cheap, DraftPolicy.MostSequences + 1));
        Assert.Equal(0, new DraftPolicy(Speculation.Auto).Limit(Unknown, 1)); // there is nothing to compare with yet

        static DraftCosts Costs(params double[] steps)
        {
            var costs = new DraftCosts();
            for (int i = 0; i < 3; i++)
                for (int k = steps.Length; k >= 0; k--) costs.Observe(1, k, k == 0 ? 0.01 : 0.01 * steps[k - 1]);
            return costs;
        }

        // What it drafts after many steps in which drafts at each distance were accepted that often.
        static int Settled(DraftCosts costs, params double[] rates)
        {
            var policy = new DraftPolicy(Speculation.Auto);
            for (int i = 0; i < 100; i++)
            {
                int accepted = 0;
                while (accepted < 3 && (i * 7 + accepted * 3) % 20 < 20 * rates[accepted]) accepted++;
                policy.Observe(Math.Min(accepted + 1, 3), accepted);
            }
            return policy.Limit(costs, 1);
        }
    }

    [Fact]
    public void CostsAreRelativeToPlainSteps_OutlierProof_AndForgotten()
    {
        var costs = new DraftCosts();
        foreach (double ms in new[] { 900.0, 10, 11 }) costs.Observe(1, 0, ms / 1000); // the first one compiled code
        Assert.False(costs.WantsPlain(1));
        Assert.True(costs.WantsPlain(2));
        Assert.Equal(1, costs.Of(1, 1)); // never tried
        foreach (double ms in new[] { 500.0, 15, 15 }) costs.Observe(1, 1, ms / 1000);
        Assert.Equal(1.5, costs.Of(1, 1), 1e-9);
        Assert.Equal(2.5, costs.Of(1, 3), 1e-9); // as much again for each further one, until it is known
        costs.Observe(1, 1, 60); // somebody stopped the machine
        Assert.InRange(costs.Of(1, 1), 1.5, 1.9);
        for (int i = 0; i < 20; i++) costs.Observe(1, 1, 0.02);
        Assert.Equal(2, costs.Of(1, 1), 0.05);
        for (int i = 0; i < 64; i++) costs.Observe(1, 1, 0.02);
        Assert.True(costs.WantsPlain(1)); // a long time since there was one
        costs.Observe(1, 0, 0.01);
        Assert.False(costs.WantsPlain(1));
        for (int i = 0; i < 256 && costs.Of(1, 1) > 1; i++) costs.Observe(1, 0, 0.01);
        Assert.Equal(1, costs.Of(1, 1)); // to be tried again
        Assert.True(costs.WantsPlain(2)); // of others nothing was learned
        costs.Observe(2, 3, 0.01);
        costs.Observe(1000, 3, 0.01);
        costs.Observe(0, 0, 0.01);
        Assert.False(costs.WantsPlain(1000));
    }

    [Fact]
    public void ALookUp_FindsTheLastPlaceOfTheLongestMatch()
    {
        Assert.Equal(3, PromptLookup.Find([1, 2, 3, 4, 5, 9, 2, 3, 7, 1, 2, 3]));
        Assert.Equal(8, PromptLookup.Find([1, 2, 3, 4, 5, 9, 2, 3, 7, 6, 2, 3]));
        Assert.Equal(-1, PromptLookup.Find([1, 2, 3, 4]));
        Assert.Equal(-1, PromptLookup.Find([1]));
        Assert.Equal(3, PromptLookup.Find([5, 5, 5, 5])); // overlapping itself
    }
}
