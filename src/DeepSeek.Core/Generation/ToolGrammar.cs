using System.Text;
using System.Text.Json;
using DeepSeek.Generation.Constraints;
using DeepSeek.Text.ToolCalls;

namespace DeepSeek.Generation;

/// <summary>The grammar of required tool calls: the dialect's markup round arguments that each tool's schema allows.</summary>
internal static class ToolGrammar
{
    /// <summary>Keywords that speak about an object as a whole, or replace what it says.</summary>
    private static readonly string[] OfWholeObjects =
        ["allOf", "anyOf", "oneOf", "not", "if", "$ref", "$dynamicRef", "$recursiveRef", "enum", "const", "minProperties", "maxProperties", "propertyNames", "patternProperties", "dependentRequired", "dependentSchemas", "dependencies"];

    private static readonly JsonElement AnyObject = JsonElement.Parse("""{"type":"object","additionalProperties":true}""");

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
        if (schema.ValueKind != JsonValueKind.Object) schema = AnyObject;
        return dialect.Parameters is { } syntax ? Parameters(builder, tokenizer, syntax, schema) : builder.JsonSchema(schema);
    }

    /// <summary>Parameters one by one, in the schema's order. Other members than those that it names are never written.</summary>
    private static Term Parameters(GrammarBuilder builder, Tokenizer tokenizer, ParameterSyntax syntax, JsonElement schema)
    {
        foreach (string keyword in OfWholeObjects)
            if (schema.TryGetProperty(keyword, out _)) throw SchemaErrors.Refused(keyword, "", "this model writes arguments one by one, each held to its own schema, and what is said about all of them together cannot be kept");
        string[] required = schema.TryGetProperty("required", out JsonElement names) && names.ValueKind == JsonValueKind.Array ? [.. names.EnumerateArray().Where(n => n.ValueKind == JsonValueKind.String).Select(n => n.GetString()!)] : [];
        bool declares = schema.TryGetProperty("properties", out JsonElement properties) && properties.ValueKind == JsonValueKind.Object;
        string[] declared = declares ? [.. properties.EnumerateObject().Select(p => p.Name)] : [];
        var parts = new List<Term>();
        foreach (string name in declared.Union(required))
        {
            if (name.AsSpan().IndexOfAny(syntax.NotInNames) >= 0) throw SchemaErrors.Refused("properties", "", $"this model cannot write the name '{name}'");
            // Within its document: a $ref may lead anywhere.
            (Term text, Term other) = declared.Contains(name) ? builder.RawValue(schema, "#/properties/" + Uri.EscapeDataString(name.Replace("~", "~0", StringComparison.Ordinal).Replace("/", "~1", StringComparison.Ordinal)), syntax.Marker)
                : schema.TryGetProperty("additionalProperties", out _) ? builder.RawValue(schema, "#/additionalProperties", syntax.Marker)
                : builder.RawValue(AnyObject, "#/additionalProperties", syntax.Marker);
            Term value = builder.Choice(builder.Sequence(Text(builder, tokenizer, syntax.StringValue), text), builder.Sequence(Text(builder, tokenizer, syntax.JsonValue), other));
            Term parameter = builder.Sequence(Text(builder, tokenizer, syntax.Begin), builder.Literal(name), value, Text(builder, tokenizer, syntax.End));
            parts.Add(required.Contains(name) ? parameter : builder.Optional(parameter));
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
