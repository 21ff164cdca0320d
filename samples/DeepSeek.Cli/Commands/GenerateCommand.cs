using System.CommandLine;

namespace DeepSeek.Cli.Commands;

/// <summary>Continues a text as it stands, without a chat template: for base models, and for prompts that are written out.</summary>
internal sealed class GenerateCommand : Command
{
    private readonly Argument<string?> prompt = CommandLine.Text("prompt", "The text to continue; without it, standard input.");
    private readonly Option<bool> stats = new("--stats") { Description = "At the end: tokens and tokens per second." };
    private readonly Option<bool> special = new("--special") { Description = "Text that spells a control token becomes that token." };
    private readonly ModelOptions model = new();
    private readonly SamplingOptions sampling = new();

    public GenerateCommand() : base("generate", "Continue a text as it stands, without a chat template.")
    {
        Arguments.Add(prompt);
        Options.Add(stats);
        Options.Add(special);
        model.AddTo(this);
        sampling.AddTo(this);
        SetAction(RunAsync);
    }

    private async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        string text = parsed.GetValue(prompt) ?? await Terminal.ReadInputAsync(cancellationToken);
        await using LanguageModel loaded = await model.LoadAsync(parsed, cancellationToken);
        GenerationOptions options = sampling.Options(parsed, model.IsEmbeddedDefault(parsed)) with { ParseSpecialTokensInMessages = parsed.GetValue(special) };
        await foreach (GenerationUpdate update in loaded.CompleteAsync(text, options, cancellationToken))
        {
            Terminal.Write(update.Text);
            if (update.Usage is { } usage && parsed.GetValue(stats)) Terminal.Notice("\n" + Statistics.Line(usage));
        }
        Terminal.Write("\n");
        return 0;
    }
}
