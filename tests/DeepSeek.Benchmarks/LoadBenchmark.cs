using System.Diagnostics;

namespace DeepSeek.Benchmarks;

/// <summary>How long opening a model takes: first in this process (code is compiled, files are looked for), then again (both warm), each to the first generated token too.</summary>
internal static class LoadBenchmark
{
    public static async Task RunAsync(string path, int rounds)
    {
        for (int round = 0; round < rounds; round++)
        {
            long start = Stopwatch.GetTimestamp();
            await using LanguageModel model = await LanguageModel.LoadAsync(path);
            double loaded = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            await foreach (GenerationUpdate _ in model.CompleteAsync([1], new() { MaxTokens = 1, Temperature = 0 })) { }
            Console.WriteLine($"{(round == 0 ? "first" : "again")}: {loaded:F0} ms to load, {Stopwatch.GetElapsedTime(start).TotalMilliseconds:F0} ms to the first token");
        }
    }
}
