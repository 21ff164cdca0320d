using System.Diagnostics;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;

namespace DeepSeek.Extensions.Tests;

/// <summary>Each sample runs, as its first lines say, from the repository's root.</summary>
[Collection(Models.Collection)]
public class SampleTests(Models models)
{
    [Fact]
    public async Task ChatMinimalAnswersAndRemembers()
    {
        (string answer, string thought) = await RunAsync("Chat.Minimal", "What is 348 + 265?\nWhat is 207 + 611?\n\n", Models.TinyPath);
        Assert.Equal(["348 + 265 = 613.", "207 + 611 = 818."], answer.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.Contains("carry", thought, StringComparison.Ordinal);
        (answer, _) = await RunAsync("Chat.Minimal", "Hello! Who are you?\n\n"); // sampled: what it says is left to chance
        Assert.NotEqual("", answer.Trim());
    }

    [Fact]
    public async Task ToolsAreCalledUntilTheModelAnswers()
    {
        (string output, _) = await RunAsync("Tools", "");
        Assert.Contains("get_weather(city: Lisbon)", output, StringComparison.Ordinal);
        Assert.EndsWith("It is 21 degrees and sunny in Lisbon.", output.TrimEnd(), StringComparison.Ordinal);
        (output, _) = await RunAsync("Tools", "", "Start a 20 minute timer.");
        Assert.EndsWith("The timer for 20 minutes is running.", output.TrimEnd(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task StructuredOutputCanBeRead()
    {
        (string output, _) = await RunAsync("StructuredOutput", "");
        Assert.Matches("person: .*Maria.*, 34, Lisbon", output);
        Assert.Matches("choice: (positive|negative)", output);
        Assert.Matches("date:   (19|20)[0-9]{2}-(0[1-9]|1[0-2])-[0-3][0-9]", output);
    }

    [Fact]
    public async Task WebApiAnswersAndStreams()
    {
        // As its first line says: dotnet run would start a web project in its own folder, and the path would lead nowhere.
        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;
        using Process server = Start("run", "--no-build", "-c", configuration, "--project", "samples/WebApi", "--", "--urls=http://127.0.0.1:0", "--DeepSeek:Path=samples/models/tiny-reasoner");
        try
        {
            string? address = null;
            var output = new StringBuilder();
            while (address is null && await server.StandardOutput.ReadLineAsync() is { } line)
            {
                output.AppendLine(line);
                if (line.IndexOf("http://127.0.0.1:", StringComparison.Ordinal) is var at and >= 0) address = line[at..].Trim();
            }
            if (address is null) Assert.Fail(output + await server.StandardError.ReadToEndAsync()); // it has ended
            using var http = new HttpClient { BaseAddress = new Uri(address) };
            HttpResponseMessage response = await http.PostAsJsonAsync("/answer", new { question = "What is 348 + 265?" });
            JsonElement answer = await response.Content.ReadFromJsonAsync<JsonElement>();
            Assert.Equal("348 + 265 = 613.", answer.GetProperty("text").GetString());
            Assert.Contains("carry", answer.GetProperty("thought").GetString(), StringComparison.Ordinal);
            string events = await http.GetStringAsync("/stream?question=What%20is%20348%20%2B%20265%3F");
            Assert.Contains("event: thought", events, StringComparison.Ordinal);
            Assert.Contains("event: answer", events, StringComparison.Ordinal);
            Assert.Equal("Healthy", await http.GetStringAsync("/health"));
            HttpResponseMessage empty = await http.PostAsJsonAsync("/answer", new { });
            Assert.Equal(System.Net.HttpStatusCode.BadRequest, empty.StatusCode);
        }
        finally
        {
            server.Kill(entireProcessTree: true);
            await server.WaitForExitAsync();
        }
    }

    /// <summary>The remote engine is a server of the protocol over our own model, which calls itself otherwise than the local one.</summary>
    [Fact]
    public async Task HybridRoutingChoosesAndFallsBack()
    {
        await using OpenAIServer remote = await OpenAIServer.StartAsync(models.Client);
        string[] there = [$"--Remote:Endpoint={remote.Endpoint}", "--Remote:Model=big", "--Remote:TimeoutSeconds=20", $"--Local:Path={Models.SmolPath}", "--Logging:LogLevel:Default=None"];
        string local = "SmolLM2", big = models.Tiny.Info.Name;

        await Expect(local, 0, [.. there, "--Question=Hello"]);
        await Expect(big, 1, [.. there, "--Question=What is 348 + 265?", "--LocalMaxCharacters=5"]);
        await Expect(big, 1, [.. there, "--Question=What is 348 + 265?", $"--Local:Path={Path.Combine(Models.Root, "Library.sln")}"]); // the local model cannot be loaded
        remote.Status = 503;
        await Expect(local, 2, [.. there, "--Question=Hello", "--LocalMaxCharacters=1"]); // the remote engine is down: asked twice, by the policy of the OpenAI client

        async Task Expect(string model, int requests, params string[] arguments)
        {
            int before = remote.Requests;
            (string output, string errors) = await RunAsync("HybridRouting", "", arguments);
            Assert.True(output.Contains(model, StringComparison.OrdinalIgnoreCase), output + errors);
            if (model == big) Assert.Contains("613", output, StringComparison.Ordinal);
            Assert.Equal(requests, remote.Requests - before);
        }
    }

    [Fact]
    public void EachIsShort()
    {
        foreach (string sample in (string[])["Chat.Minimal", "Tools", "StructuredOutput", "WebApi", "HybridRouting", "SemanticKernel", "AgentFramework"])
            Assert.InRange(Directory.GetFiles(Path.Combine(Models.Root, "samples", sample), "*.cs").Sum(f => File.ReadLines(f).Count()), 5, 100);
    }

    private static async Task<(string Output, string Errors)> RunAsync(string sample, string input, params string[] arguments)
    {
        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name; // built beside the tests, in the same one
        using Process process = Start([Path.Combine(Models.Root, "samples", sample, "bin", configuration, "net10.0", $"{sample}.dll"), .. arguments]);
        await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        Task<string> output = process.StandardOutput.ReadToEndAsync(), errors = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{sample} ended with {process.ExitCode}: {await output}{await errors}");
        return (await output, await errors);
    }

    private static Process Start(params string[] arguments) => Process.Start(new ProcessStartInfo("dotnet", arguments)
    {
        WorkingDirectory = Models.Root, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, StandardOutputEncoding = Encoding.UTF8,
    })!;
}
