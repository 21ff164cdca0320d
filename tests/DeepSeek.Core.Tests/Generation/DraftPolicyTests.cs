using DeepSeek.Generation;

namespace DeepSeek.Core.Tests.Generation;

public class DraftPolicyTests
{
    [Fact]
    public void ItGoesDeeperWhereDraftsAreAccepted_AndStopsWhereTheyAreNot_AndTriesAgain()
    {
        var policy = new DraftPolicy(Speculation.On);
        Assert.Equal(1, policy.Limit);
        for (int i = 0; i < 40; i++) policy.Observe(policy.Limit, policy.Limit);
        Assert.Equal(Sequence.MaxDrafts, policy.Limit);
        policy.Observe(3, 1);
        Assert.InRange(policy.Limit, 1, 2); // the second one failed
        for (int i = 0; i < 5; i++) policy.Observe(1, 0);
        Assert.Equal(0, policy.Limit);
        int waited = 0;
        for (; policy.Limit == 0 && waited < 1000; waited++) policy.Idle();
        Assert.InRange(waited, 16, 999);
        policy.Observe(1, 0);
        Assert.Equal(0, policy.Limit);
        Assert.Equal(0, new DraftPolicy(Speculation.Off).Limit);
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
