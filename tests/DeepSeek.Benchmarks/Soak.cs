using System.Diagnostics;
using System.Globalization;

namespace DeepSeek.Benchmarks;

/// <summary>
/// Thousands of short requests of every kind at one model: chats, continuations, tool calls, JSON, several choices, scores, embeddings; some are left early, some cancelled, some refused.
/// Memory has to stay flat, and every request has to end.
/// </summary>
internal static class Soak
{
    private const int Parallel = 12, Reports = 10;

    /// <summary>Growth from the second tenth to the last that is not put down to the collector's mood.</summary>
    private const double Tolerated = 1.1;

    /// <param name="path">A model.</param>
    /// <param name="count">Requests.</param>
    /// <returns>0 where memory stayed flat and everything was given back.</returns>
    public static async Task<int> RunAsync(string path, int count)
    {
        await using LanguageModel model = await LanguageModel.LoadAsync(path, new LanguageModelOptions { ContextLength = 512, MaxSequences = 8, MaxQueuedRequests = 8 });
        Console.WriteLine(model.Info);
        Console.WriteLine($"{"requests",10}{"seconds",10}{"completed",11}{"cancelled",11}{"refused",9}{"anonymous MB",14}{"managed MB",12}{"threads",9}{"cached",9}{"preempted",11}");
        long started = Stopwatch.GetTimestamp(), begun = 0, completed = 0, cancelled = 0, refused = 0;
        double early = 0, late = 0;
        for (int report = 1; report <= Reports; report++)
        {
            long until = (long)count * report / Reports;
            await Task.WhenAll(Enumerable.Range(0, Parallel).Select(_ => Task.Run(async () =>
            {
                for (long i; (i = Interlocked.Increment(ref begun)) <= until;)
                {
                    try
                    {
                        await OneAsync(model, (int)i);
                        Interlocked.Increment(ref completed);
                    }
                    catch (OperationCanceledException) { Interlocked.Increment(ref cancelled); }
                    catch (EngineBusyException) { Interlocked.Increment(ref refused); }
                }
            })));
            begun = until; // each of them has counted one too many
            GC.Collect();
            GC.WaitForPendingFinalizers();
            EngineStatistics s = model.Statistics;
            double anonymous = AnonymousBytes() / 1e6, managed = GC.GetTotalMemory(true) / 1e6;
            if (report == 2) early = anonymous + managed;
            late = anonymous + managed;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{until,10}{Stopwatch.GetElapsedTime(started).TotalSeconds,10:0}{completed,11}{cancelled,11}{refused,9}{anonymous,14:0.0}{managed,12:0.00}{Process.GetCurrentProcess().Threads.Count,9}{s.CachedTokens,9}{s.Preemptions,11}"));
        }
        EngineStatistics end = model.Statistics;
        bool clean = end is { RunningSequences: 0, QueuedRequests: 0, UsedCacheBlocks: 0 }, flat = late <= early * Tolerated, whole = completed + cancelled + refused == count;
        Console.WriteLine($"every request ended: {whole}; nothing is held: {clean}; memory stayed flat: {flat}");
        return clean && flat && whole ? 0 : 1;
    }

    private static async Task OneAsync(LanguageModel model, int i)
    {
        var options = new GenerationOptions { MaxTokens = 1 + i % 8, Seed = i, Tenant = i % 5 == 0 ? $"tenant {i % 7}" : null, Priority = i % 3 };
        string question = $"What is {i % 1000} + {i * 7 % 1000}?";
        using var stop = new CancellationTokenSource();
        switch (i % 9)
        {
            case 0:
                await foreach (GenerationUpdate _ in model.GenerateAsync([Message.User(question)], options with { MaxTokens = 200 })) break; // left early
                break;
            case 1:
                stop.CancelAfter(i % 20);
                await foreach (GenerationUpdate _ in model.GenerateAsync([Message.User(question)], options with { MaxTokens = 300, IgnoreEndOfTurn = true }, stop.Token)) { }
                break;
            case 2:
                await model.ScoreAsync(model.Tokenizer.Encode(question), CancellationToken.None);
                break;
            case 3:
                await model.EmbedAsync([question]);
                break;
            case 4:
                await foreach (ChoiceUpdate _ in model.GenerateChoicesAsync([Message.User(question)], 2, options)) { }
                break;
            case 5:
                await foreach (GenerationUpdate _ in model.GenerateAsync([Message.User(question)], options with { Thinking = false, Constraint = new OutputConstraint.Json() })) { }
                break;
            case 6:
                await foreach (GenerationUpdate _ in model.CompleteAsync($"{question} {new string('x', i % 300)}", options)) { }
                break;
            default:
                await model.ChatAsync(question, options);
                break;
        }
    }

    /// <summary>Memory of the process's own; 0 where the system does not say.</summary>
    private static long AnonymousBytes()
    {
        if (!OperatingSystem.IsLinux()) return 0;
        string line = File.ReadLines("/proc/self/status").First(l => l.StartsWith("RssAnon:", StringComparison.Ordinal));
        return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024;
    }
}
