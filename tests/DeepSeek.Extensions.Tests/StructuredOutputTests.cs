using System.Text.Json;
using Microsoft.Extensions.AI;

namespace DeepSeek.Extensions.Tests;

[Collection(Models.Collection)]
public class StructuredOutputTests(Models models)
{
    public enum Colour { Red, Green, Blue }

    public sealed record Lamp(string Room, Colour Colour, int Level, bool On);

    [Fact]
    public async Task ATypeComesBackAfterTheThought()
    {
        ChatResponse<Lamp> response = await models.Client.GetResponseAsync<Lamp>("What is 348 + 265?", new ChatOptions { Temperature = 1, Seed = 4, MaxOutputTokens = 400 });
        Assert.True(response.TryGetResult(out Lamp? lamp), response.Text);
        Assert.NotNull(lamp.Room);
        Assert.Contains(response.Messages.SelectMany(m => m.Contents), c => c is TextReasoningContent);
    }

    [Fact]
    public async Task JsonChoicesAndPatternsHold()
    {
        ChatOptions options = new() { Temperature = 1, Seed = 1, MaxOutputTokens = 300, Reasoning = new() { Effort = ReasoningEffort.None }, ResponseFormat = ChatResponseFormat.Json };
        ChatResponse json = await models.Client.GetResponseAsync("Hello", options);
        if (json.FinishReason == ChatFinishReason.Stop) Assert.Equal(JsonValueKind.Object, JsonElement.Parse(json.Text).ValueKind);
        Assert.StartsWith("{", json.Text, StringComparison.Ordinal);
        options.ResponseFormat = null;
        options.RawRepresentationFactory = _ => new GenerationOptions { Constraint = new OutputConstraint.Choice(["yes", "no"]) };
        Assert.Contains((await models.Client.GetResponseAsync("Hello", options)).Text, (string[])["yes", "no"]);
        options.RawRepresentationFactory = _ => new GenerationOptions { Constraint = new OutputConstraint.Regex("[a-c]{3}-[0-9]{2}") };
        Assert.Matches("^[a-c]{3}-[0-9]{2}$", (await models.Client.GetResponseAsync("Hello", options)).Text);
    }
}
