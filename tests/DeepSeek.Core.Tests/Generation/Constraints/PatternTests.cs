using System.Text;
using DeepSeek.Generation.Constraints;

namespace DeepSeek.Core.Tests.Generation.Constraints;

public class PatternTests
{
    [Theory]
    [InlineData("a|b", new[] { "a", "b" }, new[] { "", "ab", "c" })]
    [InlineData("^(?:ab)+c?$", new[] { "ab", "ababc" }, new[] { "", "abcab" })]
    [InlineData(@"\d{2,3}-\w*?", new[] { "12-", "123-x_9" }, new[] { "1-", "1234-", "12-é" })]
    [InlineData(@"[^a-z\]]+", new[] { "A", "é漢😀" }, new[] { "a", "]", "" })]
    [InlineData(@"[\u4e00-\u9fff]{2}", new[] { "漢字" }, new[] { "漢", "ab" })]
    [InlineData(@"\p{Lu}\P{L}", new[] { "É1", "A-" }, new[] { "a1", "AA" })]
    [InlineData(@"(?=.*\d)x.*", new[] { "xa1", "x1" }, new[] { "xa", "1x" })]
    [InlineData(@"(?!ab)[a-c]+", new[] { "ba", "aab", "a" }, new[] { "ab", "abc" })]
    [InlineData(@"\u{1F600}|\uD83D\uDE01", new[] { "😀", "😁" }, new[] { "😂" })]
    [InlineData(@"a{,2}", new[] { "a{,2}" }, new[] { "a", "aa" })]
    [InlineData(@"(a*)*b", new[] { "b", "aaab" }, new[] { "a", "" })]
    public void MatchesAsAWhole(string pattern, string[] yes, string[] no)
    {
        Grammar grammar = Grammar.Of(new OutputConstraint.Regex(pattern));
        Assert.DoesNotContain(yes, t => !grammar.Accepts(Encoding.UTF8.GetBytes(t)));
        Assert.DoesNotContain(no, t => grammar.Accepts(Encoding.UTF8.GetBytes(t)));
    }

    [Theory]
    [InlineData("(")]
    [InlineData("a)")]
    [InlineData("[z-a]")]
    [InlineData("a{3,2}")]
    [InlineData("*")]
    [InlineData("(a)\\1")]
    [InlineData("(?<=a)b")]
    [InlineData("(?i)a")]
    [InlineData("\\bword")]
    [InlineData("a^b")]
    [InlineData("\\p{Nonsense}")]
    [InlineData("\\uD83D")]
    [InlineData("a++")]
    [InlineData("(.{0,9999}){0,9999}")]
    public void RefusesWhatIsNotRegular(string pattern) =>
        Assert.Contains(pattern, Assert.Throws<UnsupportedModelException>(() => Grammar.Of(new OutputConstraint.Regex(pattern))).Message, StringComparison.Ordinal);

    [Fact]
    public void ARegexThatNothingMatchesIsRefused() => Assert.Throws<InvalidOptionException>(() => Grammar.Of(new OutputConstraint.Regex("(?!a)a")));

    [Fact]
    public void AChoiceIsOneOfItsValues()
    {
        Grammar grammar = Grammar.Of(new OutputConstraint.Choice(["yes", "yesterday", "né"]));
        Assert.True(grammar.Accepts("yes"u8) && grammar.Accepts("yesterday"u8) && grammar.Accepts("né"u8));
        Assert.False(grammar.Accepts("yester"u8) || grammar.Accepts(""u8) || grammar.Accepts("yesno"u8));
        Assert.Throws<InvalidOptionException>(() => Grammar.Of(new OutputConstraint.Choice([])));
    }

    [Fact]
    public void JsonIsAnyObject()
    {
        Grammar grammar = Grammar.Of(new OutputConstraint.Json());
        Assert.True(grammar.Accepts("""{"a":[1,2.5e-3,"x\u00e9",{}],"b":null}"""u8));
        Assert.False(grammar.Accepts("[1]"u8) || grammar.Accepts("{"u8) || grammar.Accepts("""{"a":}"""u8));
    }
}
