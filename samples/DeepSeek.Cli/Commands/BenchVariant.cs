using System.Diagnostics;

namespace DeepSeek.Cli.Commands;

/// <summary>One way to run the model that is measured, beside others that take turns with it.</summary>
/// <param name="name">What it is called in the report.</param>
/// <param name="model">The model as it is loaded for it; owned.</param>
internal sealed class BenchVariant(string name, LanguageModel model) : IAsyncDisposable
{
    /// <summary>What a request showed. Times in seconds.</summary>
    /// <param name="Prefill">Tokens of the prompt a second.</param>
    /// <param name="Decode">Tokens of the answer a second.</param>
    /// <param name="FirstToken">From the call to the first token.</param>
    /// <param name="HitFirstToken">The same for the same prompt again, when its prefix is cached.</param>
    /// <param name="Gaps">From one token to the next.</param>
    public sealed record Run(double Prefill, double Decode, double FirstToken, double HitFirstToken, IReadOnlyList<double> Gaps);

    /// <summary>No step is shorter.</summary>
    private static readonly TimeSpan Together = TimeSpan.FromMicroseconds(100);

    private long allocated, tokens, drafted, accepted;

    public string Name => name;

    public LanguageModel Model => model;

    public List<Run> Runs { get; } = [];

    /// <summary>Generated tokens a second, all requests together, for each repetition.</summary>
    public List<double> Throughputs { get; } = [];

    public double Prefill => Median(Runs.Select(r => r.Prefill));

    public double Decode => Median(Runs.Select(r => r.Decode));

    public double Throughput => Median(Throughputs);

    public IEnumerable<double> FirstTokens => Runs.Select(r => r.FirstToken);

    public IEnumerable<double> HitFirstTokens => Runs.Select(r => r.HitFirstToken);

    public IEnumerable<double> Gaps => Runs.SelectMany(r => r.Gaps);

    /// <summary>Bytes that the engine's thread allocated for each token.</summary>
    public double AllocatedPerToken => (double)allocated / Math.Max(1, tokens);

    public long Drafted => drafted;

    public long Accepted => accepted;

    /// <summary>Some requests at the same time; then the same again, for the time to the first token when the prompt is known.</summary>
    /// <param name="prompts">Token ids of each.</param>
    /// <param name="options">How answers are generated.</param>
    /// <param name="tenant">Keeps repetitions from finding each other's prompts.</param>
    /// <param name="counts">Whether it is remembered: the first repetition compiles code and faults pages in.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task RepeatAsync(int[][] prompts, GenerationOptions options, string tenant, bool counts, CancellationToken cancellationToken)
    {
        options = options with { Tenant = tenant };
        EngineStatistics before = model.Statistics;
        long begin = Stopwatch.GetTimestamp();
        (GenerationUsage Usage, double First, List<double> Gaps)[] requests = await Task.WhenAll(prompts.Select(p => MeasureAsync(p, options, cancellationToken)));
        double seconds = Stopwatch.GetElapsedTime(begin).TotalSeconds;
        EngineStatistics after = model.Statistics;
        var hits = await Task.WhenAll(prompts.Select(p => MeasureAsync(p, options with { MaxTokens = 1 }, cancellationToken)));
        if (!counts) return;
        allocated += after.AllocatedBytes - before.AllocatedBytes;
        tokens += after.GeneratedTokens - before.GeneratedTokens;
        drafted += after.DraftedTokens - before.DraftedTokens;
        accepted += after.AcceptedTokens - before.AcceptedTokens;
        Throughputs.Add(requests.Sum(r => r.Usage.GeneratedTokens) / seconds);
        Runs.AddRange(requests.Select((r, i) => new Run(Statistics.Rate(r.Usage.PromptTokens - r.Usage.CachedTokens, r.Usage.PromptTime), Statistics.Rate(r.Usage.GeneratedTokens - 1, r.Usage.GenerationTime),
            r.First, hits[i].First, r.Gaps)));
    }

    /// <summary>Seconds to the first token of the answer to a prompt.</summary>
    public async Task<double> FirstTokenAsync(int[] prompt, GenerationOptions options, CancellationToken cancellationToken) => (await MeasureAsync(prompt, options with { MaxTokens = 1 }, cancellationToken)).First;

    public ValueTask DisposeAsync() => model.DisposeAsync();

    public static double Median(IEnumerable<double> values) => Percentile(values, 0.5);

    public static double Percentile(IEnumerable<double> values, double share)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length == 0 ? 0 : sorted[(int)Math.Min(sorted.Length - 1, sorted.Length * share)];
    }

    private async Task<(GenerationUsage Usage, double First, List<double> Gaps)> MeasureAsync(int[] prompt, GenerationOptions options, CancellationToken cancellationToken)
    {
        GenerationUsage? usage = null;
        var arrivals = new List<long>();
        long start = Stopwatch.GetTimestamp();
        await foreach (GenerationUpdate update in model.CompleteAsync(prompt, options, cancellationToken))
        {
            usage = update.Usage ?? usage;
            arrivals.AddRange(Enumerable.Repeat(Stopwatch.GetTimestamp(), update.Tokens.Count));
        }
        return (usage!, arrivals.Count == 0 ? 0 : Stopwatch.GetElapsedTime(start, arrivals[0]).TotalSeconds, GapsOf(arrivals));
    }

    /// <summary>Times from token to token. Those that come together, because drafts were accepted, share the time since the ones before.</summary>
    private static List<double> GapsOf(List<long> arrivals)
    {
        var gaps = new List<double>();
        for (int from = 0, to; from < arrivals.Count; from = to)
        {
            for (to = from + 1; to < arrivals.Count && Stopwatch.GetElapsedTime(arrivals[to - 1], arrivals[to]) < Together;) to++;
            if (from > 0) gaps.AddRange(Enumerable.Repeat(Stopwatch.GetElapsedTime(arrivals[from - 1], arrivals[from]).TotalSeconds / (to - from), to - from));
        }
        return gaps;
    }
}
