using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using DeepSeek.Tests;
using DeepSeek.Text.ToolCalls;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Core.Tests.Text.ToolCalls;

/// <summary>Reasoning, content and calls come out of a model's output, whole, in time, and however the stream is cut.</summary>
public class OutputParserTests
{
    private static readonly string[] Pieces =
    [
        "<think>", "</think>", "<thi", "think>", "text", " ", "\n", "\n\n", "é😀", "{", "}", "\"", "\\", "`", "<", ">", ";", ",", ":",
        "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "function", "<｜tool▁sep｜>", "name", "\n```json\n", "{\"a\": 1}", "{}", "\n```", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>", "<｜tool▁calls",
        "<tool_call>", "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": \"</tool_call>\"}}\n</tool_call>", "</tool_call>", "{\"name\": \"f\", \"arguments\": {}}", "{\"name\": \"f\", \"parameters\": {\"a\": [1]}}", "<|python_tag|>", "f.call(a=\"b\")",
        "<｜DSML｜function_calls>", "<｜DSML｜tool_calls>", "<｜DSML｜invoke name=\"f\">", "<｜DSML｜parameter name=\"a\" string=\"true\">", "<｜DSML｜parameter name=\"b\" string=\"false\">", "</｜DSML｜parameter>", "</｜DSML｜invoke>",
        "</｜DSML｜function_calls>", "</｜DSML｜tool_calls>", "<｜DSML｜",
    ];

    [Fact]
    public void Outputs_AreSplitAsSpecified() => CheckVectors(SharedData.Local("parsing", "outputs.jsonl"));

    [SharedFact]
    public void Outputs_AreSplitAsSpecified_All() => CheckVectors(SharedData.Path("text", "parsing.jsonl"));

    [Fact]
    public void Cuts_ChangeNothing() => Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed =>
    {
        var random = new System.Random(seed);
        ToolCallDialect? dialect = random.Next(8) == 0 ? null : ToolCallDialect.All[random.Next(ToolCallDialect.All.Count)];
        string output = Output(random, dialect);
        bool startsInReasoning = random.Next(3) == 0;
        string whole = Fold(new OutputParser(dialect, startsInReasoning), [output]);
        for (int n = 0; n < 4; n++) Assert.Equal(whole, Fold(new OutputParser(dialect, startsInReasoning), Cut(output, random, n == 0 ? 1 : 1 + random.Next(9))));
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(3000));

    [Fact]
    public void MalformedOrNot_LettersAreNeverLost() => Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed =>
    {
        var random = new System.Random(seed);
        ToolCallDialect dialect = ToolCallDialect.All[random.Next(ToolCallDialect.All.Count)];
        string output = Output(random, dialect);
        var text = new StringBuilder();
        var parser = new OutputParser(dialect, false);
        bool hasCall = false;
        foreach (OutputEvent e in Cut(output, random, 5).SelectMany(parser.Feed).ToList().Concat(parser.Finish()))
        {
            text.Append(e.Text);
            hasCall |= e.Kind == OutputKind.ToolCall;
        }
        if (hasCall) return;
        // Without calls only white space and the two reasoning tags may go.
        string expected = output;
        if (parser.HasReasoning)
        {
            expected = expected.TrimStart()["<think>".Length..];
            int close = expected.IndexOf("</think>", StringComparison.Ordinal);
            if (close >= 0) expected = expected.Remove(close, "</think>".Length);
        }
        Assert.Equal(Squeeze(expected), Squeeze(text.ToString()));

        static string Squeeze(string s) => new([.. s.Where(c => !char.IsWhiteSpace(c))]);
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(2000));

    [Fact]
    public void WhatADialectWrites_ItReads()
    {
        JsonElement arguments = JsonElement.Parse("""{"s": "a \"b\"\n</tool_call> é", "n": -1.5, "list": [1, {"x": null}], "": true}""");
        foreach (ToolCallDialect dialect in ToolCallDialect.All)
        {
            string output = "Text." + (dialect.Name == "llama3_json" ? "\n<|python_tag|>" : "") + dialect.Write([("first-tool", arguments), ("second", JsonElement.Parse("{}"))]);
            var parser = new OutputParser(dialect, false);
            List<OutputEvent> events = [.. parser.Feed(output), .. parser.Finish()];
            Assert.Equal("Text.", string.Concat(events.Select(e => e.Text)));
            ParsedCall[] calls = [.. events.Where(e => e.Call is not null).Select(e => e.Call!)];
            Assert.Equal(["first-tool", "second"], calls.Select(c => c.Name));
            Assert.True(JsonElement.DeepEquals(arguments, calls[0].Arguments), $"{dialect.Name}: {calls[0].Arguments}");
        }
    }

    [Fact]
    public void TextThatIsNoMarker_IsReleasedAtOnce()
    {
        foreach (ToolCallDialect dialect in ToolCallDialect.All)
        {
            var parser = new OutputParser(dialect, false);
            foreach (string word in new[] { "One", " two", " <b>", "three", "</b>", " 1 < 2" })
                Assert.Equal(word.Trim(), string.Concat(parser.Feed(word).Select(e => e.Text)).Trim());
        }
    }

    [Fact]
    public void MarkupThatTurnsOutToBeText_IsReleasedWhenThatIsKnown()
    {
        var parser = new OutputParser(ToolCallDialect.ByName("qwen_hermes"), false);
        Assert.Empty(parser.Feed("<tool_call>"));
        Assert.Equal("<tool_call> is a tag", string.Concat(parser.Feed(" is a tag").Select(e => e.Text)));
    }

    [Fact]
    public void LongArguments_TakeLinearTime()
    {
        var parser = new OutputParser(ToolCallDialect.ByName("qwen_hermes"), false);
        int calls = parser.Feed("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"text\": \"").Count;
        for (int i = 0; i < 200_000; i++) calls += parser.Feed("word ").Count;
        calls += parser.Feed("\"}}\n</tool_call>").Count;
        Assert.Equal(1, calls);
    }

    [Theory]
    [InlineData("qwen3", "qwen_hermes")]
    [InlineData("deepseek_v3", "deepseek_r1_0528")]
    [InlineData("deepseek_v3_1", "deepseek_v3_1")]
    [InlineData("deepseek_v4", "deepseek_v4_dsml")]
    [InlineData("smollm2", null)]
    public void Dialect_IsReadOffTheTemplate(string template, string? dialect) =>
        Assert.Equal(dialect, ToolCallDialect.Detect(File.ReadAllText(SharedData.Local("templates", template + ".jinja")))?.Name);

    [SharedTheory]
    [InlineData("qwen2_5", "qwen_hermes")]
    [InlineData("qwq_32b", "qwen_hermes")]
    [InlineData("deepseek_r1_distill_qwen", "deepseek_r1_0528")]
    [InlineData("deepseek_r1_distill_llama", "deepseek_r1_0528")]
    [InlineData("llama_cpp_deepseek_r1", "deepseek_r1_0528")]
    [InlineData("deepseek_v3_2", "deepseek_v3_2_dsml")]
    [InlineData("deepseek_v4_flash_0731", "deepseek_v4_dsml")]
    public void Dialect_IsReadOffTheTemplate_AllTemplates(string template, string? dialect) =>
        Assert.Equal(dialect, ToolCallDialect.Detect(File.ReadAllText(SharedData.Path("text", "templates", template + ".jinja")))?.Name);

    private static string Output(System.Random random, ToolCallDialect? dialect)
    {
        var output = new StringBuilder();
        if (dialect is not null && random.Next(2) == 0)
        {
            if (random.Next(2) == 0) output.Append("<think>\nhm\n</think>\n\n");
            string block = dialect.Write([("f", JsonElement.Parse("""{"a": "x<y>", "b": [1, 2]}""")), ("g", JsonElement.Parse("{}"))]);
            output.Append(random.Next(3) == 0 ? block[..random.Next(block.Length)] : block);
        }
        for (int n = random.Next(1, 12); n > 0; n--) output.Insert(random.Next(3) == 0 ? random.Next(output.Length + 1) : output.Length, Pieces[random.Next(Pieces.Length)]);
        return output.ToString();
    }

    private static IEnumerable<string> Cut(string text, System.Random random, int longest)
    {
        for (int i = 0; i < text.Length;)
        {
            int n = Math.Min(random.Next(1, longest + 1), text.Length - i);
            yield return text.Substring(i, n);
            i += n;
        }
    }

    private static string Fold(OutputParser parser, IEnumerable<string> pieces)
    {
        var reasoning = new StringBuilder();
        var rest = new StringBuilder();
        foreach (OutputEvent e in pieces.SelectMany(parser.Feed).ToList().Concat(parser.Finish()))
        {
            if (e.Kind == OutputKind.Reasoning) reasoning.Append(e.Text);
            else if (e.Kind == OutputKind.Content) rest.Append(e.Text);
            else rest.Append($"[{e.Call!.Name}({e.Call.Arguments.GetRawText()})]");
        }
        return $"{parser.HasReasoning} {reasoning} | {rest}";
    }

    private static void CheckVectors(string path)
    {
        int n = 0;
        foreach (JsonNode v in File.ReadLines(path).Select(l => JsonNode.Parse(l)!))
        {
            string dialect = v["dialect"]!.GetValue<string>(), name = $"{dialect}: {v["case"]}";
            string output = v["output"]!.GetValue<string>();
            foreach (int longest in new[] { int.MaxValue / 2, 1, 5 })
            {
                var parser = new OutputParser(v["tools_enabled"]!.GetValue<bool>() ? ToolCallDialect.ByName(dialect) : null, v["start_in_reasoning"]!.GetValue<bool>());
                List<OutputEvent> events = [.. Cut(output, new System.Random(n), longest).SelectMany(parser.Feed)];
                events.AddRange(parser.Finish());
                Assert.True(new[] { v["expected"]! }.Concat(v["also_accepted"]?.AsArray().Select(a => a!) ?? []).Any(e => Agrees(e, events)), $"{name}\n{output}");
            }
            n++;
        }
        Assert.True(n > 20);
    }

    private static bool Agrees(JsonNode expected, List<OutputEvent> events)
    {
        string Text(OutputKind kind) => string.Concat(events.Where(e => e.Kind == kind).Select(e => e.Text)).Trim(' ', '\t', '\r', '\n');
        if ((expected["reasoning"]?.GetValue<string>() ?? "").Trim(' ', '\t', '\r', '\n') != Text(OutputKind.Reasoning)) return false;
        if (expected["content_contains"] is JsonArray parts) { if (!parts.All(p => Text(OutputKind.Content).Contains(p!.GetValue<string>(), StringComparison.Ordinal))) return false; }
        else if (expected["content"]!.GetValue<string>().Trim(' ', '\t', '\r', '\n') != Text(OutputKind.Content)) return false;
        ParsedCall[] calls = [.. events.Where(e => e.Call is not null).Select(e => e.Call!)];
        JsonArray wanted = expected["tool_calls"]!.AsArray();
        return wanted.Count == calls.Length && wanted.Zip(calls).All(p => p.First!["name"]!.GetValue<string>() == p.Second.Name
            && JsonElement.DeepEquals(JsonElement.Parse(p.First["arguments"]!.ToJsonString()), p.Second.Arguments));
    }
}
