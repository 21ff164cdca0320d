using System.Text.Json;

namespace DeepSeek;

/// <summary>
/// How one answer is generated. Every property that is null takes the model's own default (its <c>generation_config.json</c>), and where the model has
/// none, the constant named in its description. Immutable; use <c>with</c> to derive.
/// </summary>
public sealed record GenerationOptions
{
    /// <summary>Temperature where neither the caller nor the model says: 0.6, which DeepSeek recommends for R1 and its distilled models (https://github.com/deepseek-ai/DeepSeek-R1).</summary>
    public const float DefaultTemperature = 0.6f;

    /// <summary>Top-p where neither the caller nor the model says: 0.95, from the same recommendation.</summary>
    public const float DefaultTopP = 0.95f;

    /// <summary>Divides the logits; 0 takes the most probable token always. 0 to 100. Null: the model's, else <see cref="DefaultTemperature"/>.</summary>
    public float? Temperature { get; init; }

    /// <summary>Keeps the K most probable tokens; 0 keeps all. Null: the model's, else 0.</summary>
    public int? TopK { get; init; }

    /// <summary>Keeps the most probable tokens whose probabilities add up to this; over 0 and up to 1 (1 keeps all). Null: the model's, else <see cref="DefaultTopP"/>.</summary>
    public float? TopP { get; init; }

    /// <summary>Keeps tokens at least this probable relative to the most probable one; 0 to 1 (0 keeps all). Null: the model's, else 0.</summary>
    public float? MinP { get; init; }

    /// <summary>Divides (multiplies, where negative) the logits of tokens in prompt and answer; over 0 (1: none). Null: the model's, else 1.</summary>
    public float? RepetitionPenalty { get; init; }

    /// <summary>Subtracted from the logits of every token that the answer contains already. −2 to 2. Null: 0.</summary>
    public float? PresencePenalty { get; init; }

    /// <summary>Subtracted from a token's logit once for each time that the answer contains it. −2 to 2. Null: 0.</summary>
    public float? FrequencyPenalty { get; init; }

    /// <summary>Added to the logits of single tokens (by id) before anything else. Null: none.</summary>
    public IReadOnlyDictionary<int, float>? LogitBias { get; init; }

    /// <summary>The draw at position i depends on this and i only. Null: a new one for each request.</summary>
    public long? Seed { get; init; }

    /// <summary>At most this many tokens are generated, reasoning included; at least 1. Null: as many as the context holds.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>The answer ends before the first of these strings, wherever token borders fall. Null: none.</summary>
    public IReadOnlyList<string>? StopSequences { get; init; }

    /// <summary>Token ids that end the answer, besides the model's own end-of-turn tokens. Null: none.</summary>
    public IReadOnlyList<int>? StopTokens { get; init; }

    /// <summary>Goes on through the model's end-of-turn tokens, up to <see cref="MaxTokens"/>: for measuring.</summary>
    public bool IgnoreEndOfTurn { get; init; }

    /// <summary>Report each token's log-probability, and that many of the most probable alternatives (0 to 20). Null: no log-probabilities.</summary>
    public int? TopLogProbabilities { get; init; }

    /// <summary>Whether a model that can should reason first. Null: as its chat template does by default.</summary>
    public bool? Thinking { get; init; }

    /// <summary>After that many tokens of reasoning the thought is closed and the answer begins. Null: no limit.</summary>
    public int? ThinkingBudget { get; init; }

    /// <summary>Tools that the model may call. Null: none.</summary>
    public IReadOnlyList<ToolDefinition>? Tools { get; init; }

    /// <summary>Whether and which of <see cref="Tools"/> is called. Null: <see cref="ToolChoice.Auto"/>. Required calls are enforced token by token, so that they cannot fail.</summary>
    public ToolChoice? ToolChoice { get; init; }

    /// <summary>Whether one turn may call several tools. Null: as the model does.</summary>
    public bool? AllowParallelToolCalls { get; init; }

    /// <summary>
    /// What the answer must look like; enforced after the reasoning, token by token. Null: free text. Together with <see cref="Tools"/> a turn is either an answer that looks like this, or
    /// calls that fit their tools; where a call is required it is calls, and this waits for the turn that answers.
    /// </summary>
    public OutputConstraint? Constraint { get; init; }

    /// <summary>Further variables for the chat template (<c>enable_thinking</c>, <c>reasoning_effort</c>, …). Null: none.</summary>
    public IReadOnlyDictionary<string, JsonElement>? TemplateVariables { get; init; }

    /// <summary>
    /// Lets text of the caller's messages that spells a control token (<c>&lt;|im_start|&gt;</c>, …) become that token. Off by default: with it on, whoever
    /// writes a message can end it and speak as the system or as the model.
    /// </summary>
    public bool ParseSpecialTokensInMessages { get; init; }

    /// <summary>Higher goes first where requests wait. Default 0.</summary>
    public int Priority { get; init; }

    /// <summary>Requests of different tenants never share cached prefixes. Null: the common tenant.</summary>
    public string? Tenant { get; init; }
}

/// <summary>Whether and which tool is called.</summary>
public abstract record ToolChoice
{
    private ToolChoice() { }

    /// <summary>The model decides.</summary>
    public static ToolChoice Auto { get; } = new AutoChoice();

    /// <summary>No tool is called; the tools are not shown to the model.</summary>
    public static ToolChoice None { get; } = new NoneChoice();

    /// <summary>At least one tool is called.</summary>
    public static ToolChoice Required { get; } = new RequiredChoice();

    /// <summary>This tool is called.</summary>
    /// <param name="Name">Its name; one of <see cref="GenerationOptions.Tools"/>.</param>
    public sealed record Function(string Name) : ToolChoice;

    private sealed record AutoChoice : ToolChoice;

    private sealed record NoneChoice : ToolChoice;

    private sealed record RequiredChoice : ToolChoice;
}

/// <summary>What an answer is forced to look like: a JSON document, an instance of a JSON Schema, a match of a regular expression, or one of a few strings.</summary>
public abstract record OutputConstraint
{
    private OutputConstraint() { }

    /// <summary>Any JSON object.</summary>
    public sealed record Json : OutputConstraint;

    /// <summary>An instance of a JSON Schema.</summary>
    /// <param name="Schema">The schema; keywords that cannot be enforced are refused by name before anything is generated.</param>
    public sealed record JsonSchema(JsonElement Schema) : OutputConstraint;

    /// <summary>A text that a regular expression matches as a whole.</summary>
    /// <param name="Pattern">The expression: literals, classes, groups, alternatives and quantifiers; no look-around, no back references.</param>
    public sealed record Regex(string Pattern) : OutputConstraint;

    /// <summary>One of a few strings.</summary>
    /// <param name="Values">The strings; at least one.</param>
    public sealed record Choice(IReadOnlyList<string> Values) : OutputConstraint;
}
