using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.AI;

namespace DeepSeek.Extensions;

/// <summary>
/// One request as telemetry sees it, by the semantic conventions for generative AI (https://opentelemetry.io/docs/specs/semconv/gen-ai/). Disposing it ends the span and records the metrics.
/// </summary>
internal sealed class ModelOperation : IDisposable
{
    /// <summary>Who serves the model, for metadata, spans and metrics.</summary>
    public const string Provider = "deepseek";

    private const string OperationName = "gen_ai.operation.name", Chat = "chat", Embeddings = "embeddings";
    private static readonly ActivitySource Source = new(DeepSeekTelemetry.SourceName);
    private static readonly Meter Meter = new(DeepSeekTelemetry.SourceName);

    // The buckets are those that the conventions name.
    private static readonly Histogram<double> Duration = Meter.CreateHistogram("gen_ai.client.operation.duration", "s", "Duration of a request.",
        advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92] });
    private static readonly Histogram<long> Tokens = Meter.CreateHistogram("gen_ai.client.token.usage", "{token}", "Tokens of prompts and of answers.",
        advice: new InstrumentAdvice<long> { HistogramBucketBoundaries = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864] });
    private static readonly Histogram<double> FirstChunk = Meter.CreateHistogram("gen_ai.client.operation.time_to_first_chunk", "s", "From the request to the first piece of a streamed answer.",
        advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10] });
    private static readonly Histogram<double> FirstToken = Meter.CreateHistogram("gen_ai.server.time_to_first_token", "s", "From the request to its first token, waiting included.",
        advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10] });
    private static readonly Histogram<double> LaterTokens = Meter.CreateHistogram("gen_ai.server.time_per_output_token", "s", "Time per token after the first.",
        advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5] });

    private readonly Activity? activity;
    private readonly TimeProvider clock;
    private readonly string name;
    private readonly long start;
    private string? requestModel, responseModel, error;
    private bool awaitsFirst;

    private ModelOperation(string name, string? requestModel, TimeProvider clock)
    {
        (this.name, this.clock, this.requestModel, start) = (name, clock, requestModel, clock.GetTimestamp());
        activity = Source.HasListeners() && !IsInsideSpan(name) ? Source.StartActivity(requestModel is null ? name : $"{name} {requestModel}", ActivityKind.Internal) : null;
        if (activity is { IsAllDataRequested: true }) activity.SetTag(OperationName, name).SetTag("gen_ai.provider.name", Provider).SetTag("gen_ai.request.model", requestModel);
    }

    /// <summary>Begins a request for an answer.</summary>
    /// <param name="requestModel">The model that is asked for; null where that is known only once it is loaded.</param>
    /// <param name="options">What is asked of it.</param>
    /// <param name="streams">Whether the caller sees the answer piece by piece.</param>
    /// <param name="clock">The clock of durations.</param>
    public static ModelOperation StartChat(string? requestModel, ChatOptions? options, bool streams, TimeProvider clock)
    {
        var operation = new ModelOperation(Chat, requestModel, clock) { awaitsFirst = streams };
        if (operation.activity is { IsAllDataRequested: true } activity)
        {
            if (streams) activity.SetTag("gen_ai.request.stream", true);
            if (options is not null) Describe(activity, options);
        }
        return operation;
    }

    /// <summary>Begins a request for embeddings.</summary>
    /// <param name="requestModel">The model that is asked for; null where that is known only once it is loaded.</param>
    /// <param name="clock">The clock of durations.</param>
    public static ModelOperation StartEmbeddings(string? requestModel, TimeProvider clock) => new(Embeddings, requestModel, clock);

    /// <summary>The model answers.</summary>
    public void Loaded(string model, string? responseId = null)
    {
        responseModel = model;
        if (requestModel is null)
        {
            requestModel = model;
            if (activity is not null) activity.DisplayName = $"{name} {model}";
            activity?.SetTag("gen_ai.request.model", model);
        }
        activity?.SetTag("gen_ai.response.model", model).SetTag("gen_ai.response.id", responseId);
    }

    /// <summary>A piece of a streamed answer goes to the caller.</summary>
    public void Chunk()
    {
        if (!awaitsFirst) return;
        awaitsFirst = false;
        double seconds = clock.GetElapsedTime(start).TotalSeconds;
        activity?.SetTag("gen_ai.response.time_to_first_chunk", seconds);
        if (FirstChunk.Enabled) FirstChunk.Record(seconds, Tags());
    }

    /// <summary>The embeddings are there.</summary>
    public void Embedded(int dimensions, int tokens)
    {
        activity?.SetTag("gen_ai.embeddings.dimension.count", dimensions).SetTag("gen_ai.usage.input_tokens", tokens);
        if (Tokens.Enabled) Tokens.Record(tokens, Tags(("gen_ai.token.type", "input")));
    }

    /// <summary>The answer is whole.</summary>
    public void Finished(FinishReason? reason, GenerationUsage usage)
    {
        if (activity is { IsAllDataRequested: true })
        {
            activity.SetTag("gen_ai.response.finish_reasons", (string[])[reason switch { FinishReason.Length => "length", FinishReason.ToolCalls => "tool_calls", _ => "stop" }])
                .SetTag("gen_ai.usage.input_tokens", usage.PromptTokens).SetTag("gen_ai.usage.output_tokens", usage.GeneratedTokens)
                .SetTag("gen_ai.usage.cache_read.input_tokens", usage.CachedTokens).SetTag("gen_ai.usage.reasoning.output_tokens", usage.ReasoningTokens)
                .SetTag("deepseek.usage.drafted_tokens", usage.DraftedTokens).SetTag("deepseek.usage.accepted_tokens", usage.AcceptedTokens);
        }
        if (Tokens.Enabled)
        {
            Tokens.Record(usage.PromptTokens, Tags(("gen_ai.token.type", "input")));
            Tokens.Record(usage.GeneratedTokens, Tags(("gen_ai.token.type", "output")));
        }
        if (FirstToken.Enabled && usage.GeneratedTokens > 0) FirstToken.Record((usage.QueueTime + usage.PromptTime).TotalSeconds, Tags());
        if (LaterTokens.Enabled && usage.GeneratedTokens > 1) LaterTokens.Record(usage.GenerationTime.TotalSeconds / (usage.GeneratedTokens - 1), Tags());
    }

    /// <summary>The request failed or was given up.</summary>
    public void Failed(Exception e)
    {
        error = e.GetType().FullName;
        activity?.SetTag("error.type", error).SetStatus(ActivityStatusCode.Error, e.Message);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        activity?.Dispose();
        if (Duration.Enabled) Duration.Record(clock.GetElapsedTime(start).TotalSeconds, error is null ? Tags() : Tags(("error.type", error)));
    }

    /// <summary>A span of this operation is open already. The nearest one with an operation decides: inside a tool's span a request is one of its own.</summary>
    private static bool IsInsideSpan(string operation)
    {
        for (Activity? a = Activity.Current; a is not null; a = a.Parent)
            if (a.GetTagItem(OperationName) is string name && name != "orchestrate_tools") return name == operation;
        return false;
    }

    private static void Describe(Activity activity, ChatOptions options)
    {
        void Set(string name, object? value)
        {
            if (value is not null) activity.SetTag(name, value);
        }
        Set("gen_ai.request.max_tokens", options.MaxOutputTokens);
        Set("gen_ai.request.temperature", options.Temperature);
        Set("gen_ai.request.top_p", options.TopP);
        Set("gen_ai.request.top_k", options.TopK);
        Set("gen_ai.request.frequency_penalty", options.FrequencyPenalty);
        Set("gen_ai.request.presence_penalty", options.PresencePenalty);
        Set("gen_ai.request.seed", options.Seed);
        Set("gen_ai.request.stop_sequences", options.StopSequences is { Count: > 0 } stops ? stops.ToArray() : null);
        Set("gen_ai.output.type", options.ResponseFormat switch { null => null, ChatResponseFormatJson => "json", _ => "text" });
    }

    private TagList Tags(params ReadOnlySpan<(string Name, string Value)> more)
    {
        var tags = new TagList { { OperationName, name }, { "gen_ai.provider.name", Provider } };
        if (requestModel is not null) tags.Add("gen_ai.request.model", requestModel);
        if (responseModel is not null) tags.Add("gen_ai.response.model", responseModel);
        foreach ((string key, string value) in more) tags.Add(key, value);
        return tags;
    }
}
