using System.Text.Json;
using Microsoft.Extensions.AI;

namespace DeepSeek.Extensions.Tests;

public class RequestMapperTests
{
    private static readonly IChatClient Client = new DeepSeekChatClient(_ => throw new InvalidOperationException("No model is needed."), TimeProvider.System, Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);

    [Fact]
    public void EverySettingArrives()
    {
        JsonElement schema = JsonElement.Parse("""{"type":"object"}""");
        GenerationOptions g = RequestMapper.Options(new ChatOptions
        {
            Temperature = 0.5f, TopP = 0.9f, TopK = 7, FrequencyPenalty = 0.1f, PresencePenalty = 0.2f, Seed = 3, MaxOutputTokens = 11, StopSequences = ["x"], AllowMultipleToolCalls = false,
            ToolMode = ChatToolMode.RequireSpecific("f"), Tools = [AIFunctionFactory.CreateDeclaration("f", "does", schema), AIFunctionFactory.CreateDeclaration("g", null, JsonElement.Parse("{}"))],
            ResponseFormat = ChatResponseFormat.ForJsonSchema(schema),
        }, Client);
        Assert.Equal((0.5f, 0.9f, 7, 0.1f, 0.2f, 3L, 11, false), (g.Temperature, g.TopP, g.TopK, g.FrequencyPenalty, g.PresencePenalty, g.Seed, g.MaxTokens, g.AllowParallelToolCalls));
        Assert.Equal(["x"], g.StopSequences);
        Assert.Equal(new ToolChoice.Function("f"), g.ToolChoice);
        Assert.Equal([("f", "does"), ("g", null)], g.Tools!.Select(t => (t.Name, t.Description)));
        Assert.Equal("""{"type":"object","properties":{}}""", g.Tools![1].Parameters.GetRawText());
        Assert.Equal("""{"type":"object"}""", Assert.IsType<OutputConstraint.JsonSchema>(g.Constraint).Schema.GetRawText());
        Assert.Null(g.Thinking);
    }

    [Fact]
    public void ModesAreMapped()
    {
        Assert.Null(RequestMapper.Options(new ChatOptions(), Client).ToolChoice);
        Assert.Equal(ToolChoice.Auto, RequestMapper.Options(new ChatOptions { ToolMode = ChatToolMode.Auto }, Client).ToolChoice);
        Assert.Equal(ToolChoice.None, RequestMapper.Options(new ChatOptions { ToolMode = ChatToolMode.None }, Client).ToolChoice);
        Assert.Equal(ToolChoice.Required, RequestMapper.Options(new ChatOptions { ToolMode = ChatToolMode.RequireAny }, Client).ToolChoice);
        Assert.IsType<OutputConstraint.Json>(RequestMapper.Options(new ChatOptions { ResponseFormat = ChatResponseFormat.Json }, Client).Constraint);
        Assert.Null(RequestMapper.Options(new ChatOptions { ResponseFormat = ChatResponseFormat.Text }, Client).Constraint);
    }

    [Fact]
    public void TheFactoryGivesWhatChatOptionsLack()
    {
        IChatClient? seen = null;
        GenerationOptions g = RequestMapper.Options(new ChatOptions
        {
            Temperature = 0.5f,
            RawRepresentationFactory = client =>
            {
                seen = client;
                return new GenerationOptions { MinP = 0.1f, Temperature = 2, ThinkingBudget = 9, Constraint = new OutputConstraint.Regex("a+") };
            },
        }, Client);
        Assert.Same(Client, seen);
        Assert.Equal((0.1f, 0.5f, 9), (g.MinP, g.Temperature, g.ThinkingBudget));
        Assert.Equal("a+", Assert.IsType<OutputConstraint.Regex>(g.Constraint).Pattern);
        Assert.Null(RequestMapper.Options(new ChatOptions { RawRepresentationFactory = _ => "of another client" }, Client).MinP);
    }

    [Theory]
    [InlineData(ReasoningEffort.None, false, null, null)]
    [InlineData(ReasoningEffort.Low, true, RequestMapper.LowThinkingBudget, "low")]
    [InlineData(ReasoningEffort.Medium, true, RequestMapper.MediumThinkingBudget, "medium")]
    [InlineData(ReasoningEffort.High, true, null, "high")]
    [InlineData(ReasoningEffort.ExtraHigh, true, null, "max")]
    public void EffortIsHonoured(ReasoningEffort effort, bool thinking, int? budget, string? name)
    {
        GenerationOptions g = RequestMapper.Options(new ChatOptions { Reasoning = new() { Effort = effort } }, Client);
        Assert.Equal((thinking, budget), (g.Thinking, g.ThinkingBudget));
        Assert.Equal(name, g.TemplateVariables?["reasoning_effort"].GetString());
        GenerationOptions own = RequestMapper.Options(new ChatOptions { Reasoning = new() { Effort = effort }, RawRepresentationFactory = _ => new GenerationOptions { ThinkingBudget = 5 } }, Client);
        Assert.Equal(5, own.ThinkingBudget);
    }

    [Fact]
    public void WhatCannotBeAskedForIsRefused()
    {
        Assert.Contains("'abc'", Refused(new ChatOptions { ConversationId = "abc" }), StringComparison.Ordinal);
        Assert.Contains("AllowBackgroundResponses", Refused(new ChatOptions { AllowBackgroundResponses = true }), StringComparison.Ordinal);
        Assert.Contains("HostedWebSearchTool", Refused(new ChatOptions { Tools = [new HostedWebSearchTool()] }), StringComparison.Ordinal);
        AIFunctionDeclaration f = AIFunctionFactory.CreateDeclaration("f", null, JsonElement.Parse("{}"));
        Assert.Contains("two functions named 'f'", Refused(new ChatOptions { Tools = [f, f] }), StringComparison.Ordinal);

        static string Refused(ChatOptions options) => Assert.Throws<InvalidOptionException>(() => RequestMapper.Options(options, Client)).Message;
    }
}
