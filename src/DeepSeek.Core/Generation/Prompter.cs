using System.Text.Json;
using DeepSeek.Text;
using DeepSeek.Text.ToolCalls;

namespace DeepSeek.Generation;

/// <summary>A conversation as the model reads it, and what it says about the answer to come.</summary>
/// <param name="Text">The prompt.</param>
/// <param name="Tokens">Its token ids.</param>
/// <param name="StartsInThought">It ends inside an open thought.</param>
/// <param name="Dialect">How calls are written; null where nothing is a call.</param>
internal sealed record Prompt(string Text, int[] Tokens, bool StartsInThought, ToolCallDialect? Dialect);

/// <summary>
/// Writes prompts: the model's chat template, with what it lacks made up for. A model whose template cannot show tools gets our own; roles that a template does not know, and turns of one
/// role behind each other where it refuses them, are put as it wants them. Immutable and thread-safe.
/// </summary>
internal sealed class Prompter
{
    private const string UserMark = "\u0001user\u0001", AnswerMark = "\u0001answer\u0001";

    private readonly ChatTemplate template;
    private readonly ChatTemplate? toolTemplate;
    private readonly Tokenizer tokenizer;
    private readonly TimeProvider clock;

    public Prompter(ChatTemplate template, IReadOnlyDictionary<string, string> specialTokens, Tokenizer tokenizer, TimeProvider clock)
    {
        (this.template, this.tokenizer, this.clock) = (template, tokenizer, clock);
        Dialect = ToolCallDialect.Detect(template.Source);
        if (Dialect?.ToolTemplate is { } own && !template.HasToolTemplate && !template.Source.Contains("tools", StringComparison.Ordinal)) toolTemplate = new ChatTemplate(own, specialTokens);
        MayThink = template.Source.Contains(ReasoningSplitter.Close, StringComparison.Ordinal) || tokenizer.IdOf(ReasoningSplitter.Close) is not null;
    }

    /// <summary>How this model writes calls; null where its template knows none.</summary>
    public ToolCallDialect? Dialect { get; }

    /// <summary>Whether answers may begin with a thought.</summary>
    public bool MayThink { get; }

    /// <summary>The prompt of a conversation.</summary>
    /// <exception cref="ChatTemplateException">The template refuses it.</exception>
    /// <exception cref="InvalidOptionException">Tools are asked for that cannot be shown, or a tool is chosen that is not there.</exception>
    public Prompt Render(IReadOnlyList<Message> messages, GenerationOptions options, bool addGenerationPrompt = true)
    {
        if (messages.Count == 0) throw new InvalidOptionException("The conversation has no messages. Give it at least one.");
        IReadOnlyList<ToolDefinition>? tools = options.Tools is { Count: > 0 } offered && options.ToolChoice != ToolChoice.None ? offered : null;
        if (options.ToolChoice is ToolChoice.Function f && tools?.Any(t => t.Name == f.Name) != true)
            throw new InvalidOptionException($"ToolChoice names the tool '{f.Name}', the tools are: {string.Join(", ", tools?.Select(t => t.Name) ?? [])}.");
        if (options.ToolChoice == ToolChoice.Required && tools is null) throw new InvalidOptionException("ToolChoice.Required needs at least one tool.");
        if (tools is not null && Dialect is null) throw new InvalidOptionException("The model's chat template knows no tools. Leave Tools empty, or use a model that was trained to call them.");
        Dictionary<string, JsonElement> variables = Variables(options);
        RenderedPrompt prompt = RenderTidily(messages, tools, variables, addGenerationPrompt);
        bool opened = addGenerationPrompt && ReasoningSplitter.IsOpenedBy(prompt.Text);
        if (opened && options.Thinking == false) // the template opens a thought whatever it is told: close it
        {
            prompt = prompt with { Text = prompt.Text.TrimEnd() + "\n\n" + ReasoningSplitter.Close + "\n\n" };
            opened = false;
        }
        return new Prompt(prompt.Text, tokenizer.Encode(prompt, options.ParseSpecialTokensInMessages), opened, tools is null ? null : Dialect);
    }

    private static Dictionary<string, JsonElement> Variables(GenerationOptions options)
    {
        var all = new Dictionary<string, JsonElement>();
        if (options.Thinking is { } thinking) // Qwen's name and DeepSeek's
            all["enable_thinking"] = all["thinking"] = JsonElement.Parse(thinking ? "true"u8 : "false"u8);
        foreach ((string name, JsonElement value) in options.TemplateVariables ?? new Dictionary<string, JsonElement>()) all[name] = value;
        return all;
    }

    private RenderedPrompt RenderTidily(IReadOnlyList<Message> messages, IReadOnlyList<ToolDefinition>? tools, Dictionary<string, JsonElement> variables, bool addGenerationPrompt)
    {
        ChatTemplate chosen = template;
        if (toolTemplate is not null && (tools is not null || messages.Any(m => m.Role == Role.Tool || m.ToolCalls.Count > 0)))
        {
            chosen = toolTemplate;
            variables["generation_prompt"] = Text(GenerationPrompt(variables));
            variables["answer_prompt"] = Text(AnswerPrompt(variables));
        }
        if (!chosen.Source.Contains("developer", StringComparison.Ordinal) && messages.Any(m => m.Role == Role.Developer))
            messages = [.. messages.Select(m => m.Role == Role.Developer ? m with { Role = Role.System } : m)];
        try
        {
            return chosen.Render(messages, tools, variables, addGenerationPrompt, clock);
        }
        catch (ChatTemplateException)
        {
            List<Message> merged = Merge(messages);
            if (merged.Count == messages.Count) throw;
            return chosen.Render(merged, tools, variables, addGenerationPrompt, clock);
        }
    }

    /// <summary>Turns of one role behind each other become one; those of tools stay apart.</summary>
    private static List<Message> Merge(IReadOnlyList<Message> messages)
    {
        var merged = new List<Message>(messages.Count);
        foreach (Message m in messages)
        {
            if (merged.Count == 0 || m.Role == Role.Tool || merged[^1].Role != m.Role)
            {
                merged.Add(m);
                continue;
            }
            Message last = merged[^1];
            merged[^1] = last with
            {
                Content = last.Content.Length == 0 ? m.Content : m.Content.Length == 0 ? last.Content : last.Content + "\n\n" + m.Content,
                Reasoning = last.Reasoning is null ? m.Reasoning : m.Reasoning is null ? last.Reasoning : last.Reasoning + "\n\n" + m.Reasoning,
                ToolCalls = [.. last.ToolCalls, .. m.ToolCalls],
            };
        }
        return merged;
    }

    /// <summary>What the model's own template ends with behind a user's turn.</summary>
    private string GenerationPrompt(Dictionary<string, JsonElement> variables)
    {
        string text = template.Render([Message.User(UserMark)], null, variables, true, clock).Text;
        int at = text.IndexOf(UserMark, StringComparison.Ordinal);
        return at < 0 ? "" : text[(at + UserMark.Length)..];
    }

    /// <summary>What the model's own template writes between a user's turn and the answer to it.</summary>
    private string AnswerPrompt(Dictionary<string, JsonElement> variables)
    {
        string text = template.Render([Message.User(UserMark), Message.Assistant(AnswerMark), Message.User("")], null, variables, false, clock).Text;
        int from = text.IndexOf(UserMark, StringComparison.Ordinal), to = text.IndexOf(AnswerMark, StringComparison.Ordinal);
        return from < 0 || to < from ? "" : text[(from + UserMark.Length)..to];
    }

    private static JsonElement Text(string value) => JsonElement.Parse($"\"{JsonEncodedText.Encode(value)}\"");
}
