using System.Text.Json;
using DeepSeek.Formats;
using DeepSeek.Tests;
using DeepSeek.Text;

namespace DeepSeek.Core.Tests.Text.ToolCalls;

/// <summary>Conversations with tools where the published template cannot write them: the prompts of the specification, character by character.</summary>
public class ToolTemplateTests
{
    private const string Eos = "<｜end▁of▁sentence｜>";
    private static readonly JsonElement City = JsonElement.Parse("""{"city":"X"}""");
    private static readonly Message[] Rounds =
    [
        Message.System("SYS"), Message.User("U1"), new(Role.Assistant, "") { ToolCalls = [new("1", "get_weather", City), new("2", "get_weather", City)] }, Message.Tool("T1", "1"), Message.Tool("T2", "2"),
        new(Role.Assistant, "") { ToolCalls = [new("3", "get_weather", City)] }, Message.Tool("T3", "3"), Message.Assistant("A1"), Message.User("U2"),
    ];

    [Fact]
    public void DeepSeekV3()
    {
        ChatTemplate template = Load("deepseek_v3");
        Assert.True(template.ReplacesToolPart);
        const string Call = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{\"city\": \"X\"}\n```<｜tool▁call▁end｜>";
        Assert.Equal(
            $"<bos>SYS<｜User｜>U1<｜Assistant｜><｜tool▁calls▁begin｜>{Call}\n{Call}<｜tool▁calls▁end｜>{Eos}<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>T1<｜tool▁output▁end｜>\n<｜tool▁output▁begin｜>T2<｜tool▁output▁end｜><｜tool▁outputs▁end｜>"
            + $"<｜tool▁calls▁begin｜>{Call}<｜tool▁calls▁end｜>{Eos}<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>T3<｜tool▁output▁end｜><｜tool▁outputs▁end｜>A1{Eos}<｜User｜>U2<｜Assistant｜>",
            template.Render(Rounds, null, null, true, Noon.Clock).Text);
        Assert.EndsWith("T3<｜tool▁output▁end｜><｜tool▁outputs▁end｜>", template.Render(Rounds[..7], null, null, true, Noon.Clock).Text, StringComparison.Ordinal);
    }

    [Fact]
    public void DeepSeekV31()
    {
        ChatTemplate template = Load("deepseek_v3_1");
        Assert.True(template.ReplacesToolPart);
        const string Call = "<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"city\": \"X\"}<｜tool▁call▁end｜>";
        const string Tools = """


            ## Tools
            You have access to the following tools:

            ### get_weather
            Description: Tells

            Parameters: {"type": "object"}

            IMPORTANT: ALWAYS adhere to this exact format for tool use:
            <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tool_call_name<｜tool▁sep｜>tool_call_arguments<｜tool▁call▁end｜>{additional_tool_calls}<｜tool▁calls▁end｜>

            Where:

            - `tool_call_name` must be an exact match to one of the available tools
            - `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema
            - For multiple tool calls, chain them directly without separators or spaces
            """;
        RenderedPrompt prompt = template.Render(Rounds, [new("get_weather", "Tells", JsonElement.Parse("""{"type":"object"}"""))], new Dictionary<string, JsonElement> { ["thinking"] = JsonElement.Parse("true") }, true, Noon.Clock);
        Assert.Equal(
            $"<bos>SYS{Tools}<｜User｜>U1<｜Assistant｜><think></think><｜tool▁calls▁begin｜>{Call}{Call}<｜tool▁calls▁end｜>{Eos}<｜tool▁output▁begin｜>T1<｜tool▁output▁end｜><｜tool▁output▁begin｜>T2<｜tool▁output▁end｜>"
            + $"<｜tool▁calls▁begin｜>{Call}<｜tool▁calls▁end｜>{Eos}<｜tool▁output▁begin｜>T3<｜tool▁output▁end｜>A1{Eos}<｜User｜>U2<｜Assistant｜><think>", prompt.Text);
        foreach (string own in new[] { "SYS", "get_weather", "Tells", "U1", "T1" })
        {
            int at = prompt.Text.IndexOf(own, StringComparison.Ordinal);
            Assert.Contains(prompt.Untrusted, r => r.Start <= at && r.End >= at + own.Length);
        }
        Assert.DoesNotContain(prompt.Untrusted, r => prompt.Text[r.Start..r.End].Contains('｜', StringComparison.Ordinal));
    }

    [Fact]
    public void TemplatesThatWriteTools_AreLeftAlone()
    {
        Assert.False(Load("qwen3").ReplacesToolPart);
        Assert.False(Load("deepseek_v4").ReplacesToolPart);
        Assert.False(Load("smollm2").ReplacesToolPart);
        using Checkpoint model = Checkpoint.Open(SharedData.Model("tiny-reasoner"));
        var reasoner = new ChatTemplate(model.ChatTemplate!, new Dictionary<string, string> { ["bos_token"] = "<bos>", ["eos_token"] = Eos });
        Assert.Equal(("deepseek_v3_1", false), (reasoner.Dialect?.Name, reasoner.ReplacesToolPart));
    }

    [Fact]
    public void WithoutTools_TheModelsOwnTemplateWrites() =>
        Assert.Equal("<bos>SYS<｜User｜>U1<｜Assistant｜>", Load("deepseek_v3").Render(Rounds[..2], [], null, true, Noon.Clock).Text);

    private static ChatTemplate Load(string name) =>
        new(File.ReadAllText(SharedData.Local("templates", name + ".jinja")), new Dictionary<string, string> { ["bos_token"] = "<bos>", ["eos_token"] = Eos });
}
