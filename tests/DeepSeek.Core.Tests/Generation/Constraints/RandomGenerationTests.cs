using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using DeepSeek.Generation.Constraints;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Core.Tests.Generation.Constraints;

/// <summary>Whatever tokens a model chooses, the text ends, and what it then is satisfies the schema.</summary>
public class RandomGenerationTests
{
    private const int Enough = 150, TooMuch = 6_000;

    [Fact]
    public void RandomTokensUnderRandomSchemasEndInValidInstances()
    {
        int written = 0;
        Prop.ForAll(Gen.Choose(0, int.MaxValue).ToArbitrary(), seed => written += Check(seed)).Check(Config.QuickThrowOnFailure.WithMaxTest(250).WithReplay(4_711, 13));
        // Most schemas have instances; were all of them refused, the property would say nothing.
        Assert.InRange(written, 300, int.MaxValue);
    }

    private static int Check(int seed)
    {
        JsonNode schema = new RandomSchemas(seed).Make();
        using JsonDocument document = JsonDocument.Parse(schema.ToJsonString());
        TokenMasks masks;
        try
        {
            Grammar grammar = Grammar.OfJsonSchema(document.RootElement);
            if (grammar.IsEmpty) return 0;
            masks = new(grammar, SmallVocabulary.Trie);
        }
        catch (UnsupportedModelException e) when (e.Data.Contains(SchemaErrors.KeywordKey))
        {
            return 0;
        }
        var random = new Random(seed);
        for (int run = 0; run < 3; run++)
        {
            string text = Generate(masks, random);
            using JsonDocument instance = JsonDocument.Parse(text, new() { MaxDepth = 1_000 });
            Assert.True(Validator.IsValid(document.RootElement, document.RootElement, instance.RootElement), $"{schema.ToJsonString()}\n{text}");
        }
        return 3;
    }

    private static string Generate(TokenMasks masks, Random random)
    {
        var matcher = new GrammarMatcher(masks);
        var bytes = new List<byte>();
        for (int step = 0; ; step++)
        {
            TokenMask mask = matcher.Mask;
            int[] allowed = [.. Enumerable.Range(0, SmallVocabulary.Rows).Where(t => mask[t])];
            Assert.NotEmpty(allowed);
            Assert.True(step < TooMuch, Encoding.UTF8.GetString([.. bytes.TakeLast(300)]));
            int token = step < Enough ? allowed[random.Next(allowed.Length)] : Closing(allowed, random);
            Assert.True(matcher.TryAccept(token));
            if (token == SmallVocabulary.End) return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString([.. bytes]);
            bytes.AddRange(SmallVocabulary.Bytes(token));
        }
    }

    /// <summary>What a model does that wants to come to an end.</summary>
    private static int Closing(int[] allowed, Random random)
    {
        // Now and then anything: inside a string a brace closes nothing.
        if (random.Next(4) == 0) return random.Next(2) == 0 && allowed.Contains('z') ? 'z' : allowed[random.Next(allowed.Length)];
        foreach (int t in (ReadOnlySpan<int>)[SmallVocabulary.End, '"', '}', ']', ':', 'n'])
            if (allowed.Contains(t)) return t;
        int[] digits = [.. allowed.Where(t => t is >= '0' and <= '9')];
        return digits.Length > 0 ? digits[random.Next(digits.Length)] : allowed[random.Next(allowed.Length)];
    }
}
