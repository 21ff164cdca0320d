using System.Text.Json;
using System.Text.Json.Nodes;
using DeepSeek.Conformance.Verbs;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;

namespace DeepSeek.Extensions.Tests;

/// <summary>A server of OpenAI's chat protocol over a chat client, on a port of its own, as vLLM, SGLang and llama.cpp's server are.</summary>
internal sealed class OpenAIServer : IAsyncDisposable
{
    private readonly WebApplication app;
    private readonly IChatClient client;

    private OpenAIServer(WebApplication app, IChatClient client) => (this.app, this.client) = (app, client);

    /// <summary>Ends with /v1.</summary>
    public string Endpoint => app.Urls.First() + "/v1";

    public int Requests { get; private set; }

    /// <summary>Answers this status instead; 0: answers.</summary>
    public int Status { get; set; }

    public static async Task<OpenAIServer> StartAsync(IChatClient client)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        var server = new OpenAIServer(builder.Build(), client);
        server.app.MapPost("/v1/chat/completions", server.CompleteAsync);
        await server.app.StartAsync();
        return server;
    }

    public ValueTask DisposeAsync() => app.DisposeAsync();

    private async Task CompleteAsync(HttpContext http)
    {
        Requests++;
        if (Status != 0)
        {
            http.Response.StatusCode = Status;
            return;
        }
        JsonObject body = (await JsonNode.ParseAsync(http.Request.Body))!.AsObject();
        IAsyncEnumerable<ChatResponseUpdate> updates = client.GetStreamingResponseAsync(OpenAIShapes.Messages(body["messages"]!.AsArray()), OpenAIShapes.Options(body, body["tools"] as JsonArray), http.RequestAborted);
        if ((bool?)body["stream"] != true)
        {
            ChatResponse r = await updates.ToChatResponseAsync();
            JsonObject message = Part([.. r.Messages.SelectMany(m => m.Contents)]);
            message["role"] = "assistant";
            message["content"] ??= "";
            await http.Response.WriteAsJsonAsync(Envelope(r.ResponseId, r.ModelId, r.Usage, new() { ["index"] = 0, ["message"] = message, ["finish_reason"] = r.FinishReason?.Value }, "chat.completion"));
            return;
        }
        http.Response.ContentType = "text/event-stream";
        await foreach (ChatResponseUpdate u in updates)
        {
            JsonObject delta = Part(u.Contents);
            UsageDetails? usage = u.Contents.OfType<UsageContent>().FirstOrDefault()?.Details;
            await http.Response.WriteAsync($"data: {Envelope(u.ResponseId, u.ModelId, usage, new() { ["index"] = 0, ["delta"] = delta, ["finish_reason"] = u.FinishReason?.Value }, "chat.completion.chunk").ToJsonString()}\n\n");
        }
        await http.Response.WriteAsync("data: [DONE]\n\n");
    }

    private static JsonObject Envelope(string? id, string? model, UsageDetails? usage, JsonObject choice, string kind)
    {
        var envelope = new JsonObject { ["id"] = id, ["object"] = kind, ["created"] = 1, ["model"] = model, ["choices"] = new JsonArray(choice) };
        if (usage is not null) envelope["usage"] = new JsonObject { ["prompt_tokens"] = usage.InputTokenCount, ["completion_tokens"] = usage.OutputTokenCount, ["total_tokens"] = usage.TotalTokenCount };
        return envelope;
    }

    private static JsonObject Part(IList<AIContent> contents)
    {
        var part = new JsonObject();
        if (string.Concat(contents.OfType<TextContent>().Select(t => t.Text)) is { Length: > 0 } text) part["content"] = text;
        FunctionCallContent[] calls = [.. contents.OfType<FunctionCallContent>()];
        if (calls.Length > 0)
        {
            part["tool_calls"] = new JsonArray([.. calls.Select((c, i) => new JsonObject
            {
                ["index"] = i,
                ["id"] = c.CallId,
                ["type"] = "function",
                ["function"] = new JsonObject { ["name"] = c.Name, ["arguments"] = JsonSerializer.Serialize(c.Arguments, AIJsonUtilities.DefaultOptions) },
            })]);
        }
        return part;
    }
}
