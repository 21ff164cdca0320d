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

    /// <summary>Options for generating.</summary>
    public GenerationOptions Options(ParseResult parsed) => new()
    {
        Temperature = parsed.GetValue(temperature),
        TopK = parsed.GetValue(topK),
        TopP = parsed.GetValue(topP),
        MinP = parsed.GetValue(minP),
        RepetitionPenalty = parsed.GetValue(repetitionPenalty),
        Seed = parsed.GetValue(seed),
        MaxTokens = parsed.GetValue(maxTokens),
        StopSequences = parsed.GetValue(stop) is { Length: > 0 } texts ? texts : null,
        Thinking = parsed.GetValue(thinking),
        ThinkingBudget = parsed.GetValue(thinkingBudget),
    };
}
