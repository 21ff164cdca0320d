using DeepSeek.Text.Unicode;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Core.Tests.Text;

public class NfcTests
{
    [Theory]
    [InlineData("e\u0301", "é")]
    [InlineData("A\u030a\u212B", "ÅÅ")]
    [InlineData("\u1e9b\u0323", "\u1e9b\u0323")]
    [InlineData("q\u0307\u0323", "q\u0323\u0307")]
    [InlineData("o\u031b\u0323", "\u1ee3")]
    [InlineData("\u1112\u1161\u11ab", "한")]
    [InlineData("\uAC00\u11A8", "\uAC01")]
    [InlineData("\u0958", "\u0915\u093c")]
    [InlineData("\u2126\uFB01", "Ω\uFB01")]
    [InlineData("\u0344", "\u0308\u0301")]
    [InlineData("\U0002F800", "\u4E3D")]
    [InlineData("\U0001D15E", "\U0001D157\U0001D165")]
    [InlineData("\u0308\u0301", "\u0308\u0301")]
    [InlineData("x", "x")]
    [InlineData("", "")]
    public void IsThatOfTheStandard(string text, string expected) => Assert.Equal(expected, Nfc.Normalize(text, [], null));

    [Fact]
    public void NormalisingTwiceIsNormalisingOnce()
        => Prop.ForAll(Texts.WellFormed.ToArbitrary(), text =>
        {
            string once = Nfc.Normalize(text, [], null);
            return Nfc.Normalize(once, [], null) == once && (!Nfc.IsStable(text) || once == text);
        }).QuickCheckThrowOnFailure();

    [Fact]
    public void APartMayBeNormalisedAloneWhereItEndsInFrontOfAStableCharacter()
        => Prop.ForAll(Texts.WellFormed.ToArbitrary(), Texts.WellFormed.ToArbitrary(), (a, b)
            => Nfc.Normalize(a + "x" + b, [], null) == Nfc.Normalize(a, [], null) + Nfc.Normalize("x" + b, [], null)).QuickCheckThrowOnFailure();

    [Fact]
    public void MarksStayWithWhatWasMadeOfMarkedCharacters()
    {
        List<bool> mask = [];
        Assert.Equal("aébc", Nfc.Normalize("ae\u0301bc", [false, false, true, false, true], mask));
        Assert.Equal([false, true, false, true], mask);
    }
}
