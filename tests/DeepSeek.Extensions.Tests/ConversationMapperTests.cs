using System.Text.Json;
using Microsoft.Extensions.AI;

namespace DeepSeek.Extensions.Tests;

public class ConversationMapperTests
{
    [Fact]
    public void InstructionsComeFirst()
    {
        List<Message> c = ConversationMapper.Map([new(ChatRole.System, "s"), new(ChatRole.User, "u")], "i");
        Assert.Equal([(Role.System, "i"), (Role.System, "s"), (Role.User, "u")], c.Select(m => (m.Role, m.Content)));
    }

    [Fact]
    public void ResultsOfOneMessageBecomeTurnsInTheOrderOfTheirCalls()
    {
        List<Message> c = ConversationMapper.Map(
        [
            new(ChatRole.Assistant, [new TextReasoningContent("hm"), new TextContent("let me see"), Call("a", "first"), Call("b", "second")]),
            new(ChatRole.Tool, [new FunctionResultContent("x", "unknown"), new FunctionResultContent("b", "2"), new FunctionResultContent("a", "1")]),
        ], null);
        Assert.Equal([Role.Assistant, Role.Tool, Role.Tool, Role.Tool], c.Select(m => m.Role));
        Assert.Equal("hm", c[0].Reasoning);
        Assert.Equal("let me see", c[0].Content);
        Assert.Equal(["a", "b"], c[0].ToolCalls.Select(t => t.Id));
        Assert.Equal([("1", "a", "first"), ("2", "b", "second"), ("unknown", "x", null)], c[1..].Select(m => (m.Content, m.ToolCallId, m.Name)));
    }

    [Fact]
    public void ResultsOfSeveralMessagesAreOrderedToo()
    {
        List<Message> c = ConversationMapper.Map(
        [
            new(ChatRole.Assistant, [Call("a", "f"), Call("b", "f")]),
            new(ChatRole.Tool, [new FunctionResultContent("b", "2")]),
            new(ChatRole.Tool, [new FunctionResultContent("a", "1")]),
            new(ChatRole.User, "and?"),
        ], null);
        Assert.Equal(["", "1", "2", "and?"], c.Select(m => m.Content));
    }

    [Fact]
    public void ACallItsResultAndTheAnswerInOneMessageComeApart()
    {
        List<Message> c = ConversationMapper.Map([new(ChatRole.Assistant, [Call("a", "f"), new FunctionResultContent("a", "1"), new TextContent("done")])], null);
        Assert.Equal([(Role.Assistant, "", 1), (Role.Tool, "1", 0), (Role.Assistant, "done", 0)], c.Select(m => (m.Role, m.Content, m.ToolCalls.Count)));
    }

    [Fact]
    public void ArgumentsAreTheOnesThatTheMessageHasNow()
    {
        FunctionCallContent call = Call("a", "f");
        call.RawRepresentation = new ToolCall("a", "f", JsonElement.Parse("""{"city":"Oslo"}"""));
        call.Arguments = new Dictionary<string, object?> { ["city"] = "Rome", ["days"] = 3, ["more"] = new[] { 1.5 } };
        Message m = Assert.Single(ConversationMapper.Map([new(ChatRole.Assistant, [call])], null));
        Assert.Equal("""{"city":"Rome","days":3,"more":[1.5]}""", m.ToolCalls[0].Arguments.GetRawText());
    }

    public static TheoryData<object?, string> Results => new()
    {
        { "text", "text" },
        { null, "" },
        { 42, "42" },
        { JsonElement.Parse("\"quoted\""), "quoted" },
        { JsonElement.Parse("""{"a":1}"""), """{"a":1}""" },
        { new Dictionary<string, object?> { ["a"] = 1 }, """{"a":1}""" },
        { new TextContent("t"), "t" },
        { new AIContent[] { new TextContent("t"), new TextContent("u") }, "tu" },
        { new[] { "x", "y" }, """["x","y"]""" },
    };

    [Theory]
    [MemberData(nameof(Results), DisableDiscoveryEnumeration = true)]
    public void ResultsOfAnyTypeAreRead(object? result, string expected)
        => Assert.Equal(expected, Assert.Single(ConversationMapper.Map([new(ChatRole.Tool, [new FunctionResultContent("a", result)])], null)).Content);

    [Fact]
    public void AFailedCallTellsTheModel()
        => Assert.Equal("Error: no such city", Assert.Single(ConversationMapper.Map([new(ChatRole.Tool, [new FunctionResultContent("a", null) { Exception = new InvalidOperationException("no such city") }])], null)).Content);

    [Fact]
    public void WhatCannotBeReadIsRefusedByName()
    {
        var image = new DataContent(new byte[] { 1 }, "image/png");
        string message = Assert.Throws<UnsupportedModelException>(() => ConversationMapper.Map([new(ChatRole.User, "look"), new(ChatRole.User, [image])], null)).Message;
        Assert.Contains("Message 1", message, StringComparison.Ordinal);
        Assert.Contains("image/png", message, StringComparison.Ordinal);
        Assert.Contains("'a'", Assert.Throws<UnsupportedModelException>(() => ConversationMapper.Map([new(ChatRole.Tool, [new FunctionResultContent("a", new AIContent[] { image })])], null)).Message, StringComparison.Ordinal);
        Assert.Contains("Stream", Assert.Throws<InvalidOptionException>(() => ConversationMapper.Map([new(ChatRole.Tool, [new FunctionResultContent("a", Stream.Null)])], null)).Message, StringComparison.Ordinal);
        Assert.Contains("'narrator'", Assert.Throws<UnsupportedModelException>(() => ConversationMapper.Map([new(new ChatRole("narrator"), "x")], null)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void DevelopersUsageAndEmptyMessagesAreMapped()
    {
        List<Message> c = ConversationMapper.Map([new(new ChatRole("Developer"), "d"), new(ChatRole.Assistant, [new UsageContent(new()), new ErrorContent("e"), new TextContent("t")]), new(ChatRole.User, [])], null);
        Assert.Equal([(Role.Developer, "d"), (Role.Assistant, "t"), (Role.User, "")], c.Select(m => (m.Role, m.Content)));
    }

    private static FunctionCallContent Call(string id, string name) => new(id, name, new Dictionary<string, object?>());
}
