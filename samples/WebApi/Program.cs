// A web service: dotnet run --project samples/WebApi [--DeepSeek:Path=samples/models/tiny-reasoner]
//   curl localhost:5000/answer -H 'Content-Type: application/json' -d '{"question":"What is 348 + 265?"}'
//   curl localhost:5000/stream?question=Hello
// The model is described by the section "DeepSeek" of the configuration, loaded while the host starts, and disposed with it.
using System.Net.ServerSentEvents;
using System.Runtime.CompilerServices;
using DeepSeek;
using DeepSeek.Extensions;
using Microsoft.Extensions.AI;

WebApplicationBuilder builder = WebApplication.CreateBuilder(new WebApplicationOptions { Args = args, ContentRootPath = AppContext.BaseDirectory }); // appsettings.json is beside the program
builder.Services.AddKeyedDeepSeekChatClient("model", builder.Configuration.GetSection("DeepSeek"));
builder.Services.AddChatClient(services => services.GetRequiredKeyedService<IChatClient>("model")).UseLogging();
builder.Services.AddHealthChecks().Add(LanguageModelHealthCheck.Registration("model"));

WebApplication app = builder.Build();
app.MapHealthChecks("/health");

app.MapPost("/answer", async Task<IResult> (Question asked, IChatClient client, CancellationToken cancellationToken) =>
{
    if (string.IsNullOrWhiteSpace(asked.Text)) return TypedResults.BadRequest("""Send {"question": "…"}.""");
    try
    {
        ChatResponse response = await client.GetResponseAsync(asked.Text, new ChatOptions { Temperature = 0, MaxOutputTokens = 512 }, cancellationToken);
        string thought = string.Concat(response.Messages.SelectMany(m => m.Contents).OfType<TextReasoningContent>().Select(c => c.Text));
        return TypedResults.Ok(new Answer(response.Text, thought, response.ModelId, response.Usage?.OutputTokenCount));
    }
    catch (ContextLengthException e) { return TypedResults.BadRequest(e.Message); }
    catch (EngineBusyException) { return TypedResults.StatusCode(StatusCodes.Status503ServiceUnavailable); } // too many requests wait already
});

// Server-sent events; when the browser goes away, the token is cancelled and the model stops.
app.MapGet("/stream", (string question, IChatClient client, CancellationToken cancellationToken) => TypedResults.ServerSentEvents(Stream(question, client, cancellationToken)));

app.Run();

static async IAsyncEnumerable<SseItem<string>> Stream(string question, IChatClient client, [EnumeratorCancellation] CancellationToken cancellationToken)
{
    await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(question, new ChatOptions { MaxOutputTokens = 512 }, cancellationToken))
        foreach (AIContent content in update.Contents)
            if (content is TextReasoningContent thought) yield return new SseItem<string>(thought.Text, "thought");
            else if (content is TextContent text) yield return new SseItem<string>(text.Text, "answer");
}

internal sealed record Question([property: System.Text.Json.Serialization.JsonPropertyName("question")] string? Text);

internal sealed record Answer(string Text, string Thought, string? Model, long? Tokens);
