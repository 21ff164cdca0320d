using System.Text.Json;
using DeepSeek.Core.Tests.Generation.Constraints;
using DeepSeek.Generation;
using DeepSeek.Generation.Constraints;
using DeepSeek.Text.ToolCalls;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Core.Tests.Generation;

/// <summary>Whatever tokens a model chooses under a required call, what it writes is calls in its dialect, and their arguments satisfy the tools' schemas.</summary>
public class ToolGrammarTests
{
    private const int Enough = 60, TooMuch = 4_000;

    private static readonly Tokenizer Tokenizer = Tokenizer.Load(SharedData.Model("tiny-reasoner"));
    private static readonly TokenTrie Trie = TokenTrie.Of(Tokenizer, Tokenizer.VocabularySize, Tokenizer.EndOfTurnIds);

    [Theory]
    [InlineData("deepseek_r1_0528")]
    [InlineData("deepseek_v3_1")]
    [InlineData("deepseek_v3_2_dsml")]
    [InlineData("deepseek_v4_dsml")]
    [InlineData("qwen_hermes")]
    [InlineData("llama3_json")]
    public void RandomTokensUnderRandomToolsEndInValidCalls(string name)
    {
        ToolCallDialect dialect = ToolCallDialect.ByName(name)!;
        int written = 0, many = 0;
        Prop.ForAll(Gen.Choose(0, int.MaxValue).ToArbitrary(), seed =>
        {
            ToolDefinition[] tools = [.. Enumerable.Range(0, 2).Select(i => new ToolDefinition($"tool_{i}", null, JsonElement.Parse(new RandomSchemas(seed + i).MakeParameters().ToJsonString())))];
            if (Masks(dialect, tools) is not { } masks) return;
            string output = Generate(masks, dialect, new System.Random(seed));
            var parser = new OutputParser(dialect, false);
            List<OutputEvent> events = [.. parser.Feed(output), .. parser.Finish()];
            ParsedCall[] calls = [.. events.Where(e => e.Call is not null).Select(e => e.Call!)];
            Assert.True(calls.Length > 0 && string.IsNullOrWhiteSpace(string.Concat(events.Select(e => e.Text))), output);
            foreach (ParsedCall call in calls)
            {
                JsonElement schema = tools.Single(t => t.Name == call.Name).Parameters;
                Assert.True(Validator.IsValid(schema, schema, call.Arguments), $"{schema.GetRawText()}\n{call.Arguments}\n{output}");
            }
            written++;
            many += calls.Length > 1 ? 1 : 0;
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(20).WithReplay(815, 13));
        // Were all tools refused, the property would say nothing.
        Assert.InRange(written, 10, 20);
        Assert.InRange(many, 1, written);
    }

    [Theory]
    [InlineData("anyOf", """{"type":"object","anyOf":[{"required":["a"]}]}""")]
    [InlineData("minProperties", """{"type":"object","properties":{"a":{}},"minProperties":1}""")]
    [InlineData("properties", """{"type":"object","properties":{"a\"b":{}}}""")]
    [InlineData("$dynamicRef", """{"type":"object","properties":{"a":{"$dynamicRef":"#x"}}}""")]
    public void WhatTaggedParametersCannotKeep_IsRefusedByName(string keyword, string schema)
    {
        var e = Assert.Throws<UnsupportedModelException>(() => Masks(ToolCallDialect.ByName("deepseek_v4_dsml")!, [new("f", null, JsonElement.Parse(schema))], throws: true));
        Assert.Contains($"'{keyword}'", e.Message, StringComparison.Ordinal);
    }

    /// <summary>Strings stand as they are, and are held to all that their schemas say; everything else is JSON.</summary>
    [Theory]
    [InlineData("""{"type":"string","maxLength":3}""", "true\">a\"é", "true\">a\"éxy", "false\">\"a\"")]
    [InlineData("""{"enum":["red","a\nb",7]}""", "true\">a\nb", "true\">green", "true\">7")]
    [InlineData("""{"enum":["red","a\nb",7]}""", "false\">7", "false\">\"red\"", "false\">8")]
    [InlineData("""{"type":"string","pattern":"^[a-c]+$"}""", "true\">abc", "true\">abd", "true\">")]
    [InlineData("""{"type":["string","null"],"format":"date"}""", "true\">2026-01-31", "true\">soon", "false\">0")]
    [InlineData("""{"type":["string","null"],"format":"date"}""", "false\">null", "true\">null", "false\">nul")]
    [InlineData("""{"type":"string","minLength":1}""", "true\"> <b>x</b> ", "true\">", "true\">a ｜ b")]
    [InlineData("""{"$ref":"#/$defs/n"}""", "false\">-5", "true\">-5", "false\">5")]
    public void ParametersAreHeldToTheirSchemas(string schema, string right, string wrong, string alsoWrong)
    {
        string tool = """{"type":"object","properties":{"p":SCHEMA},"required":["p"],"$defs":{"n":{"type":"integer","maximum":0}}}""".Replace("SCHEMA", schema, StringComparison.Ordinal);
        TokenMasks masks = Masks(ToolCallDialect.ByName("deepseek_v3_2_dsml")!, [new("f", null, JsonElement.Parse(tool))], throws: true)!;
        Assert.Equal([true, false, false], new[] { right, wrong, alsoWrong }.Select(Accepts));

        bool Accepts(string value)
        {
            string output = $"\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"p\" string=\"{value}</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>";
            var matcher = new GrammarMatcher(masks);
            return Tokenizer.Encode(output, parseSpecialTokens: true).All(matcher.TryAccept) && matcher.CanEnd;
        }
    }

    private static TokenMasks? Masks(ToolCallDialect dialect, ToolDefinition[] tools, bool throws = false)
    {
        try
        {
            var builder = new GrammarBuilder();
            Grammar grammar = builder.Build(ToolGrammar.Compose(builder, Tokenizer, dialect, tools, several: true));
            return grammar.IsEmpty ? null : new TokenMasks(grammar, Trie);
        }
        catch (UnsupportedModelException e) when (!throws && e.Data.Contains(SchemaErrors.KeywordKey))
        {
            return null;
        }
    }

    /// <summary>Any tokens for a while, then such as bring it to an end.</summary>
    private static string Generate(TokenMasks masks, ToolCallDialect dialect, System.Random random)
    {
        int[][] closing = [.. new[] { dialect.Parameters?.End, dialect.CallsEnd, "\"", "}", "]", ":", "n", "0", "7", "z" }.Where(t => t?.Length > 0).Select(t => Tokenizer.Encode(t!, parseSpecialTokens: true))];
        var matcher = new GrammarMatcher(masks);
        List<int> written = [];
        while (true)
        {
            TokenMask mask = matcher.Mask;
            int[] allowed = [.. Enumerable.Range(0, Tokenizer.VocabularySize).Where(t => mask[t])];
            Assert.NotEmpty(allowed);
            Assert.True(written.Count < TooMuch, Tokenizer.Decode([.. written.TakeLast(200)]));
            int[] next = [allowed[random.Next(allowed.Length)]];
            if (written.Count >= Enough && random.Next(5) > 0)
            {
                if (matcher.CanEnd) break;
                if (random.Next(3) == 0) random.Shuffle(closing); // a pattern may want something in particular before its end
                next = closing.FirstOrDefault(c => Follows(matcher.Clone(), c)) ?? next;
            }
            if (masks.Trie.EndTokens.Contains(next[0])) break;
            Assert.True(Follows(matcher, next));
            written.AddRange(next);
        }
        return Tokenizer.Decode([.. written]);

        static bool Follows(GrammarMatcher matcher, int[] tokens) => tokens.All(matcher.TryAccept);
    }
}
