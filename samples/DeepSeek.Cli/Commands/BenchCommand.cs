using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace DeepSeek.Cli.Commands;

/// <summary>
/// Measures prompt processing, generation and latencies, of one request or several at a time: as the model runs by default and with --reproducible, in turns, so that the machine's own
/// drift cancels out in the price. With --speculate also without drafts; with --session the return to a saved conversation.
/// </summary>
internal sealed class BenchCommand : Command
{
    private const int DefaultPrompt = 512, SessionPrompt = 4000;

    private readonly Option<int?> prompt = new("--prompt", "-p") { Description = $"Tokens of the prompt. Default: {DefaultPrompt}, of a session {SessionPrompt}." };
    private readonly Option<int> generate = new("--generate", "-g") { Description = "Tokens to generate.", DefaultValueFactory = _ => 64 };
    private readonly Option<int> repetitions = new("--repetitions", "-r") { Description = "Measured repetitions, after one that warms up; medians are reported.", DefaultValueFactory = _ => 3 };
    private readonly Option<int> concurrency = new("--concurrency") { Description = "Requests at the same time.", DefaultValueFactory = _ => 1 };
    private readonly Option<string?> text = new("--text") { Description = "A question to answer, instead of a prompt of arbitrary tokens: what drafts bring depends on what is said." };
    private readonly Option<string> mode = new("--mode") { Description = "default, reproducible, or both in turns.", DefaultValueFactory = _ => "both" };
    private readonly Option<bool> session = new("--session") { Description = "Measure how much sooner a saved conversation goes on than one that has to be read again." };
    private readonly Option<bool> json = new("--json") { Description = "One JSON object on standard output." };
    private readonly ModelOptions model = new();

    public BenchCommand() : base("bench", "Measure how fast a model runs here.")
    {
        foreach (Option o in (Option[])[prompt, generate, repetitions, concurrency, text, mode, session, json]) Options.Add(o);
        model.AddTo(this);
        SetAction(RunAsync);
    }

    private async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        int generated = AtLeast(2, parsed, generate), repeat = AtLeast(1, parsed, repetitions), parallel = AtLeast(1, parsed, concurrency);
        int promptTokens = parsed.GetValue(prompt) ?? (parsed.GetValue(session) ? SessionPrompt : DefaultPrompt);
        if (promptTokens < 1) throw new InvalidOptionException($"{prompt.Name} is {promptTokens}, expected at least 1.");
        if (parsed.GetValue(session)) return await SessionAsync(parsed, promptTokens, repeat, cancellationToken);

        using var memory = new MemoryWatch();
        var variants = new List<BenchVariant>();
        try
        {
            long start = Stopwatch.GetTimestamp();
            foreach ((string name, Func<LanguageModelOptions, LanguageModelOptions> change) in Variants(parsed))
                variants.Add(await LoadAsync(parsed, name, change, promptTokens + generated, parallel, cancellationToken));
            double load = Stopwatch.GetElapsedTime(start).TotalSeconds / variants.Count;
            if (!parsed.GetValue(json)) Terminal.Notice(variants[0].Model.Info.ToString());

            GenerationOptions options = new() { Temperature = 0, MaxTokens = generated, IgnoreEndOfTurn = parsed.GetValue(text) is null, Seed = 1 };
            for (int k = 0; k <= repeat; k++)
                for (int v = 0; v < variants.Count; v++)
                {
                    BenchVariant variant = variants[(k + v) % variants.Count]; // who is first alternates too
                    int[][] prompts = [.. Enumerable.Range(0, parallel).Select(i => parsed.GetValue(text) is { } asked ? Ask(variant.Model, asked) : Arbitrary(variant.Model, promptTokens, k * parallel + i))];
                    await variant.RepeatAsync(prompts, options, $"repetition {k}", counts: k > 0, cancellationToken);
                    Terminal.Status(string.Create(CultureInfo.InvariantCulture, $"{variant.Name}, {k} of {repeat}: {variant.Throughput:0.0} tokens/s"));
                }
            Terminal.EndStatus();
            if (parsed.GetValue(json)) WriteJson(variants, parsed.GetValue(text) is null ? promptTokens : Ask(variants[0].Model, parsed.GetValue(text)!).Length, generated, repeat, parallel, load, memory);
            else WriteText(variants, parallel, load, memory);
            return 0;
        }
        finally
        {
            foreach (BenchVariant v in variants) await v.DisposeAsync();
        }
    }

    /// <summary>What takes turns. Arbitrary tokens are not drafted unless asked for: what a model repeats behind noise tells nothing.</summary>
    private IEnumerable<(string, Func<LanguageModelOptions, LanguageModelOptions>)> Variants(ParseResult parsed)
    {
        string which = parsed.GetValue(mode)!;
        if (which is not ("default" or "reproducible" or "both")) throw new InvalidOptionException($"--mode is '{which}', expected default, reproducible or both.");
        bool drafts = model.Speculates(parsed) || parsed.GetValue(text) is not null, reproducible = model.Options(parsed).Reproducible || which == "reproducible";
        Func<LanguageModelOptions, LanguageModelOptions> speculation = o => drafts ? o : o with { Speculation = Speculation.Off };
        yield return (reproducible ? "reproducible" : "default", o => speculation(o) with { Reproducible = reproducible });
        if (!reproducible && which == "both") yield return ("reproducible", o => speculation(o) with { Reproducible = true });
        if (drafts) yield return ("no drafts", o => o with { Speculation = Speculation.Off, Reproducible = reproducible });
    }

    private async Task<BenchVariant> LoadAsync(ParseResult parsed, string name, Func<LanguageModelOptions, LanguageModelOptions> change, int tokens, int parallel, CancellationToken cancellationToken)
    {
        ModelPlan plan = LanguageModel.Plan(model.Path(parsed), model.Options(parsed) with { ContextLength = null });
        int context = model.Options(parsed).ContextLength ?? Math.Min(tokens + 64, plan.MaxContextLength);
        // Room for all requests at once, and for what the last ones left.
        return new BenchVariant(name, await model.LoadAsync(parsed, cancellationToken, o => change(o) with { ContextLength = context, MaxSequences = Math.Max(o.MaxSequences, parallel), CacheBytes = plan.CacheBytesPerToken * (context + 32L) * (2 * parallel + 1) }));
    }

    /// <summary>Token ids that a random or trained model takes alike.</summary>
    private static int[] Arbitrary(LanguageModel model, int count, int salt)
    {
        int vocabulary = Math.Min(model.Info.VocabularySize, 40_000), low = Math.Min(300, vocabulary / 2);
        return [.. Enumerable.Range(0, count).Select(i => low + (int)((i * 7919L + salt * 104729L) % (vocabulary - low)))];
    }

    private static int[] Ask(LanguageModel model, string question) => model.Info.HasChatTemplate ? [.. model.RenderPrompt([Message.User(question)]).Tokens] : model.Tokenizer.Encode(question);

    private static void WriteText(List<BenchVariant> variants, int parallel, double load, MemoryWatch memory)
    {
        Row("", v => v.Name);
        Row("prefill, tokens/s", v => Number(v.Prefill));
        Row(parallel > 1 ? "decode of each request, tokens/s" : "decode, tokens/s", v => Number(v.Decode));
        if (parallel > 1) Row("throughput of all, tokens/s", v => Number(v.Throughput));
        Row("first token after, ms", v => Milliseconds(v.FirstTokens, 0.5));
        Row("  95th percentile", v => Milliseconds(v.FirstTokens, 0.95));
        Row("  where the prompt is cached", v => Milliseconds(v.HitFirstTokens, 0.5));
        Row("  95th percentile", v => Milliseconds(v.HitFirstTokens, 0.95));
        Row("time per token, ms", v => Milliseconds(v.Gaps, 0.5));
        Row("  95th percentile", v => Milliseconds(v.Gaps, 0.95));
        Row("allocated, bytes a token", v => Number(v.AllocatedPerToken));
        if (variants.Any(v => v.Drafted > 0)) Row("drafted tokens accepted", v => $"{v.Accepted} of {v.Drafted}");
        foreach (BenchVariant v in variants.Skip(1))
            Console.WriteLine($"{v.Name}: {Number(v.Prefill / variants[0].Prefill)} times the prefill, {Number(v.Decode / variants[0].Decode)} times the decode of {variants[0].Name}");
        Console.WriteLine($"loading {Number(load)} s; peak memory {PeakMemory() / 1e6:0} MB with mapped pages" + (memory.PeakBytes == 0 ? "" : $", anonymous {memory.PeakBytes / 1e6:0} MB for {variants.Count} engine(s), mapped {memory.MappedBytes / 1e6:0} MB"));

        void Row(string label, Func<BenchVariant, string> value) => Console.WriteLine($"{label,-34}{string.Concat(variants.Select(v => $"{value(v),16}"))}");
    }

    private static string Number(double value) => value.ToString("0.00", CultureInfo.InvariantCulture);

    private static string Milliseconds(IEnumerable<double> seconds, double share) => Number(1000 * BenchVariant.Percentile(seconds, share));

    private static void WriteJson(List<BenchVariant> variants, int promptTokens, int generated, int repeat, int parallel, double load, MemoryWatch memory)
    {
        ModelInfo info = variants[0].Model.Info;
        using var writer = new Utf8JsonWriter(Console.OpenStandardOutput(), new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        writer.WriteStartObject();
        writer.WriteString("model", info.Name);
        writer.WriteString("architecture", info.Architecture);
        writer.WriteString("format", info.Format);
        writer.WriteNumber("prompt_tokens", promptTokens);
        writer.WriteNumber("generated_tokens", generated);
        writer.WriteNumber("threads", info.Threads);
        writer.WriteNumber("repetitions", repeat);
        writer.WriteNumber("concurrency", parallel);
        Figures(variants[0]);
        writer.WriteNumber("load_seconds", load);
        writer.WriteNumber("peak_memory_bytes", PeakMemory());
        writer.WriteNumber("peak_anonymous_bytes", memory.PeakBytes);
        writer.WriteNumber("mapped_bytes", memory.MappedBytes);
        writer.WriteString("cpu", Cpu());
        writer.WriteString("device", info.Device);
        writer.WriteString("placement", info.Placement);
        writer.WriteString("kernels", info.Kernels);
        writer.WriteStartArray("compared");
        foreach (BenchVariant v in variants.Skip(1))
        {
            writer.WriteStartObject();
            Figures(v);
            writer.WriteEndObject();
        }
        writer.WriteEndArray();
        writer.WriteEndObject();
        writer.Flush();
        Console.WriteLine();

        void Figures(BenchVariant v)
        {
            writer.WriteString("mode", v.Name);
            writer.WriteBoolean("reproducible", v.Model.Options.Reproducible);
            writer.WriteNumber("prefill_tokens_per_second", v.Prefill);
            writer.WriteNumber("decode_tokens_per_second", v.Decode);
            writer.WriteNumber("throughput_tokens_per_second", v.Throughput);
            writer.WriteNumber("time_to_first_token_seconds_median", BenchVariant.Median(v.FirstTokens));
            writer.WriteNumber("time_to_first_token_seconds_p95", BenchVariant.Percentile(v.FirstTokens, 0.95));
            writer.WriteNumber("time_to_first_token_cached_seconds_median", BenchVariant.Median(v.HitFirstTokens));
            writer.WriteNumber("time_to_first_token_cached_seconds_p95", BenchVariant.Percentile(v.HitFirstTokens, 0.95));
            writer.WriteNumber("time_per_token_seconds_median", BenchVariant.Median(v.Gaps));
            writer.WriteNumber("time_per_token_seconds_p95", BenchVariant.Percentile(v.Gaps, 0.95));
            writer.WriteNumber("allocated_bytes_per_token", v.AllocatedPerToken);
            writer.WriteNumber("drafted_tokens", v.Drafted);
            writer.WriteNumber("accepted_tokens", v.Accepted);
        }
    }

    /// <summary>A conversation that is read, saved, and taken up again by a model that was loaded anew. Loading the model itself counts in neither.</summary>
    private async Task<int> SessionAsync(ParseResult parsed, int tokens, int repeat, CancellationToken cancellationToken)
    {
        GenerationOptions options = new() { Temperature = 0, MaxTokens = 1, IgnoreEndOfTurn = true, Seed = 1 };
        string file = Path.Combine(Path.GetTempPath(), $"deepseek-bench-{Environment.ProcessId}.session");
        var computed = new List<double>();
        var restored = new List<double>();
        double saving;
        long bytes;
        int found = 0;
        try
        {
            int[] ids;
            await using (BenchVariant first = await LoadAsync(parsed, "default", o => o, tokens, 2, cancellationToken))
            {
                ids = Arbitrary(first.Model, tokens, 1);
                for (int k = 0; k <= repeat; k++)
                {
                    double seconds = await first.FirstTokenAsync(ids, options with { Tenant = k == repeat ? null : $"repetition {k}" }, cancellationToken);
                    if (k > 0) computed.Add(seconds);
                    Terminal.Status($"read {k} of {repeat}: {Number(seconds)} s");
                }
                long start = Stopwatch.GetTimestamp();
                await first.Model.SaveSessionAsync(file, ids, cancellationToken: cancellationToken);
                saving = Stopwatch.GetElapsedTime(start).TotalSeconds;
                bytes = new FileInfo(file).Length;
            }
            for (int k = 0; k <= repeat; k++)
            {
                await using BenchVariant again = await LoadAsync(parsed, "default", o => o, tokens, 2, cancellationToken);
                await again.FirstTokenAsync(Arbitrary(again.Model, 8, 2), options, cancellationToken);
                long start = Stopwatch.GetTimestamp();
                found = await again.Model.LoadSessionAsync(file, cancellationToken);
                await again.FirstTokenAsync(ids, options, cancellationToken);
                if (k > 0) restored.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            }
            Terminal.EndStatus();
        }
        finally
        {
            File.Delete(file);
        }
        double whole = BenchVariant.Median(computed), back = BenchVariant.Median(restored);
        if (parsed.GetValue(json))
        {
            using var writer = new Utf8JsonWriter(Console.OpenStandardOutput());
            writer.WriteStartObject();
            writer.WriteNumber("conversation_tokens", tokens);
            writer.WriteNumber("restored_tokens", found);
            writer.WriteNumber("file_bytes", bytes);
            writer.WriteNumber("save_seconds", saving);
            writer.WriteNumber("computed_first_token_seconds", whole);
            writer.WriteNumber("restored_first_token_seconds", back);
            writer.WriteEndObject();
            writer.Flush();
            Console.WriteLine();
            return 0;
        }
        Console.WriteLine($"conversation                {tokens} tokens, of which {found} were restored; a file of {Number(bytes / 1e6)} MB, saved in {Number(saving * 1000)} ms");
        Console.WriteLine($"first token, read anew      {Number(whole * 1000)} ms");
        Console.WriteLine($"first token, restored       {Number(back * 1000)} ms, reading the file included");
        Console.WriteLine($"sooner by                   {Number(whole / back)} times");
        return 0;
    }

    private static int AtLeast(int least, ParseResult parsed, Option<int> option)
        => parsed.GetValue(option) is var value && value >= least ? value : throw new InvalidOptionException($"{option.Name} is {value}, expected at least {least}.");

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
