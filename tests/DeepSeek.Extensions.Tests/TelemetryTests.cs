using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.AI;

namespace DeepSeek.Extensions.Tests;

/// <summary>Spans and metrics by the semantic conventions for generative AI. Each test finds its own by a root activity.</summary>
[Collection(Models.Collection)]
public sealed class TelemetryTests : IDisposable
{
    private readonly Models models;
    private readonly List<Activity> spans = [];
    private readonly ActivitySource own = new($"test {Guid.NewGuid()}");
    private readonly ActivityListener listener;

    public TelemetryTests(Models models)
    {
        this.models = models;
        listener = new ActivityListener
        {
            ShouldListenTo = s => s.Name is DeepSeekTelemetry.SourceName or "Experimental.Microsoft.Extensions.AI" || s == own,
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = a =>
            {
                lock (spans) spans.Add(a);
            },
        };
        ActivitySource.AddActivityListener(listener);
    }

    public void Dispose()
    {
        listener.Dispose();
        own.Dispose();
    }

    [Fact]
    public async Task ASpanTellsOfTheRequestAndTheResponse()
    {
        ChatResponse response;
        using (Activity root = own.StartActivity("root")!)
        {
            response = await models.Client.GetResponseAsync("What is 348 + 265?", new ChatOptions { Temperature = 0, TopP = 0.9f, TopK = 5, Seed = 3, MaxOutputTokens = 200, StopSequences = ["xyz"] });
            Assert.Same(root, Activity.Current);
        }
        Activity span = Assert.Single(Mine());
        string model = models.Tiny.Info.Name;
        Assert.Equal($"chat {model}", span.DisplayName);
        Assert.Equal(ActivityKind.Internal, span.Kind);
        Assert.Equal(ActivityStatusCode.Unset, span.Status);
        (string, object?)[] expected =
        [
            ("gen_ai.operation.name", "chat"), ("gen_ai.provider.name", "deepseek"), ("gen_ai.request.model", model), ("gen_ai.request.temperature", 0f), ("gen_ai.request.top_p", 0.9f), ("gen_ai.request.top_k", 5),
            ("gen_ai.request.seed", 3L), ("gen_ai.request.max_tokens", 200), ("gen_ai.response.model", model), ("gen_ai.response.id", response.ResponseId),
            ("gen_ai.usage.input_tokens", (int)response.Usage!.InputTokenCount!), ("gen_ai.usage.output_tokens", (int)response.Usage.OutputTokenCount!), ("gen_ai.usage.reasoning.output_tokens", (int)response.Usage.ReasoningTokenCount!),
            ("deepseek.usage.drafted_tokens", 0), ("deepseek.usage.accepted_tokens", 0), // so small a model does not draft unless told to
        ];
        Assert.All(expected, e => Assert.Equal(e.Item2, span.GetTagItem(e.Item1)));
        Assert.Equal(["stop"], Assert.IsType<string[]>(span.GetTagItem("gen_ai.response.finish_reasons")));
        Assert.Equal(["xyz"], Assert.IsType<string[]>(span.GetTagItem("gen_ai.request.stop_sequences")));
        Assert.DoesNotContain(span.TagObjects, t => t.Value is string s && s.Contains("348", StringComparison.Ordinal)); // neither prompt nor answer
    }

    [Fact]
    public async Task AFailureIsMarked()
    {
        using (own.StartActivity("root"))
            await Assert.ThrowsAsync<InvalidOptionException>(() => models.Client.GetResponseAsync("?", new ChatOptions { ConversationId = "x" }));
        Activity span = Assert.Single(Mine());
        Assert.Equal(ActivityStatusCode.Error, span.Status);
        Assert.Equal("DeepSeek.InvalidOptionException", span.GetTagItem("error.type"));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ThePipelinesSpanIsEnough(bool streamed)
    {
        using IChatClient pipeline = models.Client.AsBuilder().UseOpenTelemetry().Build();
        ChatOptions options = new() { MaxOutputTokens = 2 };
        using (own.StartActivity("root"))
            _ = streamed ? await pipeline.GetStreamingResponseAsync("Hello", options).ToChatResponseAsync() : await pipeline.GetResponseAsync("Hello", options);
        Activity span = Assert.Single(Mine());
        Assert.Equal("Experimental.Microsoft.Extensions.AI", span.Source.Name);
        Assert.Equal(models.Tiny.Info.Name, span.GetTagItem("gen_ai.response.model"));
    }

    /// <summary>A request that a tool makes is one of its own.</summary>
    [Fact]
    public async Task InsideAToolsSpanThereIsOneAgain()
    {
        using (Activity chat = own.StartActivity("chat outer")!.SetTag("gen_ai.operation.name", "chat"))
        {
            using Activity tool = own.StartActivity("execute_tool t")!.SetTag("gen_ai.operation.name", "execute_tool");
            await models.Client.GetResponseAsync("Hello", new ChatOptions { MaxOutputTokens = 1 });
        }
        Assert.Single(Mine(), s => s.Source.Name == DeepSeekTelemetry.SourceName);
    }

    [Fact]
    public async Task MetricsAreRecorded()
    {
        var seen = new List<(string Name, double Value, Dictionary<string, object?> Tags)>();
        using var meters = new MeterListener { InstrumentPublished = (i, l) => { if (i.Meter.Name == DeepSeekTelemetry.SourceName) l.EnableMeasurementEvents(i); } };
        meters.SetMeasurementEventCallback<double>((i, v, tags, _) => { lock (seen) seen.Add((i.Name, v, tags.ToArray().ToDictionary())); });
        meters.SetMeasurementEventCallback<long>((i, v, tags, _) => { lock (seen) seen.Add((i.Name, v, tags.ToArray().ToDictionary())); });
        meters.Start();
        const string asked = "only this test's";
        ChatResponse response = await models.Client.GetResponseAsync("Hello", new ChatOptions { MaxOutputTokens = 8, ModelId = asked });
        await Assert.ThrowsAsync<InvalidOptionException>(() => models.Client.GetResponseAsync("?", new ChatOptions { ConversationId = "x", ModelId = asked }));
        (string Name, double Value, Dictionary<string, object?> Tags)[] mine = [.. seen.Where(s => asked.Equals(s.Tags.GetValueOrDefault("gen_ai.request.model")))];
        Assert.Equal(["gen_ai.client.operation.duration", "gen_ai.client.operation.duration", "gen_ai.client.token.usage", "gen_ai.client.token.usage", "gen_ai.server.time_per_output_token", "gen_ai.server.time_to_first_token"],
            mine.Select(m => m.Name).Order(StringComparer.Ordinal));
        Assert.Equal((double)response.Usage!.InputTokenCount!, Assert.Single(mine, m => Equals("input", m.Tags.GetValueOrDefault("gen_ai.token.type"))).Value);
        Assert.Equal((double)response.Usage.OutputTokenCount!, Assert.Single(mine, m => Equals("output", m.Tags.GetValueOrDefault("gen_ai.token.type"))).Value);
        Assert.Equal("DeepSeek.InvalidOptionException", Assert.Single(mine, m => m.Tags.ContainsKey("error.type")).Tags["error.type"]);
        Assert.All(mine, m => Assert.True(m.Value >= 0 && Equals("chat", m.Tags["gen_ai.operation.name"]) && Equals("deepseek", m.Tags["gen_ai.provider.name"])));
    }

    /// <summary>Spans of requests under this test's root.</summary>
    private Activity[] Mine()
    {
        lock (spans)
        {
            ActivityTraceId trace = spans.Single(s => s.Source == own && s.Parent is null).TraceId;
            return [.. spans.Where(s => s.TraceId == trace && s.Source != own)];
        }
    }
}
