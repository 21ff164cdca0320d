using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace DeepSeek.Cli.Commands;

/// <summary>Measures loading, prompt processing and generation; with --concurrency also throughput and latencies of several requests at a time.</summary>
internal sealed class BenchCommand : Command
{
    private readonly Option<int> prompt = new("--prompt", "-p") { Description = "Tokens of the prompt.", DefaultValueFactory = _ => 512 };
    private readonly Option<int> generate = new("--generate", "-g") { Description = "Tokens to generate.", DefaultValueFactory = _ => 64 };
    private readonly Option<int> repetitions = new("--repetitions", "-r") { Description = "Measured repetitions, after one that warms up; medians are reported.", DefaultValueFactory = _ => 3 };
    private readonly Option<int> concurrency = new("--concurrency") { Description = "Requests at the same time.", DefaultValueFactory = _ => 1 };
    private readonly Option<bool> json = new("--json") { Description = "One JSON object on standard output." };
    private readonly ModelOptions model = new();

    public BenchCommand() : base("bench", "Measure how fast a model runs here.")
    {
        foreach (Option o in (Option[])[prompt, generate, repetitions, concurrency, json]) Options.Add(o);
        model.AddTo(this);
        SetAction(RunAsync);
    }

    private async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        int promptTokens = AtLeast(1, parsed, prompt), generated = AtLeast(2, parsed, generate), repeat = AtLeast(1, parsed, repetitions), parallel = AtLeast(1, parsed, concurrency);
        using var memory = new MemoryWatch();
        long start = Stopwatch.GetTimestamp();
        await using LanguageModel loaded = await model.LoadAsync(parsed, cancellationToken, o => o with
        {
            PrefixCaching = false,
            ContextLength = o.ContextLength ?? promptTokens + generated + 16,
            MaxSequences = Math.Max(o.MaxSequences, parallel),
            CacheBytes = null,
        });
        double load = Stopwatch.GetElapsedTime(start).TotalSeconds;
        if (!parsed.GetValue(json)) Terminal.Notice(loaded.Info.ToString());

        var runs = new List<Run>();
        long allocated = 0, tokens = 0;
        for (int k = 0; k <= repeat; k++)
        {
            EngineStatistics before = loaded.Statistics;
            long begin = Stopwatch.GetTimestamp();
            Run[] requests = await Task.WhenAll(Enumerable.Range(0, parallel).Select(i => MeasureAsync(loaded, promptTokens, generated, k * parallel + i, cancellationToken)));
            double seconds = Stopwatch.GetElapsedTime(begin).TotalSeconds;
            Terminal.Status($"run {k} of {repeat}: {parallel * generated / seconds:0.0} tokens/s");
            if (k == 0) continue; // it warms up: the first steps compile code and fault pages in
            EngineStatistics after = loaded.Statistics;
            allocated += after.AllocatedBytes - before.AllocatedBytes;
            tokens += after.GeneratedTokens - before.GeneratedTokens;
            runs.AddRange(requests.Select(r => r with { Wall = seconds }));
        }
        Terminal.EndStatus();

        double prefill = Median(runs.Select(r => r.Prefill)), decode = Median(runs.Select(r => r.Decode));
        if (parsed.GetValue(json))
        {
            using var writer = new Utf8JsonWriter(Console.OpenStandardOutput(), new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
            writer.WriteStartObject();
            writer.WriteString("model", loaded.Info.Name);
            writer.WriteString("architecture", loaded.Info.Architecture);
            writer.WriteString("format", loaded.Info.Format);
            writer.WriteNumber("prompt_tokens", promptTokens);
            writer.WriteNumber("generated_tokens", generated);
            writer.WriteNumber("threads", loaded.Info.Threads);
            writer.WriteNumber("repetitions", repeat);
            writer.WriteNumber("concurrency", parallel);
            writer.WriteNumber("prefill_tokens_per_second", prefill);
            writer.WriteNumber("decode_tokens_per_second", decode);
            writer.WriteNumber("throughput_tokens_per_second", Median(runs.Select(r => parallel * generated / r.Wall)));
            writer.WriteNumber("time_to_first_token_seconds_median", Median(runs.Select(r => r.FirstToken)));
            writer.WriteNumber("time_to_first_token_seconds_p95", Percentile(runs.Select(r => r.FirstToken), 0.95));
            writer.WriteNumber("time_per_token_seconds_median", Median(runs.SelectMany(r => r.Gaps)));
            writer.WriteNumber("time_per_token_seconds_p95", Percentile(runs.SelectMany(r => r.Gaps), 0.95));
            writer.WriteNumber("load_seconds", load);
            writer.WriteNumber("peak_memory_bytes", PeakMemory());
            writer.WriteNumber("peak_anonymous_bytes", memory.PeakBytes);
            writer.WriteNumber("mapped_bytes", memory.MappedBytes);
            writer.WriteNumber("allocated_bytes_per_token", (double)allocated / Math.Max(1, tokens));
            writer.WriteString("cpu", Cpu());
            writer.WriteString("kernels", loaded.Info.Kernels);
            writer.WriteBoolean("reproducible", loaded.Options.Reproducible);
            writer.WriteEndObject();
            writer.Flush();
            Console.WriteLine();
        }
        else
        {
            Line("prefill", prefill, "tokens/s");
            Line("decode", decode, "tokens/s for each request");
            if (parallel > 1) Line("throughput", Median(runs.Select(r => parallel * generated / r.Wall)), "tokens/s generated, all requests together");
            Line("first token after", Median(runs.Select(r => r.FirstToken)) * 1000, "ms (median)");
            Line("time per token", Median(runs.SelectMany(r => r.Gaps)) * 1000, $"ms (median), {Percentile(runs.SelectMany(r => r.Gaps), 0.95) * 1000:0.0} ms (95th percentile)");
            Line("loading", load, "s");
            Line("peak memory", PeakMemory() / 1e6, "MB, mapped pages included");
            if (memory.PeakBytes > 0) Line("anonymous memory", memory.PeakBytes / 1e6, $"MB at the peak, beside {memory.MappedBytes / 1e6:0} MB of mapped pages");
            Line("allocated", (double)allocated / Math.Max(1, tokens), "bytes a token on the engine's threads");
        }
        return 0;
    }

    /// <summary>One request over arbitrary token ids, which a random or trained model takes alike.</summary>
    private static async Task<Run> MeasureAsync(LanguageModel model, int promptTokens, int generated, int salt, CancellationToken cancellationToken)
    {
        int vocabulary = Math.Min(model.Info.VocabularySize, 40_000), low = Math.Min(300, vocabulary / 2);
        int[] ids = [.. Enumerable.Range(0, promptTokens).Select(i => low + (int)((i * 7919L + salt * 104729L) % (vocabulary - low)))];
        GenerationUsage? usage = null;
        var gaps = new List<double>();
        long start = Stopwatch.GetTimestamp(), last = 0;
        double first = 0;
        await foreach (GenerationUpdate update in model.CompleteAsync(ids, new() { Temperature = 0, MaxTokens = generated, IgnoreEndOfTurn = true, Seed = 1 }, cancellationToken))
        {
            usage = update.Usage ?? usage;
            if (update.Tokens.Count == 0) continue;
            long now = Stopwatch.GetTimestamp();
            if (last == 0) first = Stopwatch.GetElapsedTime(start, now).TotalSeconds;
            else gaps.Add(Stopwatch.GetElapsedTime(last, now).TotalSeconds / update.Tokens.Count);
            last = now;
        }
        return new Run(Statistics.Rate(promptTokens, usage!.PromptTime), Statistics.Rate(usage.GeneratedTokens - 1, usage.GenerationTime), first, gaps, 0);
    }

    private sealed record Run(double Prefill, double Decode, double FirstToken, List<double> Gaps, double Wall);

    private static void Line(string name, double value, string unit) => Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name,-18} {value,10:0.00} {unit}"));

    private static int AtLeast(int least, ParseResult parsed, Option<int> option)
        => parsed.GetValue(option) is var value && value >= least ? value : throw new InvalidOptionException($"{option.Name} is {value}, expected at least {least}.");

    private static double Median(IEnumerable<double> values) => Percentile(values, 0.5);

    private static double Percentile(IEnumerable<double> values, double share)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length == 0 ? 0 : sorted[(int)Math.Min(sorted.Length - 1, sorted.Length * share)];
    }

    private static long PeakMemory()
    {
        using Process self = Process.GetCurrentProcess();
        return self.PeakWorkingSet64;
    }

    private static string Cpu()
    {
        if (!OperatingSystem.IsLinux()) return System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture.ToString();
        return File.ReadLines("/proc/cpuinfo").FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[1].Trim() ?? "unknown";
    }
}
