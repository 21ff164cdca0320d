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

/// <summary>Writes prompts by the model's chat template, and says what the answer to them will look like. Thread-safe; it remembers calls, and nothing else.</summary>
internal sealed class Prompter(ChatTemplate template, Tokenizer tokenizer, TimeProvider clock)
{
    /// <summary>The calls that the model wrote lately: they are written in its own tokens again.</summary>
    public WrittenCallStore Calls { get; } = new();

    /// <summary>How the model writes calls; null where its template knows no tools.</summary>
    public ToolCallDialect? Dialect => template.Dialect;

    /// <summary>Whether answers may begin with a thought.</summary>
    public bool MayThink { get; } = template.Source.Contains(ReasoningSplitter.Close, StringComparison.Ordinal) || tokenizer.IdOf(ReasoningSplitter.Close) is not null;

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
        if (tools is not null && template.Dialect is null) throw new InvalidOptionException("The model's chat template knows no tools. Leave Tools empty, or use a model that was trained to call them.");
        RenderedPrompt prompt = template.Render(messages, tools, Variables(options), addGenerationPrompt, clock);
        bool opened = addGenerationPrompt && ReasoningSplitter.IsOpenedBy(prompt.Text);
        if (opened && options.Thinking == false) // the template opens a thought whatever it is told: close it
        {
            prompt = prompt with { Text = prompt.Text.TrimEnd() + "\n\n" + ReasoningSplitter.Close + "\n\n" };
            opened = false;
        }
        (string text, int[] tokens) = CallReplay.Encode(prompt, messages, template.Dialect, Calls, tokenizer, options.ParseSpecialTokensInMessages);
        return new Prompt(text, tokens, opened, tools is null ? null : template.Dialect);
    }

    private static Dictionary<string, JsonElement> Variables(GenerationOptions options)
    {
        var all = new Dictionary<string, JsonElement>();
        if (options.Thinking is { } thinking) // Qwen's name and DeepSeek's
            all["enable_thinking"] = all["thinking"] = JsonElement.Parse(thinking ? "true"u8 : "false"u8);
        foreach ((string name, JsonElement value) in options.TemplateVariables ?? new Dictionary<string, JsonElement>()) all[name] = value;
        return all;
    }
}
