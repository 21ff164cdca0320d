using System.Text.Json;
using Microsoft.Extensions.AI;

namespace DeepSeek.Extensions;

/// <summary>Turns the options of Microsoft.Extensions.AI into ours. Nothing of the caller's is changed.</summary>
internal static class RequestMapper
{
    /// <summary>Tokens of thought that <see cref="ReasoningEffort.Low"/> allows where the caller sets no budget.</summary>
    public const int LowThinkingBudget = 1_024;

    /// <summary>Tokens of thought that <see cref="ReasoningEffort.Medium"/> allows where the caller sets no budget.</summary>
    public const int MediumThinkingBudget = 8_192;

    private static readonly JsonElement NoParameters = JsonElement.Parse("""{"type":"object","properties":{}}""");

    /// <summary>Options for generating. <see cref="ChatOptions.RawRepresentationFactory"/> may return <see cref="GenerationOptions"/> for what <see cref="ChatOptions"/> lacks; the latter's own settings win.</summary>
    /// <exception cref="InvalidOptionException">Something is asked for that cannot be.</exception>
    public static GenerationOptions Options(ChatOptions? options, IChatClient client)
    {
        if (options is null) return new GenerationOptions();
        if (options.ConversationId is { } id)
            throw new InvalidOptionException($"ChatOptions.ConversationId is '{id}', but this client keeps no conversations: hand over the whole list of messages, and leave it null. What was computed before is found in the cache by itself.");
        if (options.ContinuationToken is not null || options.AllowBackgroundResponses == true)
            throw new InvalidOptionException("ChatOptions.AllowBackgroundResponses and ContinuationToken are for services that go on without the caller; this client runs inside the caller's process. Leave them unset.");
        GenerationOptions g = options.RawRepresentationFactory?.Invoke(client) as GenerationOptions ?? new GenerationOptions();
        g = g with
        {
            Temperature = options.Temperature ?? g.Temperature,
            TopP = options.TopP ?? g.TopP,
            TopK = options.TopK ?? g.TopK,
            FrequencyPenalty = options.FrequencyPenalty ?? g.FrequencyPenalty,
            PresencePenalty = options.PresencePenalty ?? g.PresencePenalty,
            Seed = options.Seed ?? g.Seed,
            MaxTokens = options.MaxOutputTokens ?? g.MaxTokens,
            StopSequences = options.StopSequences is { Count: > 0 } stop ? [.. stop] : g.StopSequences,
            AllowParallelToolCalls = options.AllowMultipleToolCalls ?? g.AllowParallelToolCalls,
            Tools = options.Tools is { Count: > 0 } tools ? Tools(tools) : g.Tools,
            ToolChoice = options.ToolMode switch
            {
                null => g.ToolChoice,
                NoneChatToolMode => ToolChoice.None,
                RequiredChatToolMode { RequiredFunctionName: { } name } => new ToolChoice.Function(name),
                RequiredChatToolMode => ToolChoice.Required,
                _ => ToolChoice.Auto,
            },
            Constraint = options.ResponseFormat switch
            {
                null or ChatResponseFormatText => g.Constraint,
                ChatResponseFormatJson { Schema: { } schema } => new OutputConstraint.JsonSchema(schema),
                ChatResponseFormatJson => new OutputConstraint.Json(),
                var other => throw new InvalidOptionException($"ChatOptions.ResponseFormat is {other.GetType().Name}; text, JSON and JSON Schema are known."),
            },
        };
        return options.Reasoning?.Effort switch
        {
            null => g,
            ReasoningEffort.None => g with { Thinking = false },
            { } effort => g with
            {
                Thinking = true,
                ThinkingBudget = g.ThinkingBudget ?? effort switch { ReasoningEffort.Low => LowThinkingBudget, ReasoningEffort.Medium => MediumThinkingBudget, _ => null },
                TemplateVariables = WithEffort(g.TemplateVariables, effort),
            },
        };
    }

    /// <summary>Templates that know efforts read <c>reasoning_effort</c>; the others are held to a budget.</summary>
    private static Dictionary<string, JsonElement> WithEffort(IReadOnlyDictionary<string, JsonElement>? variables, ReasoningEffort effort)
    {
        var all = variables is null ? [] : new Dictionary<string, JsonElement>(variables);
        all.TryAdd("reasoning_effort", JsonElement.Parse(effort switch { ReasoningEffort.Low => "\"low\"", ReasoningEffort.Medium => "\"medium\"", ReasoningEffort.High => "\"high\"", _ => "\"max\"" }));
        return all;
    }

    private static List<ToolDefinition> Tools(IList<AITool> tools)
    {
        var all = new List<ToolDefinition>();
        foreach (AITool tool in tools)
        {
            if (tool is not AIFunctionDeclaration f)
                throw new InvalidOptionException($"ChatOptions.Tools contains {tool?.GetType().Name ?? "null"} '{tool?.Name}'; this client calls functions (AIFunction and AIFunctionDeclaration) only.");
            if (all.Exists(t => t.Name == f.Name)) throw new InvalidOptionException($"ChatOptions.Tools contains two functions named '{f.Name}'. Give them different names.");
            bool declared = f.JsonSchema.ValueKind == JsonValueKind.Object && f.JsonSchema.EnumerateObject().Any();
            // What the function returns is not shown: hosted models are not told either, and were not trained to be.
            all.Add(new ToolDefinition(f.Name, f.Description.Length > 0 ? f.Description : null, declared ? f.JsonSchema : NoParameters));
        }
        return all;
    }
}
