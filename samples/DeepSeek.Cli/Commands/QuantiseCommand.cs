using System.CommandLine;
using System.Diagnostics;

namespace DeepSeek.Cli.Commands;

/// <summary>Writes a model as a GGUF file of another number format.</summary>
internal sealed class QuantiseCommand : Command
{
    private readonly Argument<string> source = new("source") { Description = "A GGUF file, a Hugging Face folder, or the name of an embedded model." };
    private readonly Argument<string> destination = new("destination") { Description = "The GGUF file to write." };
    private readonly Argument<string> type = new("type") { Description = "Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, BF16, F16, or a mix: Q4_K_M (the usual one), Q5_K_M." };

    public QuantiseCommand() : base("quantise", "Write a model as a GGUF file of another number format.")
    {
        Aliases.Add("quantize");
        Arguments.Add(source);
        Arguments.Add(destination);
        Arguments.Add(type);
        SetAction(RunAsync);
    }

    private async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        string to = parsed.GetRequiredValue(destination);
        long start = Stopwatch.GetTimestamp();
        var progress = new Progress<LoadProgress>(p => Terminal.Status($"{p.Fraction:P0} {p.Stage}"));
        await LanguageModel.QuantiseAsync(ModelOptions.Find(parsed.GetRequiredValue(source)), to, parsed.GetRequiredValue(type), progress, cancellationToken);
        Terminal.EndStatus();
        Console.WriteLine($"{to}: {new FileInfo(to).Length / 1e6:0.0} MB in {Stopwatch.GetElapsedTime(start).TotalSeconds:0.0} s");
        return 0;
    }
}
