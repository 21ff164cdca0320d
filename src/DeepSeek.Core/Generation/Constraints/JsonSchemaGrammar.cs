using System.Text.Json;

namespace DeepSeek.Generation.Constraints;

/// <summary>
/// Compiles a JSON Schema (draft 2020-12, and what earlier drafts wrote differently) to rules over bytes. The language is JSON without white space but for
/// one blank after ':' and ','; members stand in the schema's order; an object whose schema declares properties and says nothing about others has no
/// others. All that is accepted is valid; what is valid and can be spelled that way is accepted.
/// </summary>
internal sealed class JsonSchemaGrammar
{
    /// <summary>Places of values that differ in what they have to satisfy.</summary>
    public const int RuleLimit = 20_000;

    private readonly TermFactory factory;
    private readonly JsonText json;
    private readonly StringLanguage strings;
    private readonly NumberLanguage numbers;
    private readonly SchemaNormalizer normalizer;
    private readonly ObjectLanguage objects;
    private readonly ArrayLanguage arrays;
    private readonly Dictionary<string, Term> rules = [];
    private readonly Queue<(Term Rule, IReadOnlyList<Requirement> Value)> pending = new();

    private JsonSchemaGrammar(TermFactory factory, JsonText json, JsonElement schema)
    {
        this.factory = factory;
        this.json = json;
        strings = new(factory, json);
        numbers = new(factory, json);
        Document = new(schema);
        normalizer = new(Document, strings, numbers);
        objects = new(factory, json, strings, normalizer, Value);
        arrays = new(factory, json, Value, FewValues);
    }

    private SchemaDocument Document { get; }

    /// <summary>Adds the rules of a schema; the result may turn out to be empty when the grammar is finished.</summary>
    /// <exception cref="UnsupportedModelException">A keyword cannot be enforced, or the schema is too large.</exception>
    /// <exception cref="InvalidOptionException">The schema is malformed.</exception>
    /// <param name="factory">Makes the terms.</param>
    /// <param name="json">The JSON around them.</param>
    /// <param name="schema">The whole document.</param>
    public static Term Compile(TermFactory factory, JsonText json, JsonElement schema)
        => Compile(factory, json, schema, c => c.Value([c.Document.Root]));

    /// <summary>The same for a value that is written as it is where it is a string, and as JSON where it is anything else.</summary>
    /// <param name="factory">Makes the terms.</param>
    /// <param name="json">The JSON around them.</param>
    /// <param name="raw">Strings as they are.</param>
    /// <param name="schema">The whole document.</param>
    /// <param name="reference">The place in it that a value has to satisfy, as <c>$ref</c> would say it.</param>
    /// <returns>The strings, and everything else.</returns>
    public static (Term Text, Term Other) CompileRaw(TermFactory factory, JsonText json, RawText raw, JsonElement schema, string reference)
    {
        var strings = new StringLanguage(factory, raw);
        var texts = new List<Term>();
        Term other = Compile(factory, json, schema, compiler =>
        {
            Requirement value = compiler.Document.Resolve(reference, compiler.Document.Root);
            var others = new List<Term>();
            foreach (Conjunct c in compiler.normalizer.Alternatives([value]))
            {
                if (c.Kinds.HasFlag(JsonKinds.String)) texts.Add(strings.Compile(c.Strings));
                others.Add(ReferenceEquals(c, Conjunct.Anything) ? json.AnyValue() : compiler.Body(c with { Kinds = c.Kinds & ~JsonKinds.String }, value));
            }
            return factory.Alternatives([.. others]);
        });
        return (factory.Alternatives([.. texts]), other);
    }

    private static Term Compile(TermFactory factory, JsonText json, JsonElement schema, Func<JsonSchemaGrammar, Term> compile)
    {
        try
        {
            var compiler = new JsonSchemaGrammar(factory, json, schema);
            Term start = compile(compiler);
            while (compiler.pending.TryDequeue(out (Term Rule, IReadOnlyList<Requirement> Value) next)) factory.DefineRule(next.Rule, compiler.Body(next.Value));
            return start;
        }
        catch (InvalidOperationException e)
        {
            // JsonElement's answer to a name that is no Unicode text.
            throw new InvalidOptionException("The schema is malformed: a name in it holds half a surrogate pair, which no UTF-8 text can spell.", e);
        }
    }

    /// <summary>A value that satisfies all of some requirements.</summary>
    private Term Value(IReadOnlyList<Requirement> all)
    {
        Requirement[] said = [.. all.Distinct().Where(r => !IsTrivial(r, out bool any) || !any)];
        if (said.Length == 0) return json.AnyValue();
        if (said.Any(r => IsTrivial(r, out bool any) && !any)) return factory.Empty;
        string key = string.Join('\n', said.Select(r => r.Key).Order(StringComparer.Ordinal));
        if (rules.TryGetValue(key, out Term? rule)) return rule;
        if (rules.Count >= RuleLimit) throw SchemaErrors.Refused("allOf", said[0].Pointer, $"the schema has over {RuleLimit} places for values; simplify it");
        rules[key] = rule = factory.DeclareRule();
        pending.Enqueue((rule, said));
        return rule;
    }

    private static bool IsTrivial(Requirement r, out bool any)
    {
        any = r.Element.ValueKind == JsonValueKind.True != r.Negative;
        return !r.IsConstant && r.Element.ValueKind is JsonValueKind.True or JsonValueKind.False;
    }

    private Term Body(IReadOnlyList<Requirement> all)
    {
        var parts = new List<Term>();
        foreach (Conjunct c in normalizer.Alternatives(all))
        {
            if (c.Kinds == JsonKinds.All && c.Equals(Conjunct.Anything)) return factory.Body(json.AnyValue());
            parts.Add(Body(c, all[0]));
        }
        return factory.Alternatives([.. parts]);
    }

    private Term Body(Conjunct c, Requirement at)
    {
        var parts = new List<Term>();
        if (c.Kinds.HasFlag(JsonKinds.Null)) parts.Add(factory.Literal("null"));
        if (c.Kinds.HasFlag(JsonKinds.True)) parts.Add(factory.Literal("true"));
        if (c.Kinds.HasFlag(JsonKinds.False)) parts.Add(factory.Literal("false"));
        if (c.Kinds.HasFlag(JsonKinds.Number)) parts.Add(NumberOf(c.Numbers, at));
        if (c.Kinds.HasFlag(JsonKinds.String)) parts.Add(strings.Compile(c.Strings));
        if (c.Kinds.HasFlag(JsonKinds.Array)) parts.Add(arrays.Compile(c.Arrays));
        if (c.Kinds.HasFlag(JsonKinds.Object)) parts.Add(objects.Compile(c.Objects, at.Pointer));
        return factory.Alternatives([.. parts]);
    }

    private Term NumberOf(NumberConstraint c, Requirement at)
    {
        try
        {
            return numbers.Compile(c);
        }
        catch (Exception e) when (e is PatternException or AutomatonTooLargeException)
        {
            throw SchemaErrors.Refused(c.Multiples.Count > 0 ? "multipleOf" : "minimum", at.Pointer, e.Message);
        }
    }

    /// <summary>The spellings of all values that satisfy some requirements, different values only, where they are few and simple; else null.</summary>
    private List<string>? FewValues(IReadOnlyList<Requirement> all)
    {
        var values = new HashSet<string>();
        foreach (Conjunct c in normalizer.Alternatives(all))
        {
            if (c.Kinds.HasFlag(JsonKinds.Null)) values.Add("null");
            if (c.Kinds.HasFlag(JsonKinds.True)) values.Add("true");
            if (c.Kinds.HasFlag(JsonKinds.False)) values.Add("false");
            if (c.Kinds.HasFlag(JsonKinds.String))
            {
                if (c.Strings.Allowed is null) return null;
                foreach (string s in strings.Values(c.Strings)) values.Add(JsonText.Spell(s));
            }
            if (c.Kinds.HasFlag(JsonKinds.Number))
            {
                if (NumberLanguage.Few(c.Numbers, ArrayLanguage.UniqueLimit) is not { } few) return null;
                values.UnionWith(few);
            }
            if ((c.Kinds & (JsonKinds.Array | JsonKinds.Object)) != 0) return null;
            if (values.Count > ArrayLanguage.UniqueLimit) return null;
        }
        // 1 and 1.0 are one value in two spellings.
        return values.Where(v => char.IsAsciiDigit(v[^1])).Select(v => ExactNumber.Parse(v)).Distinct().Count() == values.Count(v => char.IsAsciiDigit(v[^1])) ? [.. values] : null;
    }
}
