using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using DeepSeek.Generation;
using DeepSeek.Generation.Constraints;

namespace DeepSeek.Benchmarks;

/// <summary>What a schema costs a decode step: the same model writes freely and under a schema, in turns, and the masks of what it wrote are timed by themselves.</summary>
internal static class ConstrainedBenchmark
{
    private const string Schema = """
        {"type":"array","minItems":100000,"items":{"type":"object","properties":{"title":{"type":"string","maxLength":40},"kind":{"enum":["note","task","event"]},"score":{"type":"number","minimum":0,"maximum":10},
        "tags":{"type":"array","items":{"type":"string","maxLength":12},"maxItems":4},"done":{"type":"boolean"}},"required":["title","kind","score","tags","done"],"additionalProperties":false}}
        """;

    /// <param name="arguments">A model, the tokens of a run (default 64) and the number of runs of each kind (default 7).</param>
    public static async Task RunAsync(string[] arguments)
    {
        int tokens = arguments.Length > 1 ? int.Parse(arguments[1], CultureInfo.InvariantCulture) : 64, runs = arguments.Length > 2 ? int.Parse(arguments[2], CultureInfo.InvariantCulture) : 7;
        await using LanguageModel model = await LanguageModel.LoadAsync(arguments[0], new LanguageModelOptions { Speculation = Speculation.Off, ContextLength = 64 + tokens });
        Console.WriteLine(model.Info);
        using JsonDocument schema = JsonDocument.Parse(Schema);
        var free = new GenerationOptions { Temperature = 1, TopK = 40, MaxTokens = tokens, IgnoreEndOfTurn = true };
        GenerationOptions held = free with { Constraint = new OutputConstraint.JsonSchema(schema.RootElement) };
        await StepAsync(model, free with { MaxTokens = 8 }, 0);
        (double first, _) = await StepAsync(model, held, 0); // compiles, and meets the first states
        var (freely, under, masks) = (new List<double>(), new List<double>(), new List<double>());
        for (int run = 1; run <= runs; run++)
        {
            freely.Add((await StepAsync(model, free, run)).Milliseconds);
            (double step, int[] written) = await StepAsync(model, held, run);
            under.Add(step);
            masks.Add(TimeMasks(model.Loaded, held.Constraint!, written));
        }
        double median = Median(freely);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{model.Loaded.Settings.Entries} tokens in {model.Info.VocabularySize} rows of logits, {tokens} tokens a run, {runs} runs of each kind, in turns"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"a step, free:           {median:F3} ms (least {freely.Min():F3})"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"a step under a schema:  {Median(under):F3} ms (least {under.Min():F3}); with a schema that is new {first:F3} ms"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"of it the mask:         {Median(masks) * 1000:F1} us: {Median(masks) / median:P2} of a step"));
    }

    /// <summary>Milliseconds of a step, and what was written.</summary>
    private static async Task<(double Milliseconds, int[] Tokens)> StepAsync(LanguageModel model, GenerationOptions options, int seed)
    {
        var written = new List<int>();
        await foreach (GenerationUpdate update in model.CompleteAsync([1, 2, 3, 4], options with { Seed = seed }))
        {
            written.AddRange(update.Tokens.Select(t => t.Id));
            if (update.Usage is { } usage) return (usage.GenerationTime.TotalMilliseconds / (usage.GeneratedTokens - 1), [.. written]);
        }
        throw new InvalidOperationException("The answer has no end.");
    }

    /// <summary>Milliseconds a token: finding the mask, laying it over logits, taking the token.</summary>
    private static double TimeMasks(LoadedModel model, OutputConstraint constraint, int[] tokens)
    {
        GrammarMatcher matcher = model.Constraints.Start(constraint);
        var logits = new float[model.Settings.Entries];
        long ticks = 0;
        foreach (int token in tokens)
        {
            logits.AsSpan().Fill(1); // as the head has just written them
            long start = Stopwatch.GetTimestamp();
            matcher.Mask.Apply(logits);
            if (!matcher.TryAccept(token)) throw new InvalidOperationException($"The token {token} is refused.");
            ticks += Stopwatch.GetTimestamp() - start;
        }
        return ticks * 1000.0 / Stopwatch.Frequency / tokens.Length;
    }

    private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);
}
