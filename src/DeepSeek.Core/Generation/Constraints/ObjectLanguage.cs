namespace DeepSeek.Generation.Constraints;

/// <summary>The objects that a schema allows.</summary>
internal sealed class ObjectLanguage(TermFactory factory, JsonText json, StringLanguage strings, SchemaNormalizer normalizer, Func<IReadOnlyList<Requirement>, Term> value)
{
    /// <summary>Properties that one object may declare.</summary>
    public const int PropertyLimit = 1_500;

    /// <summary>Patterns that may name the members of one object: each combination of them is a language of its own.</summary>
    public const int PatternLimit = 4;

    /// <summary>States that counting members may take.</summary>
    public const int CountLimit = 20_000;

    private sealed record Declared(string Name, bool Required, Term Member);

    public Term Compile(ObjectConstraint c, string pointer)
    {
        if (c.Low > c.High) return factory.Empty;
        List<ObjectConstraint> cases = [c];
        foreach ((MemberFacet facet, Requirement unexpected) in c.Unexpected)
        {
            // A member that the facet does not know: one that another facet declares.
            cases = [.. cases.SelectMany(one => DeclaredNames(one)
                .Where(n => !facet.Properties.ContainsKey(n))
                .Select(n => one.And(new() { Required = [n], Facets = [new(new Dictionary<string, Requirement?> { [n] = unexpected }, [], null, false)] })))];
            if (cases.Count > 256) throw SchemaErrors.Refused("not", pointer, "the opposite of 'additionalProperties' has over 256 cases");
            if (cases.Count == 0) throw SchemaErrors.Refused("not", pointer, "'additionalProperties' is negated (by not, oneOf, if or else)");
        }
        return factory.Alternatives([.. cases.Select(one => Case(one, pointer))]);
    }

    private static IEnumerable<string> DeclaredNames(ObjectConstraint c) => c.Facets.SelectMany(f => f.Properties.Keys).Concat(c.Required).Distinct();

    private Term Case(ObjectConstraint c, string pointer)
    {
        if (c.Low == 0 && c.High == Term.Unbounded && c.Facets.Count == 0 && c.Required.Count == 0 && c.Names.Count == 0) return json.AnyObject();
        string[] names = [.. DeclaredNames(c)];
        if (names.Length > PropertyLimit) throw SchemaErrors.Refused("properties", pointer, $"{names.Length} properties, the limit is {PropertyLimit}");
        Term? nameRule = c.Names.Count == 0 ? null : NameRule(c);
        var required = c.Required.ToHashSet();
        var members = new List<Declared>();
        foreach (string name in names)
        {
            bool allowed = nameRule is null || factory.Accepts(nameRule, System.Text.Encoding.UTF8.GetBytes(JsonText.Spell(name)));
            Term v = allowed ? value(c.ValueOf(name, strings)) : factory.Empty;
            if (v.IsEmpty && !required.Contains(name)) continue;
            members.Add(new(name, required.Contains(name), factory.Sequence(json.String(name), json.Colon, v)));
        }
        Term extra = IsOpen(c, members.Count) ? Extra(c, names, nameRule, pointer) : factory.Empty;
        Term body = c.Low <= required.Count && (c.High == Term.Unbounded || extra.IsEmpty && c.High >= members.Count)
            ? Uncounted(members, extra)
            : Counted(c, members, extra, required.Count, pointer);
        return factory.Sequence(factory.Literal("{"), body, factory.Literal("}"));
    }

    /// <summary>Whether members may be written that no property declares: where the schema speaks of them, needs them, or declares none.</summary>
    private static bool IsOpen(ObjectConstraint c, int declared) =>
        c.Low > declared || c.Facets.All(f => f.Properties.Count == 0 || !f.Evaluates) || c.Facets.Any(f => f.Additional is not null || f.Patterns.Count > 0);

    /// <summary>A name that satisfies propertyNames, as a string with its quotes.</summary>
    private Term NameRule(ObjectConstraint c)
    {
        IEnumerable<Conjunct> ways = normalizer.Alternatives(c.Names).Where(w => w.Kinds.HasFlag(JsonKinds.String));
        // Free strings have several spellings for a character; names need one.
        return factory.Alternatives([.. ways.Select(w => w.Strings == StringConstraint.None ? json.CanonicalString : Canonical(w.Strings))]);
    }

    private Term Canonical(StringConstraint c) => c.Allowed is null && c.Patterns.Count == 0 && c.Excluded.Count == 0
        ? json.Quoted(factory.Repeat(json.Encoder.Any, c.Low, c.High))
        : strings.Compile(c);

    /// <summary>One member that is not declared: for each combination of matching patterns its names and values.</summary>
    private Term Extra(ObjectConstraint c, string[] names, Term? nameRule, string pointer)
    {
        StringPattern[] patterns = [.. c.Facets.SelectMany(f => f.Patterns).Select(p => p.Name).DistinctBy(p => p.Text)];
        if (patterns.Length > PatternLimit) throw SchemaErrors.Refused("patternProperties", pointer, $"{patterns.Length} patterns, the limit is {PatternLimit}");
        var groups = new List<Term>();
        for (int matching = 0; matching < 1 << patterns.Length; matching++)
        {
            var matched = patterns.Where((_, i) => (matching >> i & 1) != 0).Select(p => p.Text).ToHashSet();
            var all = new List<Requirement>();
            foreach (MemberFacet f in c.Facets)
            {
                var mine = f.Patterns.Where(p => matched.Contains(p.Name.Text)).ToList();
                all.AddRange(mine.Select(p => p.Value).OfType<Requirement>());
                if (mine.Count == 0 && f.Additional is not null) all.Add(f.Additional);
            }
            Term v = value(all);
            if (v.IsEmpty) continue;
            Term key = Key(patterns, matched, names, nameRule, pointer);
            groups.Add(factory.Sequence(key, json.Colon, v));
        }
        return factory.Alternatives([.. groups]);
    }

    private Term Key(StringPattern[] patterns, HashSet<string> matched, string[] names, Term? nameRule, string pointer)
    {
        if (patterns.Length == 0 && names.Length == 0) return nameRule ?? json.CanonicalString;
        var rule = new StringConstraint { Patterns = [.. patterns.Select(p => p with { Negative = !matched.Contains(p.Text) })], Excluded = names };
        Term key = strings.Compile(rule);
        if (nameRule is null) return key;
        try
        {
            return factory.FromAutomaton(Automaton.Intersect(Automaton.FromTerm(factory, key), Automaton.FromTerm(factory, nameRule)));
        }
        catch (AutomatonTooLargeException e)
        {
            throw SchemaErrors.Refused("propertyNames", pointer, e.Message);
        }
    }

    private Term Uncounted(List<Declared> members, Term extra)
    {
        Term more = factory.Star(factory.Concat(json.Comma, extra));
        // later = what may follow a member, first = what may follow the opening brace; from the last property back to the first.
        Term later = more, first = factory.Optional(factory.Concat(extra, more));
        for (int i = members.Count - 1; i >= 0; i--)
        {
            Declared m = members[i];
            Term now = factory.Concat(m.Member, later);
            first = m.Required ? now : factory.Alternatives(now, first);
            later = m.Required ? factory.Concat(json.Comma, now) : factory.Alternatives(factory.Concat(json.Comma, now), later);
        }
        return first;
    }

    private Term Counted(ObjectConstraint c, List<Declared> members, Term extra, int required, string pointer)
    {
        // Names of extra members may repeat, and a repeated member is one: so only the last one missing may be an extra one.
        if (!extra.IsEmpty && (c.Low > members.Count + 1 || c.Low > required + 1 && members.Count == required))
            throw SchemaErrors.Refused("minProperties", pointer, "members with free names would have to differ from each other");
        // Without an upper limit counting ends where the lower one is reached.
        int top = c.High == Term.Unbounded ? Math.Min(c.Low, members.Count + 1) : Math.Min(c.High, members.Count);
        if ((long)(top + 2) * (members.Count + 1) > CountLimit)
            throw SchemaErrors.Refused(c.High == Term.Unbounded ? "minProperties" : "maxProperties", pointer, $"counting takes over {CountLimit} states");
        // rest[n] = what may follow n members.
        var rest = new Term[top + 2];
        for (int n = 0; n <= top; n++)
        {
            int low = Math.Max(0, c.Low - n), high = c.High == Term.Unbounded ? c.High : c.High - n;
            rest[n] = low > 1 ? factory.Empty
                : n == 0 ? json.List(extra, low, high)
                : factory.Repeat(factory.Concat(json.Comma, extra), low, high);
        }
        rest[top + 1] = factory.Empty;
        for (int i = members.Count - 1; i >= 0; i--)
        {
            Declared m = members[i];
            var here = new Term[top + 2];
            here[top + 1] = factory.Empty;
            for (int n = 0; n <= top; n++)
            {
                Term after = n == top && c.High == Term.Unbounded ? rest[n] : rest[n + 1];
                Term now = factory.Sequence(n == 0 ? factory.Epsilon : json.Comma, m.Member, after);
                here[n] = m.Required ? now : factory.Alternatives(now, rest[n]);
            }
            rest = here;
        }
        return rest[0];
    }
}
