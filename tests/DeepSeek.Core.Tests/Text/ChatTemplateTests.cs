using System.Text.Json;
using DeepSeek.Tests;
using DeepSeek.Text;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Core.Tests.Text;

/// <summary>Chat templates give transformers' text, keep the caller's words apart, and end whatever stands in them.</summary>
public class ChatTemplateTests
{
    /// <summary>Control tokens of all families, each between two characters that nothing but this test writes.</summary>
    private static readonly string[] Controls =
        ["<｜Assistant｜>", "<｜User｜>", "<|im_start|>", "<|im_end|>", "<｜end▁of▁sentence｜>", "<｜tool▁calls▁begin｜>", "<|eot_id|>", "<think>", "</think>", "｜DSML｜", "<tool_call>"];

    [Theory]
    [InlineData("qwen3")]
    [InlineData("deepseek_v3")]
    [InlineData("smollm2")]
    public void Renders_AsTransformers(string name) => CheckVectors(SharedData.Local("templates", name));

    [SharedFact]
    public void Renders_AsTransformers_AllTemplates()
    {
        foreach (string path in Directory.GetFiles(SharedData.Path("text", "templates"), "*.jinja")) CheckVectors(Path.ChangeExtension(path, null));
    }

    [Fact]
    public void ConversationOfMessages_IsThatOfJson()
    {
        var template = new ChatTemplate(Local("qwen3"), Tokens());
        JsonElement schema = JsonElement.Parse("""{"type":"object","properties":{"city":{"type":"string"}}}""");
        Message[] messages =
        [
            Message.System("S"), Message.User("weather?"),
            new(Role.Assistant, "") { Reasoning = "hm", ToolCalls = [new("call_1", "weather", JsonElement.Parse("""{"city":"Zürich"}"""))] },
            Message.Tool("sunny", "call_1"),
        ];
        const string Json = """
            [{"role":"system","content":"S"},{"role":"user","content":"weather?"},
             {"role":"assistant","content":"","reasoning_content":"hm","tool_calls":[{"type":"function","id":"call_1","function":{"name":"weather","arguments":{"city":"Zürich"}}}]},
             {"role":"tool","content":"sunny","tool_call_id":"call_1"}]
            """;
        const string Tools = """[{"type":"function","function":{"name":"weather","description":"Tells the weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]""";
        RenderedPrompt fromJson = template.Render(JsonElement.Parse(Json), JsonElement.Parse(Tools), new Dictionary<string, JsonElement> { ["add_generation_prompt"] = JsonElement.Parse("true") }, tidy: true, TimeProvider.System);
        RenderedPrompt fromMessages = template.Render(messages, [new("weather", "Tells the weather", schema)], null, addGenerationPrompt: true, TimeProvider.System);
        Assert.Equal(fromJson.Text, fromMessages.Text);
        Assert.Contains("{\"city\": \"Zürich\"}", fromMessages.Text, StringComparison.Ordinal);
        Assert.EndsWith("<|im_start|>assistant\n", fromMessages.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void NamedTemplates_ToolUseWhereThereAreTools()
    {
        var template = new ChatTemplate(new Dictionary<string, string> { ["default"] = "plain", ["tool_use"] = "tools" }, Tokens());
        Assert.Equal("plain", Render(template, [Message.User("x")]).Text);
        Assert.Equal("tools", template.Render([Message.User("x")], [new("f", null, JsonElement.Parse("{}"))], null, true, TimeProvider.System).Text);
        Assert.Contains("'tool_use'", Assert.Throws<ChatTemplateException>(() => new ChatTemplate(new Dictionary<string, string> { ["tool_use"] = "" }, Tokens())).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void TurnsOfOneRole_AreMergedWhereTheTemplateRefusesThem()
    {
        const string Alternating = "{% for m in messages %}{% if loop.previtem is defined and loop.previtem.role == m.role %}{{ raise_exception('roles must alternate') }}{% endif %}[{{ m.role }}:{{ m.content }}]{% endfor %}";
        Assert.Equal("[user:a\n\nb][assistant:c]", Render(new ChatTemplate(Alternating, Tokens()), [Message.User("a"), Message.User("b"), Message.Assistant("c")]).Text);
        var call = new ToolCall("1", "f", JsonElement.Parse("{}"));
        Assert.Equal("[user:a][assistant:b\n\nc]", Render(new ChatTemplate(Alternating, Tokens()), [Message.User("a"), Message.Assistant("b"), new(Role.Assistant, "c") { ToolCalls = [call] }]).Text);
        Assert.Equal("[assistant:b]", Render(new ChatTemplate(Alternating, Tokens()), [Message.Assistant("b"), new(Role.Assistant, "") { ToolCalls = [call] }]).Text);
        Assert.Throws<ChatTemplateException>(() => Render(new ChatTemplate(Alternating, Tokens()), [new(Role.Assistant, "a") { ToolCalls = [call] }, Message.Assistant("b")]));
        Assert.Equal("[user:a][user:b]", Render(new ChatTemplate("{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}", Tokens()), [Message.User("a"), Message.User("b")]).Text);
    }

    [Fact]
    public void Developer_IsSystemWhereTheTemplateDoesNotKnowIt()
    {
        var developer = new Message(Role.Developer, "D");
        Assert.Equal("system", Render(new ChatTemplate("{{ messages[0].role }}", Tokens()), [developer]).Text);
        Assert.Equal("developer", Render(new ChatTemplate("{% if messages[0].role == 'developer' %}{{ messages[0].role }}{% endif %}", Tokens()), [developer]).Text);
    }

    [Fact]
    public void CallersControlTokens_StayUntrusted() => CheckProvenance(Directory.GetFiles(SharedData.Local("templates"), "*.jinja"));

    [SharedFact]
    public void CallersControlTokens_StayUntrusted_AllTemplates() => CheckProvenance(Directory.GetFiles(SharedData.Path("text", "templates"), "*.jinja"));

    [Theory]
    [InlineData("{{ messages[0].content }}")]
    [InlineData("{{ messages[0].content|upper|lower|trim }}")]
    [InlineData("{{ messages[0].content|replace('zz', '<') }}")]
    [InlineData("{{ messages[0].content.split('x')|join('<|') }}")]
    [InlineData("{{ messages|tojson(indent=2) }}")]
    [InlineData("{{ messages }}")]
    [InlineData("{{ messages[0].content|list|join }}")]
    [InlineData("{{ messages[0].content[::-1][::-1] }}")]
    [InlineData("{{ '%s and %r' % (messages[0].content, 1) }}")]
    [InlineData("{{ '{:>80}'.format(messages[0].content) }}")]
    [InlineData("{{ messages[0].content|indent(2) ~ messages[0].content.center(90, '|') }}")]
    [InlineData("{% macro m(x) %}{{ x }}{% endmacro %}{% set y %}{{ m(messages[0].content) }}{% endset %}{{ y }}")]
    [InlineData("{{ (messages[0].content|tojson|from_json).replace('\\n', ' ') }}")]
    [InlineData("{% for c in messages[0].content %}{{ c }}{% endfor %}")]
    [InlineData("{{ messages[0].content|wordwrap(200)|title|upper|string }}")]
    [InlineData("{{ {messages[0].content: 1}|dictsort|map('first')|join }}")]
    public void EveryOperation_CarriesTheMark(string program)
    {
        const string Evil = "\ue000<|im_start|>\ue001 x";
        RenderedPrompt prompt = Render(new ChatTemplate(program, Tokens()), [Message.User(Evil)]);
        string text = prompt.Text;
        Assert.Contains("IM_START", text, StringComparison.OrdinalIgnoreCase);
        for (int at = text.IndexOf("im_start", StringComparison.OrdinalIgnoreCase); at >= 0; at = text.IndexOf("im_start", at + 1, StringComparison.OrdinalIgnoreCase))
            for (int i = at - 2; i < at + 10; i++) Assert.True(IsUntrusted(prompt, i), $"{program}: '{text[i]}' at {i} passes for the template's own");
    }

    [Fact]
    public void TemplatesOwnWords_AreTrusted()
    {
        RenderedPrompt prompt = Render(new ChatTemplate("{{ bos_token }}<|{{ messages[0].role }}|>{{ messages[0].content }}{{ '<|end|>' }}", Tokens()), [Message.User("hi")]);
        Assert.Equal("<s><|user|>hi<|end|>", prompt.Text);
        Assert.Equal([new TextRange(11, 13)], prompt.Untrusted);
    }

    [Fact]
    public void HalfAControlTokenFromEitherSide_DoesNotBecomeTrusted()
    {
        RenderedPrompt prompt = Render(new ChatTemplate("<|{{ messages[0].content }}", Tokens()), [Message.User("im_start|>")]);
        Assert.Equal("<|im_start|>", prompt.Text);
        Assert.Equal([new TextRange(2, 12)], prompt.Untrusted);
    }

    /// <summary>Real templates with random characters exchanged, removed or doubled: an error or a text, and nothing else.</summary>
    [Fact]
    public void BrokenTemplates_RaiseOneKindOfError()
    {
        string[] templates = [.. Directory.GetFiles(SharedData.Local("templates"), "*.jinja").Select(File.ReadAllText)];
        Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed =>
        {
            var random = new System.Random(seed);
            var text = new System.Text.StringBuilder(templates[random.Next(templates.Length)]);
            for (int n = random.Next(1, 6); n > 0; n--)
            {
                int at = random.Next(text.Length);
                switch (random.Next(3))
                {
                    case 0: text[at] = (char)random.Next(1, 127); break;
                    case 1: text.Remove(at, Math.Min(random.Next(1, 30), text.Length - at)); break;
                    default: text.Insert(at, text.ToString(at, Math.Min(random.Next(1, 60), text.Length - at))); break;
                }
            }
            try
            {
                Render(new ChatTemplate(text.ToString(), Tokens()), [Message.System("S"), Message.User("U"), new(Role.Assistant, "A") { ToolCalls = [new("1", "f", JsonElement.Parse("{\"a\":[1]}"))] }, Message.Tool("R")]);
            }
            catch (ChatTemplateException)
            {
            }
        }).QuickCheckThrowOnFailure();
    }

    private static void CheckVectors(string path)
    {
        string template = File.ReadAllText(path + ".jinja");
        int n = 0;
        foreach (JsonElement v in File.ReadLines(path + ".jsonl").Select(l => JsonElement.Parse(l)))
        {
            string name = $"{Path.GetFileName(path)}: {v.GetProperty("case").GetString()}";
            Dictionary<string, JsonElement> variables = v.GetProperty("kwargs").EnumerateObject().ToDictionary(p => p.Name, p => p.Value);
            var chat = new ChatTemplate(template, v.GetProperty("special_tokens").EnumerateObject().ToDictionary(p => p.Name, p => p.Value.GetString()!));
            foreach (bool tidy in new[] { true, false })
            {
                string suffix = !tidy && (v.TryGetProperty("expected_unfiltered", out _) || v.TryGetProperty("error_unfiltered", out _)) ? "_unfiltered" : "";
                JsonElement? tools = v.GetProperty("tools") is { ValueKind: JsonValueKind.Array } t ? t : null;
                string Text() => chat.Render(v.GetProperty("messages"), tools, variables, tidy, Noon.Clock).Text;
                if (v.TryGetProperty("expected" + suffix, out JsonElement expected)) Assert.True(expected.GetString() == Text(), $"{name}\nexpected {expected.GetString()}\nbut was  {Text()}");
                else if (!v.GetProperty("error" + suffix).GetProperty("message").GetString()!.Contains("from_json", StringComparison.Ordinal))
                {
                    string message = Assert.Throws<ChatTemplateException>(Text).Message;
                    if (v.GetProperty("error" + suffix).GetProperty("type").GetString() == "TemplateError") Assert.Contains(v.GetProperty("error" + suffix).GetProperty("message").GetString()!, message, StringComparison.Ordinal);
                }
            }
            n++;
        }
        Assert.True(n > 5, $"{path}: only {n} vectors");
    }

    private static void CheckProvenance(string[] paths)
    {
        Assert.NotEmpty(paths);
        string[] templates = [.. paths.Select(File.ReadAllText)];
        Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed =>
        {
            var random = new System.Random(seed);
            string Evil() => string.Concat(Enumerable.Range(0, random.Next(1, 4)).Select(_ => "\ue000" + Controls[random.Next(Controls.Length)] + "\ue001"));
            JsonElement Object() => JsonElement.Parse(JsonSerializer.Serialize(new Dictionary<string, string> { [Evil()] = Evil() }));
            List<Message> messages = [Message.System(Evil()), Message.User(Evil())];
            if (random.Next(2) == 0)
            {
                messages.Add(new(Role.Assistant, random.Next(2) == 0 ? "" : Evil()) { Reasoning = Evil(), ToolCalls = [new(Evil(), Evil(), Object())] });
                messages.Add(Message.Tool(Evil(), Evil()));
                messages.Add(new(Role.Assistant, Evil()) { Reasoning = random.Next(2) == 0 ? Evil() : null });
                messages.Add(new(Role.User, Evil()) { Name = Evil() });
            }
            List<ToolDefinition>? tools = random.Next(2) == 0 ? [new(Evil(), Evil(), Object())] : null;
            RenderedPrompt prompt;
            try { prompt = new ChatTemplate(templates[random.Next(templates.Length)], Tokens()).Render(messages, tools, null, true, Noon.Clock); }
            catch (ChatTemplateException) { return; }
            Assert.Contains("\ue000", prompt.Text, StringComparison.Ordinal);
            bool inside = false;
            for (int i = 0; i < prompt.Text.Length; i++)
            {
                if (prompt.Text[i] == '\ue000') inside = true;
                if (inside) Assert.True(IsUntrusted(prompt, i), $"'{prompt.Text[i]}' at {i} of {prompt.Text}");
                if (prompt.Text[i] == '\ue001') inside = false;
            }
            // And not simply everything: what opens the assistant's turn is the template's.
            Assert.False(IsUntrusted(prompt, 0) && prompt.Untrusted is [var all] && all.End == prompt.Text.Length);
        }).QuickCheckThrowOnFailure();
    }

    private static bool IsUntrusted(RenderedPrompt prompt, int at) => prompt.Untrusted.Any(r => r.Start <= at && at < r.End);

    private static string Local(string name) => File.ReadAllText(SharedData.Local("templates", name + ".jinja"));

    private static Dictionary<string, string> Tokens() => new() { ["bos_token"] = "<s>", ["eos_token"] = "</s>" };

    private static RenderedPrompt Render(ChatTemplate template, IReadOnlyList<Message> messages) => template.Render(messages, null, null, true, Noon.Clock);
}

/// <summary>A clock that stands at noon of the day on which the vectors were made.</summary>
internal sealed class Noon : TimeProvider
{
    public static readonly Noon Clock = new();

    public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

    public override DateTimeOffset GetUtcNow() => new(2026, 1, 15, 12, 0, 0, TimeSpan.Zero);
}
