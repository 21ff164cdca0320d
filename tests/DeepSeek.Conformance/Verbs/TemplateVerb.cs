using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using DeepSeek.Formats;
using DeepSeek.Text;

namespace DeepSeek.Conformance.Verbs;

/// <summary>template TEMPLATE|MODEL: messages, tools and variables as apply_chat_template takes them.</summary>
internal sealed class TemplateVerb(string template, IReadOnlyDictionary<string, string> ofModel, TimeProvider clock) : IVerb
{
    private readonly Dictionary<string, ChatTemplate> bySpecialTokens = [];

    public static TemplateVerb Open(Arguments arguments)
    {
        string path = arguments.Required;
        TimeProvider clock = FixedClock.From(arguments["--date"]);
        if (Path.GetExtension(path) is ".jinja" or ".txt") return new(File.ReadAllText(path), new Dictionary<string, string>(), clock);
        using Checkpoint model = Checkpoint.Open(path);
        return new(model.ChatTemplate ?? throw new ChatTemplateException($"'{path}' has no chat template."), SpecialTokens.Of(path, Tokenizer.Load(path)), clock);
    }

    public JsonNode Answer(JsonObject line)
    {
        string tokens = line["special_tokens"]?.ToJsonString() ?? "";
        if (!bySpecialTokens.TryGetValue(tokens, out ChatTemplate? parsed))
            bySpecialTokens[tokens] = parsed = new ChatTemplate(template, tokens.Length == 0 ? ofModel : JsonNode.Parse(tokens)!.AsObject().ToDictionary(t => t.Key, t => t.Value!.GetValue<string>()));
        Dictionary<string, JsonElement> variables = line["kwargs"] is JsonObject kwargs ? kwargs.ToDictionary(k => k.Key, k => Element(k.Value)) : [];
        RenderedPrompt prompt = parsed.Render(Element(line["messages"]), line["tools"] is { } tools ? Element(tools) : null, variables, line["filter"]?.GetValue<bool>() ?? true, clock);
        return new JsonObject { ["text"] = prompt.Text };
    }

    public void Dispose() { }

    private static JsonElement Element(JsonNode? node) => JsonDocument.Parse(node?.ToJsonString() ?? "null").RootElement;
}

/// <summary>A clock that stands still: --date 2026-01-15 is noon of that day.</summary>
internal sealed class FixedClock(DateTimeOffset now) : TimeProvider
{
    public static TimeProvider From(string? date)
    {
        if (date is null) return System;
        if (!DateOnly.TryParseExact(date, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out DateOnly day)) throw new UsageException($"--date '{date}' is no date like 2026-01-15");
        return new FixedClock(new(day, new TimeOnly(12, 0), TimeSpan.Zero));
    }

    public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

    public override DateTimeOffset GetUtcNow() => now;
}
