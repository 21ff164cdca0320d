using System.CommandLine;

namespace DeepSeek.Cli;

/// <summary>The options of every command that generates text.</summary>
internal sealed class SamplingOptions
{
    private readonly Option<float?> temperature = new("--temperature") { Description = "0 always takes the most probable token. Default: the model's." };
    private readonly Option<int?> topK = new("--top-k") { Description = "Keep the K most probable tokens. Default: the model's." };
    private readonly Option<float?> topP = new("--top-p") { Description = "Keep the most probable tokens up to this sum of probabilities. Default: the model's." };
    private readonly Option<float?> minP = new("--min-p") { Description = "Keep tokens at least this probable relative to the best. Default: the model's." };
    private readonly Option<float?> repetitionPenalty = new("--repetition-penalty") { Description = "Over 1 discourages tokens that occurred. Default: the model's." };
    private readonly Option<long?> seed = new("--seed") { Description = "The same seed gives the same answer. Default: a new one each time." };
    private readonly Option<int?> maxTokens = new("--max-tokens", "-n") { Description = "Longest answer, in tokens. Default: what the context holds." };
    private readonly Option<string[]> stop = new("--stop") { Description = "The answer ends before this text; may be repeated." };
    private readonly Option<bool?> thinking = new("--thinking") { Description = "true or false: whether a model that can should reason first. Default: the model's." };
    private readonly Option<int?> thinkingBudget = new("--thinking-budget") { Description = "After that many tokens of reasoning the answer begins." };

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command)
    {
        foreach (Option o in (Option[])[temperature, topK, topP, minP, repetitionPenalty, seed, maxTokens, stop, thinking, thinkingBudget]) command.Options.Add(o);
    }

    /// <summary>For the embedded SmolLM2, whose file brings no settings: its model card's temperature and top-p; a model this small also needs help not to repeat itself, and an end.</summary>
    private static readonly GenerationOptions ForEmbeddedModel = new() { Temperature = 0.2f, TopP = 0.9f, RepetitionPenalty = 1.1f, MaxTokens = 512 };

    /// <summary>Options for generating.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="embedded">Whether the embedded default model runs.</param>
    public GenerationOptions Options(ParseResult parsed, bool embedded)
    {
        GenerationOptions defaults = embedded ? ForEmbeddedModel : new GenerationOptions();
        return Given(parsed) with
        {
            Temperature = parsed.GetValue(temperature) ?? defaults.Temperature,
            TopP = parsed.GetValue(topP) ?? defaults.TopP,
            RepetitionPenalty = parsed.GetValue(repetitionPenalty) ?? defaults.RepetitionPenalty,
            MaxTokens = parsed.GetValue(maxTokens) ?? defaults.MaxTokens,
        };
    }

    private GenerationOptions Given(ParseResult parsed) => new()
    {
        TopK = parsed.GetValue(topK),
        MinP = parsed.GetValue(minP),
        Seed = parsed.GetValue(seed),
        StopSequences = parsed.GetValue(stop) is { Length: > 0 } texts ? texts : null,
        Thinking = parsed.GetValue(thinking),
        ThinkingBudget = parsed.GetValue(thinkingBudget),
    };
}
