using System.Text;
using System.Text.Json;
using DeepSeek.Generation.Constraints;

namespace DeepSeek.Core.Tests.Generation.Constraints;

public class TokenMaskTests
{
    public static TheoryData<string> Schemas() =>
    [
        "{}", """{"type":"string"}""", """{"type":"string","minLength":3,"maxLength":5}""", """{"type":"string","pattern":"^(é|漢){2}a?$"}""", """{"type":"number","minimum":-1.5,"maximum":12}""",
        """{"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3}""", """{"enum":["red","green",12,null]}""", """{"type":"string","maxLength":1000}""",
        """{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0},"kind":{"type":["number","null"]}},"required":["name"],"additionalProperties":{"type":"boolean"}}""",
        """{"anyOf":[{"type":"object","properties":{"kind":{"const":"a"},"name":{"type":"string","maxLength":2}},"required":["kind"]},{"type":"object","properties":{"kind":{"type":"string"},"age":{"type":"array"}},"required":["kind","age"]}]}""",
    ];

    [Theory]
    [MemberData(nameof(Schemas))]
    public void AMaskHoldsExactlyTheTokensThatTheMatcherTakes(string schema) => CheckMasks(Masks(schema));

    /// <summary>Strings without quotes may end anywhere, and the same tokens lead out of them however long they are.</summary>
    [Theory]
    [InlineData("""{"type":"string"}""")]
    [InlineData("""{"type":"string","minLength":2,"maxLength":1000}""")]
    [InlineData("""{"type":["string","integer"],"maxLength":3}""")]
    public void AMaskHoldsExactlyTheTokensThatTheMatcherTakes_BehindRawStrings(string schema)
    {
        using JsonDocument document = JsonDocument.Parse(schema);
        var builder = new GrammarBuilder();
        (Term text, Term other) = builder.RawValue(document.RootElement, "", ']');
        Term values = builder.Choice(builder.Sequence(builder.Literal("true>"), text), builder.Sequence(builder.Literal("name>"), other));
        CheckMasks(new(builder.Build(builder.Sequence(values, builder.Choice(builder.Literal("]}"), builder.Literal("]")), values, builder.Literal("]"))), SmallVocabulary.Trie));
    }

    private static void CheckMasks(TokenMasks masks)
    {
        var random = new Random(11);
        for (int run = 0; run < 12; run++)
        {
            var matcher = new GrammarMatcher(masks);
            for (int step = 0; step < 40 && !matcher.MustEnd; step++)
            {
                TokenMask mask = matcher.Mask;
                int[] allowed = [.. Enumerable.Range(0, SmallVocabulary.Rows).Where(t => mask[t])];
                Assert.NotEmpty(allowed);
                for (int t = 0; t < SmallVocabulary.Rows; t++)
                    Assert.True(mask[t] == matcher.Clone().TryAccept(t), $"token {t} at step {step}");
                Assert.Equal(matcher.CanEnd, mask[SmallVocabulary.End]);
                int[] going = [.. allowed.Where(t => t != SmallVocabulary.End)];
                if (going.Length == 0) break;
                // Pieces of several bytes more often than their number would have it.
                int[] long_ = [.. going.Where(t => t >= 256)];
                Assert.True(matcher.TryAccept(long_.Length > 0 && random.Next(2) == 0 ? long_[random.Next(long_.Length)] : going[random.Next(going.Length)]));
            }
        }
    }

    [Fact]
    public void ApplyKeepsAllowedLogitsAndMasksTheRest()
    {
        TokenMask mask = new GrammarMatcher(Masks("""{"type":"array","items":{"type":"integer"}}""")).Mask;
        foreach (int length in new[] { SmallVocabulary.Rows, SmallVocabulary.Rows + 64, 300 })
        {
            float[] logits = [.. Enumerable.Range(0, length).Select(i => i * 0.5f - 40)];
            mask.Apply(logits);
            for (int i = 0; i < length; i++) Assert.Equal(mask[i] ? i * 0.5f - 40 : float.NegativeInfinity, logits[i]);
        }
        Assert.Equal(Enumerable.Range(0, SmallVocabulary.Rows).Count(i => mask[i]), mask.Count);
    }

    [Fact]
    public void DraftsAreTakenBack()
    {
        var matcher = new GrammarMatcher(Masks("""{"type":"object","properties":{"name":{"type":"string"}},"required":["name"],"additionalProperties":false}"""));
        foreach (byte b in "{\"na"u8) Assert.True(matcher.TryAccept(b));
        GrammarMatcher fork = matcher.Clone();
        foreach (byte b in "me\":\"x"u8) Assert.True(matcher.TryAccept(b));
        Assert.False(matcher.TryAccept((int)'\n'));
        Assert.Equal(10, matcher.Length);
        matcher.Rollback(6);
        Assert.Equal(4, matcher.Length);
        Assert.True(matcher.TryAccept("me\": \"y\"}"u8) && matcher.CanEnd && matcher.MustEnd);
        Assert.True(fork.TryAccept("me\":\"z\"}"u8) && fork.TryAccept(SmallVocabulary.End));
        Assert.False(fork.TryAccept(SmallVocabulary.End) && fork.TryAccept((int)' '));
        matcher.Rollback(5);
        Assert.True(matcher.TryAccept("{"u8));
    }

    [Fact]
    public void ForcedTextGoesAsFarAsThereIsNoChoice()
    {
        var matcher = new GrammarMatcher(Masks("""{"type":"object","properties":{"kind":{"const":"red"},"age":{"type":"null"}},"required":["kind","age"],"additionalProperties":false}"""));
        Assert.Equal("{\"kind\":", Encoding.UTF8.GetString(matcher.ForcedText()));
        Assert.True(matcher.TryAccept("{\"kind\":\""u8));
        Assert.Equal("red\",", Encoding.UTF8.GetString(matcher.ForcedText()));
        Assert.True(matcher.TryAccept("red\",\"age\":null}"u8));
        Assert.Empty(matcher.ForcedText());
    }

    [Fact]
    public void AVocabularyWithoutSomeBytesIsNeverLedIntoADeadEnd()
    {
        using JsonDocument schema = JsonDocument.Parse("""{"enum":["blue","grün","zero"]}""");
        var masks = new TokenMasks(Grammar.OfJsonSchema(schema.RootElement), SmallVocabulary.Without((byte)'z', 0xBC));
        Assert.False(new GrammarMatcher(masks).TryAccept("\"g"u8));
        Assert.Equal("\"blue\"", Encoding.UTF8.GetString(new GrammarMatcher(masks).ForcedText()));
        using JsonDocument impossible = JsonDocument.Parse("""{"const":"zero"}""");
        Assert.Throws<InvalidOptionException>(() => new TokenMasks(Grammar.OfJsonSchema(impossible.RootElement), SmallVocabulary.Without((byte)'z')));
    }

    [Fact]
    public void FragmentsComposeAToolCall()
    {
        using JsonDocument first = JsonDocument.Parse("""{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}""");
        using JsonDocument second = JsonDocument.Parse("""{"type":"object","properties":{},"additionalProperties":false}""");
        var cache = new ConstraintCache(SmallVocabulary.Trie);
        GrammarMatcher Start() => cache.Start("tools", b =>
        {
            Term Call(string name, JsonElement schema) => b.Sequence(b.Literal(name), b.Literal("\n"), b.JsonSchema(schema));
            Term call = b.Sequence(b.Token(SmallVocabulary.Named), b.Choice(Call("add", first.RootElement), Call("addAll", second.RootElement)), b.Literal("</call>"));
            return b.Sequence(b.FreeTextUntil("CALL", "USE"), b.Repeat(call, 1, 2));
        });
        GrammarMatcher matcher = Start();
        Assert.False(matcher.TryAccept(SmallVocabulary.Named));
        Assert.True(matcher.TryAccept("I will CACALL"u8) && matcher.TryAccept(SmallVocabulary.Named) && matcher.Clone().TryAccept("addAll\n{}</call>"u8));
        Assert.True(matcher.TryAccept("add"u8));
        Assert.True(matcher.Mask['\n'] && matcher.Mask['A'] && !matcher.Mask[SmallVocabulary.Named]);
        Assert.True(matcher.TryAccept("\n{\"a\":1}</call>"u8) && matcher.CanEnd && !matcher.MustEnd && matcher.Mask[SmallVocabulary.Named] && matcher.Mask.Count == 2);
        Assert.True(matcher.TryAccept(SmallVocabulary.Named) && matcher.TryAccept("addAll\n{}</call>"u8) && matcher.MustEnd);
        Start();
        Assert.Equal(1, cache.Count);
    }

    [Fact]
    public void TheCacheIsBoundedAndKnowsEqualConstraints()
    {
        var cache = new ConstraintCache(SmallVocabulary.Trie);
        for (int i = 0; i < 2 * ConstraintCache.Capacity; i++) cache.Start(new OutputConstraint.Regex($"a{{{i + 1}}}"));
        Assert.Equal(ConstraintCache.Capacity, cache.Count);
        cache.Start(new OutputConstraint.Choice(["a", "b"]));
        cache.Start(new OutputConstraint.Choice(["a", "b"]));
        Assert.Equal(ConstraintCache.Capacity, cache.Count);
        Assert.Throws<InvalidOptionException>(() => cache.Start(new OutputConstraint.JsonSchema(default)));
    }

    [Fact]
    public void DerivedStatesAreForgottenAndDerivedAgain()
    {
        TokenMasks masks = Masks("""{"type":"array","items":{"type":"string","minLength":40000,"maxLength":40001},"minItems":1}""");
        var matcher = new GrammarMatcher(masks);
        Assert.True(matcher.TryAccept("[\""u8));
        GrammarMatcher early = matcher.Clone();
        for (int i = 0; i < 40_000; i++) Assert.True(matcher.TryAccept("é"u8));
        Assert.True(masks.Grammar.Factory.ForgottenCount > 0);
        Assert.True(matcher.Mask['"'] && matcher.Clone().TryAccept("\"]"u8) && !matcher.Clone().TryAccept("ab"u8) && matcher.TryAccept("a\", \"x"u8));
        Assert.True(early.TryAccept("abc"u8) && !early.Mask['"'] && !early.TryAccept("\""u8));
    }

    private static TokenMasks Masks(string schema)
    {
        using JsonDocument document = JsonDocument.Parse(schema);
        return new(Grammar.OfJsonSchema(document.RootElement), SmallVocabulary.Trie);
    }
}
