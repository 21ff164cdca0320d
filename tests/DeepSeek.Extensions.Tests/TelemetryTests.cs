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
            ("deepseek.usage.drafted_tokens", Additional("DraftedTokenCount")), ("deepseek.usage.accepted_tokens", Additional("AcceptedTokenCount")),
        ];
        Assert.All(expected, e => Assert.Equal(e.Item2, span.GetTagItem(e.Item1)));
        Assert.Equal(["stop"], Assert.IsType<string[]>(span.GetTagItem("gen_ai.response.finish_reasons")));
        Assert.Equal(["xyz"], Assert.IsType<string[]>(span.GetTagItem("gen_ai.request.stop_sequences")));
        Assert.DoesNotContain(span.TagObjects, t => t.Value is string s && s.Contains("348", StringComparison.Ordinal)); // neither prompt nor answer

        int Additional(string count) => response.Usage!.AdditionalCounts is { } counts && counts.TryGetValue(count, out long value) ? (int)value : 0;
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

    [Fact]
    public async Task TheFirstPieceOfAStreamIsTimed()
    {
        var clock = new SteppingClock();
        IChatClient client = new DeepSeekChatClient(_ => new ValueTask<LanguageModel>(models.Tiny), clock, Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);
        var options = new ChatOptions { MaxOutputTokens = 3, ModelId = "only this test's, streamed or not" };
        List<(string Name, double Value)> seen = await MeasureAsync(options.ModelId, async () =>
        {
            using (own.StartActivity("root"))
            {
                _ = await client.GetStreamingResponseAsync("Hello", options).ToChatResponseAsync();
                _ = await client.GetResponseAsync("Hello", options);
            }
        });
        double first = Assert.Single(seen, s => s.Name == "gen_ai.client.operation.time_to_first_chunk").Value;
        Assert.True(first > 0 && first < seen.Where(s => s.Name == "gen_ai.client.operation.duration").Max(s => s.Value));
        Assert.Equal([first, null], Mine().OrderBy(s => s.StartTimeUtc).Select(s => s.GetTagItem("gen_ai.response.time_to_first_chunk")));
        Assert.Equal([true, null], Mine().OrderBy(s => s.StartTimeUtc).Select(s => s.GetTagItem("gen_ai.request.stream")));
    }

    [Fact]
    public async Task EmbeddingsHaveASpanAndMetricsOfTheirOwn()
    {
        IEmbeddingGenerator<string, Embedding<float>> generator = models.Tiny.AsIEmbeddingGenerator();
        var options = new EmbeddingGenerationOptions { ModelId = "only this test's embeddings" };
        long tokens = 0;
        List<(string Name, double Value)> seen = await MeasureAsync(options.ModelId, async () =>
        {
            using (own.StartActivity("root"))
            {
                tokens = (await generator.GenerateAsync(["What is it?", "Nobody knows."], options)).Usage!.InputTokenCount!.Value;
                await Assert.ThrowsAsync<InvalidOptionException>(() => generator.GenerateAsync(["x"], new EmbeddingGenerationOptions { Dimensions = 3, ModelId = options.ModelId }));
                using IEmbeddingGenerator<string, Embedding<float>> pipeline = generator.AsBuilder().UseOpenTelemetry().Build();
                await pipeline.GenerateAsync(["x"], options);
            }
        });
        Activity[] spans = [.. Mine().OrderBy(s => s.StartTimeUtc)];
        Assert.Equal([DeepSeekTelemetry.SourceName, DeepSeekTelemetry.SourceName, "Experimental.Microsoft.Extensions.AI"], spans.Select(s => s.Source.Name)); // the pipeline's span is enough
        Assert.Equal($"embeddings {options.ModelId}", spans[0].DisplayName);
        (string, object?)[] expected =
        [
            ("gen_ai.operation.name", "embeddings"), ("gen_ai.provider.name", "deepseek"), ("gen_ai.request.model", options.ModelId), ("gen_ai.response.model", models.Tiny.Info.Name),
            ("gen_ai.embeddings.dimension.count", models.Tiny.Info.HiddenSize), ("gen_ai.usage.input_tokens", (int)tokens),
        ];
        Assert.All(expected, e => Assert.Equal(e.Item2, spans[0].GetTagItem(e.Item1)));
        Assert.Equal((ActivityStatusCode.Error, "DeepSeek.InvalidOptionException"), (spans[1].Status, spans[1].GetTagItem("error.type")));
        Assert.Equal(3, seen.Count(s => s.Name == "gen_ai.client.operation.duration"));
        Assert.Equal(tokens, seen.First(s => s.Name == "gen_ai.client.token.usage").Value);
        Assert.All(seen, s => Assert.Contains(s.Name, (string[])["gen_ai.client.operation.duration", "gen_ai.client.token.usage"]));
    }

    /// <summary>What is recorded for requests that name a model of their own.</summary>
    private static async Task<List<(string Name, double Value)>> MeasureAsync(string model, Func<Task> run)
    {
        var seen = new List<(string Name, double Value)>();
        void Add(Instrument i, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            if (!model.Equals(tags.ToArray().ToDictionary().GetValueOrDefault("gen_ai.request.model"))) return;
            lock (seen) seen.Add((i.Name, value));
        }
        using var meters = new MeterListener { InstrumentPublished = (i, l) => { if (i.Meter.Name == DeepSeekTelemetry.SourceName) l.EnableMeasurementEvents(i); } };
        meters.SetMeasurementEventCallback<double>((i, v, tags, _) => Add(i, v, tags));
        meters.SetMeasurementEventCallback<long>((i, v, tags, _) => Add(i, v, tags));
        meters.Start();
        await run();
        return seen;
    }

    /// <summary>Each look at it takes a second.</summary>
    private sealed class SteppingClock : TimeProvider
    {
        private long seconds;

        public override long TimestampFrequency => 1;

        public override long GetTimestamp() => Interlocked.Increment(ref seconds);
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
