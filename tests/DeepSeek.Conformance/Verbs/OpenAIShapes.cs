using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.AI;

namespace DeepSeek.Conformance.Verbs;

/// <summary>Reads OpenAI's chat shapes. Linked into the tests of the packages too, where it is half of a server.</summary>
internal static class OpenAIShapes
{
    /// <summary>Messages. Calls and results may come without ids: results then belong to the calls before them, in their order.</summary>
    public static List<ChatMessage> Messages(JsonArray messages)
    {
        var all = new List<ChatMessage>();
        var open = new Queue<string>();
        int calls = 0;
        foreach (JsonNode? node in messages)
        {
            JsonObject message = node!.AsObject();
            var contents = new List<AIContent>();
            if (((message["reasoning_content"] ?? message["reasoning"])?.GetValue<string>()) is { } reasoning) contents.Add(new TextReasoningContent(reasoning));
            if (message["role"]!.GetValue<string>() == "tool")
            {
                string? id = message["tool_call_id"]?.GetValue<string>();
                contents.Add(new FunctionResultContent(id ?? (open.Count > 0 ? open.Dequeue() : "unknown"), Text(message["content"])));
            }
            else
            {
                contents.AddRange(Contents(message["content"]));
            }
            if (message["tool_calls"] is JsonArray { Count: > 0 } list) open.Clear();
            foreach (JsonNode? call in message["tool_calls"] as JsonArray ?? [])
            {
                string id = call!["id"]?.GetValue<string>() ?? $"call_{calls++}";
                open.Enqueue(id);
                JsonNode? given = call["function"]!["arguments"];
                JsonObject arguments = (given is JsonValue text ? JsonNode.Parse(text.GetValue<string>()) : given)?.AsObject() ?? [];
                contents.Add(new FunctionCallContent(id, call["function"]!["name"]!.GetValue<string>(), arguments.ToDictionary(p => p.Key, p => (object?)JsonSerializer.SerializeToElement(p.Value))));
            }
            all.Add(new ChatMessage(new ChatRole(message["role"]!.GetValue<string>()), contents) { AuthorName = message["name"]?.GetValue<string>() });
        }
        return all;
    }

    public static ChatOptions Options(JsonObject? options, JsonArray? tools) => new()
    {
        Temperature = (float?)options?["temperature"],
        TopP = (float?)options?["top_p"],
        TopK = (int?)options?["top_k"],
        PresencePenalty = (float?)options?["presence_penalty"],
        FrequencyPenalty = (float?)options?["frequency_penalty"],
        MaxOutputTokens = (int?)(options?["max_tokens"] ?? options?["max_completion_tokens"]),
        Seed = (long?)options?["seed"],
        StopSequences = options?["stop"] switch
        {
            JsonArray several => [.. several.Select(s => s!.GetValue<string>())],
            JsonValue one => [one.GetValue<string>()],
            _ => null,
        },
        AllowMultipleToolCalls = (bool?)options?["parallel_tool_calls"],
        Reasoning = (string?)(options?["reasoning"] ?? options?["reasoning_effort"]) is { } effort ? new ReasoningOptions { Effort = Enum.Parse<ReasoningEffort>(effort, ignoreCase: true) } : null,
        ToolMode = options?["tool_choice"] switch
        {
            null => null,
            JsonObject function => ChatToolMode.RequireSpecific(function["function"]!["name"]!.GetValue<string>()),
            var mode => mode.GetValue<string>() switch
            {
                "auto" => ChatToolMode.Auto,
                "none" => ChatToolMode.None,
                "required" => ChatToolMode.RequireAny,
                var other => throw new FormatException($"tool_choice is '{other}'"),
            },
        },
        ResponseFormat = options?["response_format"] is not JsonObject format ? null : format["type"]!.GetValue<string>() switch
        {
            "text" => ChatResponseFormat.Text,
            "json_object" => ChatResponseFormat.Json,
            "json_schema" => ChatResponseFormat.ForJsonSchema(JsonSerializer.SerializeToElement(format["json_schema"]!["schema"]), format["json_schema"]!["name"]?.GetValue<string>()),
            var other => throw new FormatException($"response_format is '{other}'"),
        },
        Tools = tools is null ? null : [.. tools.Select(t => AIFunctionFactory.CreateDeclaration(t!["function"]!["name"]!.GetValue<string>(), t["function"]!["description"]?.GetValue<string>(),
            t["function"]!["parameters"] is { } schema ? JsonSerializer.SerializeToElement(schema) : default))],
    };

    private static string Text(JsonNode? content) => string.Concat(Contents(content).OfType<TextContent>().Select(t => t.Text));

    private static IEnumerable<AIContent> Contents(JsonNode? content) => content switch
    {
        null => [],
        JsonValue text => [new TextContent(text.GetValue<string>())],
        _ => content.AsArray().Select(AIContent (part) => part!["type"]!.GetValue<string>() switch
        {
            "text" => new TextContent(part["text"]!.GetValue<string>()),
            "image_url" => new UriContent(part["image_url"]!["url"]!.GetValue<string>(), "image/*"),
            var other => throw new FormatException($"A part of a message is of the type '{other}'."),
        }),
    };
}
