namespace DeepSeek;

/// <summary>What a <see cref="GenerationUpdate"/> carries.</summary>
public enum UpdateKind
{
    /// <summary>Text of the answer.</summary>
    Answer,
    /// <summary>Text of the model's reasoning.</summary>
    Reasoning,
    /// <summary>One whole tool call, in <see cref="GenerationUpdate.ToolCall"/>.</summary>
    ToolCall,
    /// <summary>The last update: <see cref="GenerationUpdate.FinishReason"/> and <see cref="GenerationUpdate.Usage"/> are set, there is no text.</summary>
    End,
}

/// <summary>Why a generation ended.</summary>
public enum FinishReason
{
    /// <summary>The model ended its turn, or a stop sequence or stop token came.</summary>
    Stop,
    /// <summary><see cref="GenerationOptions.MaxTokens"/> or the context was used up.</summary>
    Length,
    /// <summary>The model called tools.</summary>
    ToolCalls,
}

/// <summary>One step of a streamed answer. Text arrives in whole characters.</summary>
/// <param name="Kind">What it carries.</param>
/// <param name="Text">The text; empty for tool calls and the end.</param>
public sealed record GenerationUpdate(UpdateKind Kind, string Text)
{
    /// <summary>The tool call, for <see cref="UpdateKind.ToolCall"/>; otherwise null.</summary>
    public ToolCall? ToolCall { get; init; }

    /// <summary>The tokens whose text this update releases; empty where none was completed.</summary>
    public IReadOnlyList<GeneratedToken> Tokens { get; init; } = [];

    /// <summary>Set on the last update only.</summary>
    public FinishReason? FinishReason { get; init; }

    /// <summary>Set on the last update only.</summary>
    public GenerationUsage? Usage { get; init; }
}

/// <summary>A generated token.</summary>
/// <param name="Id">Its id in the model's vocabulary.</param>
/// <param name="LogProbability">Natural logarithm of its probability under the model before sampling settings; null unless asked for.</param>
/// <param name="Alternatives">The most probable tokens at its position, the most probable first; empty unless asked for.</param>
public readonly record struct GeneratedToken(int Id, float? LogProbability, IReadOnlyList<TokenAlternative> Alternatives);

/// <summary>A token that might have been generated.</summary>
/// <param name="Id">Its id.</param>
/// <param name="LogProbability">Natural logarithm of its probability.</param>
public readonly record struct TokenAlternative(int Id, float LogProbability);

/// <summary>What a generation cost.</summary>
public sealed record GenerationUsage
{
    /// <summary>Tokens of the prompt.</summary>
    public int PromptTokens { get; init; }

    /// <summary>Tokens of the prompt that were found in the cache and not computed again.</summary>
    public int CachedTokens { get; init; }

    /// <summary>Tokens generated, reasoning and the end-of-turn token included.</summary>
    public int GeneratedTokens { get; init; }

    /// <summary>Generated tokens that were reasoning.</summary>
    public int ReasoningTokens { get; init; }

    /// <summary>Tokens drafted by speculation.</summary>
    public int DraftedTokens { get; init; }

    /// <summary>Drafted tokens that were accepted.</summary>
    public int AcceptedTokens { get; init; }

    /// <summary>Time from the request until it was admitted.</summary>
    public TimeSpan QueueTime { get; init; }

    /// <summary>Time from admission until the first token.</summary>
    public TimeSpan PromptTime { get; init; }

    /// <summary>Time from the first token until the last.</summary>
    public TimeSpan GenerationTime { get; init; }
}
