using System.Text;
using DeepSeek.Generation;
using DeepSeek.Generation.Constraints;

namespace DeepSeek.Core.Tests.Generation;

public class OutputGuideTests
{
    private static readonly Tokenizer Tokenizer = Tokenizer.Load(SharedData.Model("tiny-reasoner"));
    private static readonly int Open = Tokenizer.IdOf("<think>")!.Value, Close = Tokenizer.IdOf("</think>")!.Value;

    private static OutputGuide New(bool starts = false, bool may = true, int? budget = null, string[]? stops = null, OutputConstraint? constraint = null)
    {
        var cache = new ConstraintCache(TokenTrie.Of(Tokenizer, Tokenizer.VocabularySize));
        return new OutputGuide(Tokenizer, new GuideSettings(starts, may, budget, Tokenizer.Encode("\n</think>", true), [.. (stops ?? []).Select(Encoding.UTF8.GetBytes)], Open), constraint is null ? null : cache.Start(constraint));
    }

    private static bool Say(OutputGuide guide, string text)
    {
        bool stopped = false;
        foreach (int id in Tokenizer.Encode(text, parseSpecialTokens: true)) stopped |= guide.Accept(id);
        return stopped;
    }

    private static HashSet<int> Allowed(OutputGuide guide)
    {
        float[] logits = new float[Tokenizer.VocabularySize];
        guide.Mask(logits);
        return [.. Enumerable.Range(0, logits.Length).Where(i => logits[i] == 0)];
    }

    [Fact]
    public void AModelMayThinkFirst_AndIsHeldToTheConstraintThen()
    {
        OutputGuide guide = New(constraint: new OutputConstraint.Choice(["yes", "no"]));
        HashSet<int> first = Allowed(guide);
        Assert.Contains(Open, first);
        Assert.All(first.Where(i => i != Open), i => Assert.True("yes".StartsWith(Tokenizer.Decode([i]), StringComparison.Ordinal) || "no".StartsWith(Tokenizer.Decode([i]), StringComparison.Ordinal)));
        Assert.False(guide.Accept(Open));
        Assert.Equal(Tokenizer.VocabularySize, Allowed(guide).Count);
        Assert.False(Say(guide, "whatever comes to mind"));
        Assert.False(guide.Accept(Close));
        HashSet<int> then = Allowed(guide);
        Assert.DoesNotContain(Open, then);
        Assert.Equal(first.Count - 1, then.Count);
        Assert.True(Say(guide, "no")); // it cannot go on
        Assert.True(guide.ReasoningTokens > 2);
    }

    [Fact]
    public void AnAnswerWithoutAThought_IsHeldFromItsFirstToken()
    {
        OutputGuide guide = New(constraint: new OutputConstraint.Choice(["yes", "no"]));
        Assert.True(Say(guide, "yes"));
        Assert.Equal(0, guide.ReasoningTokens);
        OutputGuide strict = New(may: false, constraint: new OutputConstraint.Choice(["yes", "no"]));
        Assert.DoesNotContain(Open, Allowed(strict));
    }

    [Fact]
    public void ABudget_ForcesTheClosingTokens_Once()
    {
        OutputGuide guide = New(starts: true, budget: 3);
        foreach (char c in "abc")
        {
            Assert.Equal(-1, guide.Forced);
            Say(guide, c.ToString());
        }
        var forced = new List<int>();
        while (guide.Forced >= 0)
        {
            forced.Add(guide.Forced);
            guide.Accept(guide.Forced);
        }
        Assert.Equal("\n</think>", Tokenizer.Decode([.. forced]));
        for (int i = 0; i < 10; i++)
        {
            Say(guide, "x");
            Assert.Equal(-1, guide.Forced);
        }
    }

    [Fact]
    public void ABudget_NeverCutsACharacter()
    {
        int[] snow = Tokenizer.Encode("☃"); // three bytes, in this vocabulary three tokens
        Assert.True(snow.Length > 1);
        OutputGuide guide = New(starts: true, budget: 1);
        guide.Accept(snow[0]);
        for (int i = 1; i < snow.Length; i++)
        {
            Assert.Equal(-1, guide.Forced);
            guide.Accept(snow[i]);
        }
        Assert.True(guide.Forced >= 0);
    }

    [Theory]
    [InlineData(" thinking is not this", 0)]
    [InlineData("<thin", 0)]
    [InlineData("\n <think>x</think>y", 1)]
    [InlineData("a <think>b</think>", 0)]
    public void OnlyALeadingTag_OpensAThought(string text, int thought)
    {
        OutputGuide guide = New();
        Say(guide, text + " and so on");
        Assert.Equal(thought, guide.ReasoningTokens > 0 ? 1 : 0);
    }

    [Fact]
    public void Stops_CountInTheAnswerOnly_AcrossTokens()
    {
        OutputGuide guide = New(starts: true, stops: ["END"]);
        Assert.False(Say(guide, "the END of a thought</think>"));
        Assert.False(Say(guide, "an EN"));
        Assert.True(Say(guide, "D"));
    }
}
