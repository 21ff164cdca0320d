using System.Text;
using System.Text.Json;
using DeepSeek.Generation.Constraints;
using DeepSeek.Text.ToolCalls;

namespace DeepSeek.Generation;

/// <summary>The grammar of required tool calls: the dialect's markup round arguments that each tool's schema allows.</summary>
internal static class ToolGrammar
{
    /// <summary>What a grammar of these tools is known by.</summary>
    public static string Key(ToolCallDialect dialect, IReadOnlyList<ToolDefinition> tools, bool several)
    {
        var key = new StringBuilder("tools\n").Append(dialect.Name).Append(several ? "\nseveral\n" : "\none\n");
        foreach (ToolDefinition tool in tools) key.Append(tool.Name).Append('\n').Append(tool.Parameters.GetRawText()).Append('\n');
        return key.ToString();
    }

    /// <summary>One call, or several behind each other.</summary>
    public static Term Compose(GrammarBuilder builder, Tokenizer tokenizer, ToolCallDialect dialect, IReadOnlyList<ToolDefinition> tools, bool several)
    {
        Term call = builder.Choice([.. tools.Select(t => builder.Sequence(Text(builder, tokenizer, dialect.BeforeArguments(t.Name)), Arguments(builder, tokenizer, dialect, t), Text(builder, tokenizer, dialect.AfterArguments)))]);
        Term calls = several ? builder.Sequence(call, builder.Repeat(builder.Sequence(Text(builder, tokenizer, dialect.CallSeparator), call), 0, Term.Unbounded)) : call;
        return builder.Sequence(builder.Repeat(builder.Literal("\n"), 0, 2), Text(builder, tokenizer, dialect.CallsBegin), calls, Text(builder, tokenizer, dialect.CallsEnd));
    }

    private static Term Arguments(GrammarBuilder builder, Tokenizer tokenizer, ToolCallDialect dialect, ToolDefinition tool)
    {
        JsonElement schema = tool.Parameters;
        if (dialect.Parameters is not { } syntax) return schema.ValueKind == JsonValueKind.Object ? builder.JsonSchema(schema) : builder.AnyObject();
        var parts = new List<Term>();
        if (schema.ValueKind == JsonValueKind.Object && schema.TryGetProperty("properties", out JsonElement properties) && properties.ValueKind == JsonValueKind.Object)
            foreach (JsonProperty p in properties.EnumerateObject())
            {
                bool text = p.Value.ValueKind == JsonValueKind.Object && p.Value.TryGetProperty("type", out JsonElement type) && type.ValueKind == JsonValueKind.String && type.ValueEquals("string") && !p.Value.TryGetProperty("enum", out _);
                string place = "#/properties/" + Uri.EscapeDataString(p.Name.Replace("~", "~0", StringComparison.Ordinal).Replace("/", "~1", StringComparison.Ordinal));
                Term value = text ? builder.FreeText() : builder.JsonSchema(schema, place); // within its document: a $ref may lead anywhere
                Term parameter = builder.Sequence(Text(builder, tokenizer, syntax.Begin + p.Name + (text ? syntax.StringValue : syntax.JsonValue)), value, Text(builder, tokenizer, syntax.End));
                bool required = schema.TryGetProperty("required", out JsonElement names) && names.ValueKind == JsonValueKind.Array && names.EnumerateArray().Any(n => n.ValueKind == JsonValueKind.String && n.ValueEquals(p.Name));
                parts.Add(required ? parameter : builder.Optional(parameter));
            }
        return builder.Sequence([.. parts]);
    }

    /// <summary>Markup: tokens of the vocabulary that stand for themselves, and text between them.</summary>
    private static Term Text(GrammarBuilder builder, Tokenizer tokenizer, string markup)
    {
        var parts = new List<Term>();
        var run = new List<int>();
        foreach (int id in tokenizer.Encode(markup, parseSpecialTokens: true))
        {
            if (!tokenizer.IsControl(id) && !tokenizer.IsAdded(id))
            {
                run.Add(id);
                continue;
            }
            Flush();
            parts.Add(builder.Token(id));
        }
        Flush();
        return builder.Sequence([.. parts]);

        void Flush()
        {
            if (run.Count > 0) parts.Add(builder.Literal(tokenizer.Decode(run.ToArray())));
            run.Clear();
        }
    }
}
