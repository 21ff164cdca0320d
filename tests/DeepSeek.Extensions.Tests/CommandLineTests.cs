using System.Diagnostics;
using System.Text;

namespace DeepSeek.Extensions.Tests;

/// <summary>The command line as somebody meets it who sees it for the first time.</summary>
[Collection(Models.Collection)]
public class CommandLineTests
{
    private static readonly string TinyPath = Models.TinyPath;

    [Fact]
    public async Task AQuestionNeedsNoCommand_AndOnlyItsAnswerIsOutput()
    {
        (int code, string output, string errors) = await RunAsync("", "--model", "tiny-reasoner", "What is 348 + 265?", "--temperature", "0", "--stats");
        Assert.Equal((0, "348 + 265 = 613."), (code, output.Trim()));
        Assert.Contains("carry", errors, StringComparison.Ordinal); // thoughts, and what it cost
        Assert.Contains("answer", errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AConversationIsRemembered_AndMistakesAreSaid()
    {
        (int code, string output, string errors) = await RunAsync("What is 348 + 265?\n/nonsense\n/clear\nWhat is 207 + 611?\n/exit\n", "chat", "-m", TinyPath, "--temperature", "0");
        Assert.Equal(0, code);
        Assert.Equal(["348 + 265 = 613.", "207 + 611 = 818."], output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));
        Assert.Contains("/clear", errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WhatIsWrong_IsSaidInALine_NotInAPageOfHelp()
    {
        await Expect(2, "no option '--modle'", "--modle", "x");
        await Expect(2, "no option '--modle'", "--modle");
        await Expect(2, "'abc' for option '--max-tokens' as a whole number", "generate", "--max-tokens", "abc", "hi");
        await Expect(2, "Required argument missing", "quantise", "tiny-reasoner");
        await Expect(1, "tiny-reasoner", "-m", "nothere", "hi");
        await Expect(1, "no format that can be written", "quantise", TinyPath, "x.gguf", "Q9");
        await Expect(1, "expected auto, on or off", "bench", "--speculate", "maybe");

        static async Task Expect(int code, string words, params string[] arguments)
        {
            (int ended, string output, string errors) = await RunAsync("", arguments);
            Assert.True(ended == code && errors.Contains(words, StringComparison.Ordinal) && output.Length == 0 && errors.Count(c => c == '\n') <= 4, $"{string.Join(' ', arguments)}: {ended}\n{output}{errors}");
        }
    }

    [Fact]
    public async Task EveryCommandRuns()
    {
        string folder = Directory.CreateTempSubdirectory("deepseek-cli-").FullName, small = Path.Combine(folder, "small.gguf");
        try
        {
            await Expect("Q4_K", ["quantise", TinyPath, small, "Q4_K_M"], ["inspect", small, "--json"]);
            await Expect("verdict", ["inspect", "tiny-reasoner"]);
            await Expect("perplexity", ["perplexity", Path.Combine(Models.Root, "LICENSE"), "-m", small]);
            await Expect("369 +he", ["tokenize", "hello", "-m", small]);
            await Expect("[1-9]", ["tokenize", "hello", "--count", "-m", small]);
            await Expect("[a-z0-9]", ["generate", "First Citizen:", "-n", "6", "-m", small]);
            await Expect("reproducible: [0-9.]+ times the prefill, [0-9.]+ times the decode of default", ["bench", "-m", small, "-p", "40", "-g", "4", "-r", "1"]);
            await Expect("throughput_tokens_per_second.*time_to_first_token_cached_seconds_p95.*compared", ["bench", "-m", small, "-p", "40", "-g", "4", "-r", "1", "--concurrency", "3", "--json"]);
            await Expect("drafted tokens accepted +[0-9]+ of [1-9]", ["bench", "-m", TinyPath, "--text", "What is 1 + 2?", "--speculate", "on", "--mode", "default", "-r", "1"]);
            await Expect("of which 64 were restored", ["bench", "-m", small, "--session", "-p", "70", "-r", "1"]);
        }
        finally { Directory.Delete(folder, true); }

        static async Task Expect(string pattern, params string[][] lines)
        {
            string said = "";
            foreach (string[] line in lines)
            {
                (int code, string output, string errors) = await RunAsync("", line);
                Assert.True(code == 0, $"{string.Join(' ', line)}: {code}\n{output}{errors}");
                said = output;
            }
            Assert.Matches(pattern, said);
        }
    }

    private static async Task<(int Code, string Output, string Errors)> RunAsync(string input, params string[] arguments)
    {
        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;
        string dll = Path.Combine(Models.Root, "samples", "DeepSeek.Cli", "bin", configuration, "net10.0", "DeepSeek.Cli.dll");
        using Process process = Process.Start(new ProcessStartInfo("dotnet", [dll, .. arguments])
        {
            WorkingDirectory = Models.Root, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, StandardOutputEncoding = Encoding.UTF8,
        })!;
        await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        Task<string> output = process.StandardOutput.ReadToEndAsync(), errors = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, await output, await errors);
    }
}
