using System.CommandLine;
using System.Text.Json;

namespace DeepSeek.Cli.Commands;

/// <summary>Shows how a model's tokenizer cuts a text.</summary>
internal sealed class TokenizeCommand : Command
{
    private readonly Argument<string?> text = CommandLine.Text("text", "The text; without it, standard input.");
    private readonly Option<bool> special = new("--special") { Description = "Text that spells a control token becomes that token." };
    private readonly Option<bool> count = new("--count") { Description = "Only the number of tokens." };
    private readonly ModelOptions model = new();

    public TokenizeCommand() : base("tokenize", "Show the tokens of a text.")
    {
        Arguments.Add(text);
        Options.Add(special);
        Options.Add(count);
        Options.Add(model.Model);
        SetAction(RunAsync);
    }

    private async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        string input = parsed.GetValue(text) ?? await Terminal.ReadInputAsync(cancellationToken);
        Tokenizer tokenizer = Tokenizer.Load(model.Path(parsed));
        int[] ids = tokenizer.Encode(input, parsed.GetValue(special));
        if (parsed.GetValue(count))
        {
            Console.WriteLine(ids.Length);
            return 0;
        }
        foreach (int id in ids) Console.WriteLine($"{id,8}  {JsonEncodedText.Encode(tokenizer.Decode([id]), System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}");
        Terminal.Notice($"{ids.Length} tokens");
        return 0;
    }
}
