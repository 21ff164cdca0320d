using System.Text.Json;
using System.Text.Json.Nodes;
using DeepSeek.Extensions;
using Microsoft.Extensions.AI;

namespace DeepSeek.Conformance.Verbs;

/// <summary>OpenAI's chat shapes through <see cref="IChatClient"/>, streamed and folded.</summary>
internal sealed class ChatVerb(Arguments arguments) : ModelVerb(arguments)
{
    public override JsonNode Answer(JsonObject line)
    {
        IChatClient client = Model.AsIChatClient();
        ChatResponse response = client.GetStreamingResponseAsync(OpenAIShapes.Messages(line["messages"]!.AsArray()), OpenAIShapes.Options(line["options"] as JsonObject, line["tools"] as JsonArray))
            .ToChatResponseAsync().GetAwaiter().GetResult();
        AIContent[] contents = [.. response.Messages.SelectMany(m => m.Contents)];
        UsageDetails usage = response.Usage ?? throw new InvalidOperationException("The response has no usage.");
        return new JsonObject
        {
            ["text"] = response.Text,
            ["reasoning"] = string.Concat(contents.OfType<TextReasoningContent>().Select(r => r.Text)),
            ["tool_calls"] = new JsonArray([.. contents.OfType<FunctionCallContent>().Select(c => new JsonObject
            {
                ["name"] = c.Name,
                ["arguments"] = JsonSerializer.SerializeToNode(c.Arguments, AIJsonUtilities.DefaultOptions),
            })]),
            ["finish_reason"] = response.FinishReason?.Value,
            ["usage"] = new JsonObject
            {
                ["prompt_tokens"] = usage.InputTokenCount,
                ["completion_tokens"] = usage.OutputTokenCount,
                ["total_tokens"] = usage.TotalTokenCount,
                ["prompt_tokens_details"] = new JsonObject { ["cached_tokens"] = usage.CachedInputTokenCount },
                ["completion_tokens_details"] = new JsonObject { ["reasoning_tokens"] = usage.ReasoningTokenCount },
            },
        };
    }
}
