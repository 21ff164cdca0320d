using System.CommandLine;
using System.Globalization;

namespace DeepSeek.Cli.Commands;

/// <summary>Measures how well a model predicts a text.</summary>
internal sealed class PerplexityCommand : Command
{
    private readonly Argument<FileInfo> file = new("file") { Description = "A text file." };
    private readonly Option<int> window = new("--window") { Description = "Tokens in a window; each is scored on its own.", DefaultValueFactory = _ => 512 };
    private readonly ModelOptions model = new();

    public PerplexityCommand() : base("perplexity", "Measure how well a model predicts a text (lower is better).")
    {
        Arguments.Add(file);
        Options.Add(window);
        model.AddTo(this);
        SetAction(RunAsync);
    }

    private async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        string text = await File.ReadAllTextAsync(parsed.GetRequiredValue(file).FullName, cancellationToken);
        int size = parsed.GetValue(window);
        if (size < 2) throw new InvalidOptionException($"--window is {size}, expected at least 2.");
        await using LanguageModel loaded = await model.LoadAsync(parsed, cancellationToken);
        int[] ids = loaded.Tokenizer.Encode(text);
        if (ids.Length < 2) throw new InvalidOptionException("The text has fewer than two tokens: nothing to predict.");
        double sum = 0;
        int scored = 0;
        for (int at = 0; at < ids.Length - 1; at += size)
        {
            IReadOnlyList<float> score = await loaded.ScoreAsync(ids[at..Math.Min(at + size, ids.Length)], cancellationToken);
            sum -= score.Sum(s => (double)s);
            scored += score.Count;
            Terminal.Status(string.Create(CultureInfo.InvariantCulture, $"{at + size} of {ids.Length} tokens, perplexity {Math.Exp(sum / Math.Max(1, scored)):0.000}"));
        }
        Terminal.EndStatus();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"perplexity {Math.Exp(sum / scored):0.0000}, mean negative log-likelihood {sum / scored:0.00000} over {scored} tokens in windows of {size}"));
        return 0;
    }
}
