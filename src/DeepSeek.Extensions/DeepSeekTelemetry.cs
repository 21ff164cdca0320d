namespace DeepSeek.Extensions;

/// <summary>
/// What a program that collects telemetry subscribes to. The chat client and the generator of embeddings follow OpenTelemetry's semantic conventions for generative AI
/// (https://opentelemetry.io/docs/specs/semconv/gen-ai/): a span <c>chat {model}</c> or <c>embeddings {model}</c> for each request, unless one of the caller's own pipeline is open already
/// (<c>UseOpenTelemetry</c>), and histograms of duration, tokens, time to the first piece of a stream, to the first token, and time per token. Neither prompts nor answers are recorded.
/// </summary>
public static class DeepSeekTelemetry
{
    /// <summary>Name of the <see cref="System.Diagnostics.ActivitySource"/> and of the <see cref="System.Diagnostics.Metrics.Meter"/>.</summary>
    public const string SourceName = "DeepSeek";
}
