using DeepSeek.Text.Splitting;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Core.Tests.Text.Splitting;

public class SplitterTests
{
    private sealed class Pieces : IPieceSink
    {
        public List<string> All { get; } = [];

        public void Add(ReadOnlySpan<char> piece) => All.Add(piece.ToString());
    }

    private static List<string> Cut(string text, params SplitStage[] stages)
    {
        var sink = new Pieces();
        new PreTokenizer(stages).Split(text, sink);
        return sink.All;
    }

    private static SplitStage Evaluated(string expression) => new(new PatternSplitter(PatternParser.Parse(expression)));

    public static TheoryData<string> Expressions =>
    [
        KnownPatterns.Gpt2, KnownPatterns.Qwen2, KnownPatterns.Qwen35, KnownPatterns.Llama3, KnownPatterns.DeepSeekV3, KnownPatterns.ThreeDigits, KnownPatterns.ChineseAndJapanese,
        KnownPatterns.LineBreak, KnownPatterns.CasedWord, KnownPatterns.DeepSeekPunctuation, KnownPatterns.BlanksAtEnd, KnownPatterns.ChineseAndKorean, KnownPatterns.LetterWord,
        KnownPatterns.PunctuationWord, @"\s?\s+", @"[a]+$", @"\p{L}{1,2}",
    ];

    [Theory]
    [MemberData(nameof(Expressions))]
    public void SplittersByHandCutAsTheirExpressionsDo(string expression)
    {
        SplitStage byHand = PreTokenizer.Stage(expression), evaluated = Evaluated(expression);
        Assert.IsNotType<PatternSplitter>(byHand.Splitter);
        Prop.ForAll(Texts.WellFormed.ToArbitrary(), text => Cut(text, byHand).SequenceEqual(Cut(text, evaluated))).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));
    }

    [Theory]
    [MemberData(nameof(Expressions))]
    public void PiecesTogetherAreTheText(string expression)
    {
        SplitStage byHand = PreTokenizer.Stage(expression), evaluated = Evaluated(expression);
        Prop.ForAll(Texts.WellFormed.ToArbitrary(), text => string.Concat(Cut(text, evaluated)) == text && !Cut(text, byHand).Contains("")).QuickCheckThrowOnFailure();
    }

    [Theory]
    [InlineData(KnownPatterns.Qwen2, "I'm HE'S it'ſ  12 ab-c\r\n\n x", "I|'m| HE|'S| it|'ſ| | |1|2| ab|-c|\r\n\n| x")]
    [InlineData(KnownPatterns.Llama3, "12345 67", "123|45| |67")]
    [InlineData(KnownPatterns.Gpt2, "don't  stop 42x!?", "don|'t| | stop| 42|x|!?")]
    [InlineData(KnownPatterns.DeepSeekV3, "x.y (a) 中\u200D", "x|.y| (|a|)| 中|\u200D")]
    [InlineData("(?<word>a)", null, "a kind of group")]
    [InlineData(@"\bword\b", null, @"'\b'")]
    [InlineData(@"(a|b*)*", null, "can be empty")]
    [InlineData(@"a{2000}", null, "repetition count")]
    [InlineData(@"\p{Greek}", null, "'Greek'")]
    [InlineData(@"[a-", null, "unclosed")]
    [InlineData(@"(a", null, "unclosed")]
    [InlineData(@"a)", null, "unmatched")]
    [InlineData(@"*", null, "of nothing")]
    [InlineData("a\\", null, "at the end")]
    [InlineData(@"(?i:é)", null, "beyond ASCII")]
    [InlineData(@"[[:alpha:]]", null, "POSIX")]
    public void CutsOrRefusesByName(string expression, string? text, string expected)
    {
        if (text is not null) Assert.Equal(expected, string.Join('|', Cut(text, PreTokenizer.Stage(expression))));
        else Assert.Contains(expected, Assert.Throws<UnsupportedModelException>(() => PreTokenizer.Stage(expression)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(@"a*?b|a", "aaab", "aaab")]
    [InlineData(@"(?>a+)a|b", "aaab", "aaa|b")]
    [InlineData(@"a++b|c", "aabc", "aab|c")]
    [InlineData(@"a(?=b)", "abac", "a|bac")]
    [InlineData(@"[a-z&&[^aeiou]]+", "beat", "b|ea|t")]
    [InlineData(@"[^\S\n]+", "a \t\nb", "a| \t|\nb")]
    [InlineData(@"x*", "abxc", "a|b|x|c")]
    [InlineData(@"^a|b$", "ab\nab\n", "a|b|\n|a|b|\n")]
    [InlineData(@"(?i)ab|c", "AbC", "Ab|C")]
    [InlineData(@"\x{1F600}|\u4E2D|\x41", "😀中A", "😀|中|A")]
    [InlineData(@"a{,2}b", "aaab", "a|aab")]
    [InlineData(@"a{x}", "a{x}a", "a{x}|a")]
    [InlineData(@"[\p{Lu}\p{Lt}]+\p{Ll}*", "fooBarBAZ", "foo|Bar|BAZ")]
    public void EvaluatesOnigmosSyntax(string expression, string text, string expected) => Assert.Equal(expected, string.Join('|', Cut(text, Evaluated(expression))));

    [Theory]
    [InlineData("Isolated", false, "a|1|b|2|3")]
    [InlineData("Removed", false, "a|b")]
    [InlineData("Removed", true, "1|2|3")]
    [InlineData("MergedWithPrevious", false, "a1|b2|3")]
    [InlineData("MergedWithNext", false, "a|1b|2|3")]
    [InlineData("Contiguous", false, "a|1|b|23")]
    public void BehavioursAreThoseOfTokenizerJson(string behavior, bool invert, string expected)
        => Assert.Equal(expected, string.Join('|', Cut("a1b23", new SplitStage(PreTokenizer.Digits(true).Splitter, Enum.Parse<SplitBehavior>(behavior), invert))));

    [Fact]
    public void DefaultRuleCutsThreeDigits()
    {
        var sink = new Pieces();
        PreTokenizer.ForName("default").Split("a+b 12345", sink);
        Assert.Equal("a|+|b| |123|45", string.Join('|', sink.All));
    }

    [Fact]
    public void AnUnknownRuleIsNamed() => Assert.Contains("'no-such-rule'", Assert.Throws<UnsupportedModelException>(() => PreTokenizer.ForName("no-such-rule")).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData(@"\s*[\r\n]+|\s", ' ')]
    [InlineData(@"\s+$|x", ' ')]
    [InlineData(@"(?:a|aa)+b|a", 'a')]
    [InlineData(@"(?:a+a+)+b|a", 'a')]
    public void HostileTextTakesTimeInProportionToItsLength(string expression, char c)
    {
        // Backtracking without a memory would need hundreds of years for the last, and 10^8 steps for the others.
        string text = new string(c, 20_000) + ".";
        Assert.Equal(text, string.Concat(Cut(text, Evaluated(expression))));
    }
}
