using System.Text.Json;
using DeepSeek.Text.Jinja;
using DeepSeek.Text.ToolCalls;

namespace DeepSeek.Text;

/// <summary>
/// A model's chat template: turns a conversation into a prompt exactly as transformers' apply_chat_template does, and remembers which characters the caller wrote.
/// Immutable and thread-safe; parsed once, rendered any number of times.
/// </summary>
internal sealed class ChatTemplate
{
    /// <summary>Names under which one and the same thing, the reasoning of a past turn, is known to templates.</summary>
    private static readonly string[] ReasoningNames = ["reasoning_content", "thinking", "reasoning"];

    /// <summary>Roles that templates write between control tokens (&lt;|user|&gt;): choosing one of these words is not writing text.</summary>
    private static readonly HashSet<string> KnownRoles = ["system", "user", "assistant", "tool", "developer", "function", "ipython", "model", "latest_reminder"];

    private readonly Dictionary<string, Jinja.Program> programs;
    private readonly IReadOnlyDictionary<string, string> specialTokens;
    private readonly bool knowsDeveloper;

    /// <summary>Ours, for conversations with tools, where the model's own template cannot write them.</summary>
    private readonly Jinja.Program? toolProgram;

    /// <summary>A template by its text.</summary>
    /// <param name="template">Jinja.</param>
    /// <param name="specialTokens">What templates may name: bos_token, eos_token, … and their text.</param>
    /// <param name="dialect">How the model writes calls; null: as the template says.</param>
    /// <exception cref="ChatTemplateException">The template is malformed.</exception>
    public ChatTemplate(string template, IReadOnlyDictionary<string, string> specialTokens, ToolCallDialect? dialect = null) : this(new Dictionary<string, string> { ["default"] = template }, specialTokens, dialect) { }

    /// <summary>Several templates by name, as some tokenizer_config.json files list them: "tool_use" is taken where there are tools, otherwise "default".</summary>
    /// <exception cref="ChatTemplateException">A template is malformed, or there is none called "default".</exception>
    public ChatTemplate(IReadOnlyDictionary<string, string> templates, IReadOnlyDictionary<string, string> specialTokens, ToolCallDialect? dialect = null)
    {
        if (!templates.TryGetValue("default", out string? text))
            throw new ChatTemplateException($"The model has chat templates named {string.Join(", ", templates.Keys.Select(k => $"'{k}'"))}, and none named 'default'.");
        Source = text;
        knowsDeveloper = text.Contains("developer", StringComparison.Ordinal);
        programs = templates.ToDictionary(t => t.Key, t => Parser.Parse(t.Value));
        this.specialTokens = specialTokens;
        Dialect = dialect ?? ToolCallDialect.Detect(templates.GetValueOrDefault("tool_use") ?? text);
        if (Dialect?.ToolTemplate is { } own && !WritesTools(Dialect)) toolProgram = Parser.Parse(own);
    }

    /// <summary>The text of the default template.</summary>
    public string Source { get; }

    /// <summary>How the model writes tool calls; null where its template knows no tools.</summary>
    public ToolCallDialect? Dialect { get; }

    /// <summary>Conversations with tools are written by this library's template, because the model's own leaves definitions out or writes calls wrongly.</summary>
    public bool ReplacesToolPart => toolProgram is not null;

    /// <summary>Writes a conversation.</summary>
    /// <param name="messages">The turns so far.</param>
    /// <param name="tools">Tools on offer; null for none, which a template may treat otherwise than an empty list.</param>
    /// <param name="variables">Further variables: enable_thinking, ….</param>
    /// <param name="addGenerationPrompt">Ends with the beginning of the assistant's turn.</param>
    /// <param name="clock">What strftime_now shows.</param>
    /// <remarks>Where the template refuses a conversation in which one role speaks twice in a row, those turns are merged into one.</remarks>
    /// <exception cref="ChatTemplateException">The template refuses the conversation, or does not end.</exception>
    public RenderedPrompt Render(IReadOnlyList<Message> messages, IReadOnlyList<ToolDefinition>? tools, IReadOnlyDictionary<string, JsonElement>? variables, bool addGenerationPrompt, TimeProvider clock)
    {
        try
        {
            return RenderAsGiven(messages, tools, variables, addGenerationPrompt, clock);
        }
        catch (ChatTemplateException) when (Merged(messages) is { } merged && merged.Count < messages.Count)
        {
            return RenderAsGiven(merged, tools, variables, addGenerationPrompt, clock);
        }
    }

    private static List<Message> Merged(IReadOnlyList<Message> messages)
    {
        List<Message> merged = [];
        foreach (Message message in messages)
        {
            // Results are apart, each with its call; and behind calls their results are missing.
            bool joins = merged.Count > 0 && merged[^1].Role == message.Role && message.Role != Role.Tool && merged[^1].Name == message.Name && merged[^1].ToolCalls.Count == 0;
            if (joins) merged[^1] = message with { Content = Joined(merged[^1].Content, message.Content), Reasoning = Joined(merged[^1].Reasoning ?? "", message.Reasoning ?? "") is { Length: > 0 } thought ? thought : null };
            else merged.Add(message);
        }
        return merged;

        static string Joined(string first, string second) => first.Length == 0 ? second : second.Length == 0 ? first : first + "\n\n" + second;
    }

    private RenderedPrompt RenderAsGiven(IReadOnlyList<Message> messages, IReadOnlyList<ToolDefinition>? tools, IReadOnlyDictionary<string, JsonElement>? variables, bool addGenerationPrompt, TimeProvider clock)
    {
        bool hasTools = tools is { Count: > 0 } || messages.Any(m => m.Role == Role.Tool || m.ToolCalls.Count > 0);
        Dict all = Variables(messages, tools, variables, addGenerationPrompt);
        if (toolProgram is null || !hasTools) return Render(all, clock);
        all["generation_prompt"] = GenerationPrompt(variables, clock);
        all["answer_prompt"] = GenerationPrompt(new Dictionary<string, JsonElement> { ["thinking"] = False, ["enable_thinking"] = False }, clock);
        return Render(all, clock, toolProgram);
    }

    private static readonly JsonElement False = JsonElement.Parse("false");

    private Dict Variables(IReadOnlyList<Message> messages, IReadOnlyList<ToolDefinition>? tools, IReadOnlyDictionary<string, JsonElement>? variables, bool addGenerationPrompt)
    {
        var all = new Dict();
        all["messages"] = messages.Select(object? (m) => Turn(m)).ToList();
        all["tools"] = tools?.Select(object? (t) => Tool(t)).ToList();
        all["documents"] = null;
        all["add_generation_prompt"] = addGenerationPrompt;
        foreach (var (name, value) in variables ?? new Dictionary<string, JsonElement>()) all[name] = Json.Value(value);
        return all;
    }

    /// <summary>What the model's own template puts behind a user's turn for the answer to begin.</summary>
    private Str GenerationPrompt(IReadOnlyDictionary<string, JsonElement>? variables, TimeProvider clock)
    {
        Message[] turn = [Message.User("?")];
        string without = Render(Variables(turn, null, variables, false), clock).Text, with = Render(Variables(turn, null, variables, true), clock).Text;
        return Str.Trusted(with.StartsWith(without, StringComparison.Ordinal) ? with[without.Length..] : "<｜Assistant｜>");
    }

    /// <summary>The model's own template shows tools to it, and writes calls, one or several, as the model does.</summary>
    private bool WritesTools(ToolCallDialect dialect)
    {
        JsonElement arguments = JsonElement.Parse("""{"city": "Oslo"}""");
        ToolCall[] calls = [new("1", "probe", arguments), new("2", "probe2", arguments), new("3", "probe", arguments)];
        Message[] messages =
        [
            Message.User("?"), new(Role.Assistant, "") { ToolCalls = calls }, Message.Tool("result1", "1"), Message.Tool("result2", "2"), Message.Tool("result3", "3"),
            new(Role.Assistant, "") { ToolCalls = calls[..1] }, Message.Tool("result4", "1"), new(Role.Assistant, "answer"), Message.User("?"),
        ];
        try
        {
            string text = Render(Variables(messages, [new("probe", "described", arguments)], null, true), TimeProvider.System).Text;
            int several = text.IndexOf(dialect.Write([.. calls.Select(c => (c.Name, c.Arguments))]), StringComparison.Ordinal);
            return several >= 0 && text.IndexOf(dialect.Write([(calls[0].Name, arguments)]), several + 1, StringComparison.Ordinal) > several
                && text.Contains("described", StringComparison.Ordinal) && text.Contains("result4", StringComparison.Ordinal);
        }
        catch (ChatTemplateException)
        {
            return false;
        }
    }

    /// <summary>Writes a conversation that is given as apply_chat_template takes it.</summary>
    /// <param name="messages">A JSON list of messages.</param>
    /// <param name="tools">A JSON list of tools, or null.</param>
    /// <param name="variables">Further variables, add_generation_prompt among them.</param>
    /// <param name="tidy">Drops fields that are null and offers reasoning under all its names, as transformers does since version 5.</param>
    /// <param name="clock">What strftime_now shows.</param>
    public RenderedPrompt Render(JsonElement messages, JsonElement? tools, IReadOnlyDictionary<string, JsonElement> variables, bool tidy, TimeProvider clock)
    {
        var all = new Dict();
        object? turns = Json.Value(messages);
        if (turns is List<object?> list)
        {
            foreach (object? turn in list)
                if (turn is Dict dict) TrustRole(dict);
            if (tidy) turns = list.Select(t => t is Dict dict ? Tidy(dict) : t).ToList();
        }
        all["messages"] = turns;
        all["tools"] = tools is { } offered ? Json.Value(offered) : null;
        all["documents"] = null;
        all["add_generation_prompt"] = false;
        foreach (var (name, value) in variables) all[name] = Json.Value(value);
        return Render(all, clock);
    }

    private RenderedPrompt Render(Dict variables, TimeProvider clock, Jinja.Program? program = null)
    {
        foreach (var (name, token) in specialTokens)
            if (!variables.Contains(Str.Trusted(name))) variables[name] = Str.Trusted(token);
        program ??= variables.At("tools") is not null && programs.TryGetValue("tool_use", out Jinja.Program? forTools) ? forTools : programs["default"];
        Str text = new Evaluator(program, clock).Render(variables);
        return new(text.Value, text.Untrusted);
    }

    private Dict Turn(Message message)
    {
        var turn = new Dict();
        turn["role"] = Str.Trusted(message.Role switch
        {
            Role.System => "system",
            Role.User => "user",
            Role.Assistant => "assistant",
            Role.Tool => "tool",
            _ => knowsDeveloper ? "developer" : "system",
        });
        turn["content"] = Str.FromCaller(message.Content);
        if (message.Reasoning is not null)
            foreach (string name in ReasoningNames) turn[name] = Str.FromCaller(message.Reasoning);
        if (message.ToolCalls.Count > 0) turn["tool_calls"] = message.ToolCalls.Select(object? (c) => Call(c)).ToList();
        if (message.ToolCallId is not null) turn["tool_call_id"] = Str.FromCaller(message.ToolCallId);
        if (message.Name is not null) turn["name"] = Str.FromCaller(message.Name);
        return turn;
    }

    private static Dict Call(ToolCall call)
    {
        var function = new Dict();
        function["name"] = Str.FromCaller(call.Name);
        function["arguments"] = Json.Value(call.Arguments);
        var wrapped = new Dict();
        wrapped["type"] = Str.Trusted("function");
        wrapped["id"] = Str.FromCaller(call.Id);
        wrapped["function"] = function;
        return wrapped;
    }

    private static Dict Tool(ToolDefinition tool)
    {
        var function = new Dict();
        function["name"] = Str.FromCaller(tool.Name);
        if (tool.Description is not null) function["description"] = Str.FromCaller(tool.Description);
        function["parameters"] = Json.Value(tool.Parameters);
        if (tool.Returns is { } returns) function["return"] = Json.Value(returns);
        var wrapped = new Dict();
        wrapped["type"] = Str.Trusted("function");
        wrapped["function"] = function;
        return wrapped;
    }

    private static void TrustRole(Dict turn)
    {
        if (turn.At("role") is Str role && KnownRoles.Contains(role.Value)) turn["role"] = Str.Trusted(role.Value);
        foreach (object? call in turn.At("tool_calls") as List<object?> ?? [])
            if (call is Dict dict && dict.At("type") is Str { Value: "function" }) dict["type"] = Str.Trusted("function");
    }

    private static Dict Tidy(Dict turn)
    {
        var tidy = new Dict();
        foreach (var (key, value) in turn.Items)
            if (value is not null) tidy[key] = value;
        object? reasoning = ReasoningNames.Select(tidy.At).FirstOrDefault(r => r is not null);
        if (reasoning is not null)
            foreach (string name in ReasoningNames)
                if (tidy.At(name) is null) tidy[name] = reasoning;
        return tidy;
    }
}
