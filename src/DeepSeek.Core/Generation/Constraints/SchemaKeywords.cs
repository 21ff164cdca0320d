using System.Text.Json;

namespace DeepSeek.Generation.Constraints;

/// <summary>What the keywords of the applicator and validation vocabularies say.</summary>
internal sealed partial class SchemaNormalizer
{
    private static readonly Requirement Never = new("false", false, false, JsonDocument.Parse("false").RootElement);

    private static List<Conjunct> Types(JsonElement value, Requirement r)
    {
        JsonKinds kinds = JsonKinds.None;
        bool whole = false, number = false;
        foreach (JsonElement type in value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray()] : (JsonElement[])[value])
        {
            string name = Text(type, "type", r);
            number |= name == "number";
            whole |= name == "integer";
            kinds |= name switch
            {
                "null" => JsonKinds.Null,
                "boolean" => JsonKinds.True | JsonKinds.False,
                "number" or "integer" => JsonKinds.Number,
                "string" => JsonKinds.String,
                "array" => JsonKinds.Array,
                "object" => JsonKinds.Object,
                _ => throw SchemaErrors.Malformed("type", r.Pointer, $"is '{name}', which is no type"),
            };
        }
        bool onlyWhole = whole && !number;
        if (!r.Negative) return [new() { Kinds = kinds, Numbers = onlyWhole ? new() { Whole = true } : NumberConstraint.None }];
        var rest = new List<Conjunct>();
        if ((JsonKinds.All & ~kinds) != 0) rest.Add(new() { Kinds = JsonKinds.All & ~kinds });
        if (onlyWhole) rest.Add(new() { Kinds = JsonKinds.Number, Numbers = new() { Whole = false } });
        return rest;
    }

    /// <summary>One of some values, or none of them.</summary>
    private List<Conjunct> Constants(IEnumerable<JsonElement> values, Requirement r, string keyword)
    {
        var texts = new List<string>();
        var numerals = new Dictionary<ExactNumber, string>();
        var structures = new List<List<Conjunct>>();
        JsonKinds simple = JsonKinds.None;
        int i = 0;
        foreach (JsonElement value in values)
        {
            Spend(keyword, r.Pointer);
            JsonKinds kind = Conjunct.KindOf(value);
            if (kind == JsonKinds.String) texts.Add(Text(value, keyword, r));
            else if (kind == JsonKinds.Number) numerals.TryAdd(Number(value, keyword, r), value.GetRawText());
            else if (kind is JsonKinds.Array or JsonKinds.Object) structures.Add(Alternatives(r.Constant(keyword == "enum" ? $"enum/{i}" : keyword, value)));
            else simple |= kind;
            i++;
        }
        var result = new List<Conjunct>();
        if (!r.Negative)
        {
            if (simple != 0) result.Add(new() { Kinds = simple });
            if (texts.Count > 0) result.Add(new() { Kinds = JsonKinds.String, Strings = new() { Allowed = [.. texts.Distinct()] } });
            if (numerals.Count > 0) result.Add(new() { Kinds = JsonKinds.Number, Numbers = new() { Allowed = numerals } });
            foreach (List<Conjunct> s in structures) result = Or(result, s, keyword, r.Pointer);
            return result;
        }
        result.Add(new() { Kinds = JsonKinds.All & ~simple, Strings = new() { Excluded = texts }, Numbers = new() { Excluded = [.. numerals.Keys] } });
        foreach (List<Conjunct> s in structures) result = And(result, s, keyword, r.Pointer);
        return result;
    }

    /// <summary>A value that has to be equal: for arrays and objects, what it is made of.</summary>
    private List<Conjunct> Constant(Requirement r)
    {
        if (r.Element.ValueKind is not (JsonValueKind.Array or JsonValueKind.Object)) return Constants([r.Element], r, "const");
        var result = new List<Conjunct>();
        if (r.Element.ValueKind == JsonValueKind.Array)
        {
            Requirement[] items = [.. r.Element.EnumerateArray().Select((e, i) => r.Constant($"{i}", e) with { Negative = false })];
            if (!r.Negative) return [new() { Kinds = JsonKinds.Array, Arrays = new() { Facets = [(items, null)], Low = items.Length, High = items.Length } }];
            result.Add(new() { Kinds = JsonKinds.All & ~JsonKinds.Array });
            if (items.Length > 0) result.Add(new() { Kinds = JsonKinds.Array, Arrays = new() { High = items.Length - 1 } });
            result.Add(new() { Kinds = JsonKinds.Array, Arrays = new() { Low = items.Length + 1 } });
            for (int i = 0; i < items.Length; i++)
            {
                Requirement[] facet = [.. Enumerable.Range(0, i + 1).Select(k => k == i ? items[k].Not() : Never.Not())];
                result.Add(new() { Kinds = JsonKinds.Array, Arrays = new() { Facets = [(facet, null)], Low = i + 1 } });
            }
            return result;
        }
        var members = new Dictionary<string, Requirement?>();
        foreach (JsonProperty p in r.Element.EnumerateObject()) members[p.Name] = r.Constant(p.Name, p.Value) with { Negative = false };
        if (!r.Negative)
            return [new() { Kinds = JsonKinds.Object, Objects = new() { Facets = [new(members, [], Never, true)], Required = [.. members.Keys], High = members.Count } }];
        result.Add(new() { Kinds = JsonKinds.All & ~JsonKinds.Object });
        result.Add(new() { Kinds = JsonKinds.Object, Objects = new() { Low = members.Count + 1 } });
        foreach ((string name, Requirement? value) in members)
        {
            result.Add(Member(name, Never, required: false));
            result.Add(Member(name, value!.Not(), required: true));
        }
        return result;
    }

    private List<Conjunct> Combine(JsonElement value, string name, Requirement r, bool all)
    {
        List<Conjunct> result = all ? Anything : Nothing;
        foreach (Requirement part in Parts(value, name, r))
            result = all ? And(result, Alternatives(part), name, r.Pointer) : Or(result, Alternatives(part), name, r.Pointer);
        return result;
    }

    private List<Conjunct> OneOf(JsonElement value, Requirement r)
    {
        Requirement[] parts = [.. Parts(value, "oneOf", r with { Negative = false })];
        if (parts.Length == 1) return Alternatives(r.Negative ? parts[0].Not() : parts[0]);
        if (r.Negative) throw NotNegated("oneOf", r);
        if (parts.Length > 128) throw SchemaErrors.Refused("oneOf", r.Pointer, $"{parts.Length} alternatives have to exclude each other; anyOf has no such limit");
        List<Conjunct> result = Nothing;
        var others = new List<Requirement>[parts.Length];
        for (int i = 0; i < parts.Length; i++) others[i] = [parts[i]];
        for (int i = 0; i < parts.Length; i++)
        {
            for (int j = i + 1; j < parts.Length; j++)
            {
                if (IsSurelyEmpty([parts[i], parts[j]])) continue;
                others[i].Add(parts[j].Not());
                others[j].Add(parts[i].Not());
            }
        }
        foreach (List<Requirement> one in others) result = Or(result, [.. Alternatives(one, "oneOf")], "oneOf", r.Pointer);
        return result;
    }

    private List<Conjunct>? Condition(JsonElement value, Requirement r)
    {
        bool hasThen = r.Element.TryGetProperty("then", out JsonElement then), hasElse = r.Element.TryGetProperty("else", out JsonElement otherwise);
        if (!hasThen && !hasElse) return r.Negative ? Nothing : null;
        Requirement condition = r.Child("if", value) with { Negative = false };
        List<Conjunct> whenTrue = hasThen ? Alternatives(r.Child("then", then)) : r.Negative ? Nothing : Anything;
        List<Conjunct> whenFalse = hasElse ? Alternatives(r.Child("else", otherwise)) : r.Negative ? Nothing : Anything;
        return Or(And(Alternatives(condition), whenTrue, "if", r.Pointer), And(Alternatives(condition.Not()), whenFalse, "if", r.Pointer), "if", r.Pointer);
    }

    private static List<Conjunct> Pattern(StringPattern pattern, bool negative) =>
        Only(JsonKinds.String, negative, new() { Strings = new() { Patterns = [pattern] } });

    private static List<Conjunct> Bound(JsonElement value, string name, Requirement r, bool low, bool exclusive)
    {
        ExactNumber bound = Number(value, name, r);
        return Only(JsonKinds.Number, r.Negative, new()
        {
            Numbers = low != r.Negative
                ? new() { Low = bound, LowExclusive = exclusive != r.Negative }
                : new() { High = bound, HighExclusive = exclusive != r.Negative },
        });
    }

    /// <summary>properties, patternProperties and additionalProperties are one facet, made where the first of them stands.</summary>
    private List<Conjunct>? Members(string name, JsonElement value, Requirement r)
    {
        foreach (string earlier in (ReadOnlySpan<string>)["properties", "patternProperties", "additionalProperties"])
        {
            if (earlier == name) break;
            if (r.Element.TryGetProperty(earlier, out _)) return r.Negative ? Nothing : null;
        }
        Requirement positive = r with { Negative = false };
        var properties = new Dictionary<string, Requirement?>();
        var patterns = new List<(StringPattern, Requirement?)>();
        if (r.Element.TryGetProperty("properties", out JsonElement p))
            foreach (JsonProperty member in Object(p, "properties", r)) properties[member.Name] = positive.Child("properties", p).Child(member.Name, member.Value);
        if (r.Element.TryGetProperty("patternProperties", out JsonElement pp))
        {
            foreach (JsonProperty member in Object(pp, "patternProperties", r))
                patterns.Add((new(member.Name, true, false, "patternProperties", r.Pointer), positive.Child("patternProperties", pp).Child(member.Name, member.Value)));
        }
        Requirement? additional = r.Element.TryGetProperty("additionalProperties", out JsonElement ap) ? positive.Child("additionalProperties", ap) : null;
        var facet = new MemberFacet(properties, patterns, additional, true);
        if (!r.Negative) return [new() { Objects = new() { Facets = [facet] } }];

        if (patterns.Count > 0) throw NotNegated("patternProperties", r);
        List<Conjunct> result = [.. properties.Select(m => Member(m.Key, m.Value!.Not(), required: true))];
        if (additional is not null && ap.ValueKind != JsonValueKind.True)
            result.Add(new() { Kinds = JsonKinds.Object, Objects = new() { Unexpected = [(facet, additional.Not())] } });
        return result;
    }

    private static Conjunct Member(string name, Requirement value, bool required) => new()
    {
        Kinds = JsonKinds.Object,
        Objects = new() { Facets = [new(new Dictionary<string, Requirement?> { [name] = value }, [], null, false)], Required = required ? [name] : [] },
    };

    private static List<Conjunct> Required(JsonElement value, Requirement r)
    {
        // Draft 3 and 4 had a boolean here; nothing can be asked of a value by it.
        if (value.ValueKind != JsonValueKind.Array) throw SchemaErrors.Malformed("required", r.Pointer, "is no array of names");
        string[] names = [.. value.EnumerateArray().Select(n => Text(n, "required", r)).Distinct()];
        return r.Negative ? [.. names.Select(n => Member(n, Never, required: false))] : [new() { Objects = new() { Required = names } }];
    }

    private List<Conjunct> Dependencies(string keyword, JsonElement value, Requirement r)
    {
        if (r.Negative) throw NotNegated(keyword, r);
        List<Conjunct> result = Anything;
        foreach (JsonProperty p in Object(value, keyword, r))
        {
            List<Conjunct> present = [new() { Kinds = JsonKinds.Object, Objects = new() { Required = [p.Name] } }];
            List<Conjunct> then = p.Value.ValueKind == JsonValueKind.Array ? Required(p.Value, r) : Alternatives(r.Child(keyword, value).Child(p.Name, p.Value));
            List<Conjunct> absent = [Member(p.Name, Never, required: false), new() { Kinds = JsonKinds.All & ~JsonKinds.Object }];
            result = And(result, Or(And(present, then, keyword, r.Pointer), absent, keyword, r.Pointer), keyword, r.Pointer);
        }
        return result;
    }

    /// <summary>prefixItems and items (before 2020-12: items as an array, and additionalItems) are one facet, made where the first of them stands.</summary>
    private static List<Conjunct>? Items(string name, Requirement r)
    {
        foreach (string earlier in (ReadOnlySpan<string>)["prefixItems", "items", "additionalItems"])
        {
            if (earlier == name) break;
            if (r.Element.TryGetProperty(earlier, out _)) return r.Negative ? Nothing : null;
        }
        if (r.Negative) throw NotNegated(name, r);
        bool hasItems = r.Element.TryGetProperty("items", out JsonElement items);
        var prefix = new List<Requirement>();
        Requirement? rest = null;
        if (r.Element.TryGetProperty("prefixItems", out JsonElement tuple)) prefix.AddRange(Parts(tuple, "prefixItems", r));
        if (hasItems && items.ValueKind == JsonValueKind.Array)
        {
            prefix.AddRange(Parts(items, "items", r));
            if (r.Element.TryGetProperty("additionalItems", out JsonElement more)) rest = r.Child("additionalItems", more);
        }
        else if (hasItems) rest = r.Child("items", items);
        return [new() { Arrays = new() { Facets = [(prefix, rest)] } }];
    }

    private static List<Conjunct> Contains(JsonElement value, Requirement r)
    {
        int low = r.Element.TryGetProperty("minContains", out JsonElement min) ? Count(min, "minContains", r) : 1;
        int high = r.Element.TryGetProperty("maxContains", out JsonElement max) ? Count(max, "maxContains", r) : Term.Unbounded;
        Requirement item = r.Child("contains", value);
        if (!r.Negative) return [new() { Arrays = new() { Contains = [(item, low, high, r.Pointer)] } }];
        if (low != 1 || high != Term.Unbounded) throw NotNegated("contains", r);
        return [new() { Kinds = JsonKinds.Array, Arrays = new() { Facets = [([], item)] } }];
    }

    /// <summary>unevaluatedProperties and unevaluatedItems: what no neighbour of the alternative knows (core, sections 11.2 and 11.3).</summary>
    private static List<Conjunct> Unevaluated(List<Conjunct> alternatives, Requirement r)
    {
        if (r.Element.TryGetProperty("unevaluatedProperties", out JsonElement members) && members.ValueKind != JsonValueKind.True)
        {
            Requirement rest = r.Child("unevaluatedProperties", members);
            alternatives = alternatives.ConvertAll(c =>
            {
                MemberFacet[] evaluating = [.. c.Objects.Facets.Where(f => f.Evaluates)];
                if (evaluating.Any(f => f.Additional is not null)) return c;
                var names = new Dictionary<string, Requirement?>();
                foreach (MemberFacet f in evaluating)
                    foreach (string name in f.Properties.Keys) names[name] = null;
                var patterns = evaluating.SelectMany(f => f.Patterns).Select(p => (p.Name, (Requirement?)null)).ToList();
                return c with { Objects = c.Objects.And(new() { Facets = [new(names, patterns, rest, true)] }) };
            });
        }
        if (r.Element.TryGetProperty("unevaluatedItems", out JsonElement items) && items.ValueKind != JsonValueKind.True)
        {
            Requirement rest = r.Child("unevaluatedItems", items);
            alternatives = alternatives.ConvertAll(c =>
            {
                if (c.Arrays.Contains.Count > 0) throw SchemaErrors.Refused("unevaluatedItems", r.Pointer, "it stands beside 'contains'");
                if (c.Arrays.Facets.Any(f => f.Beyond is not null)) return c;
                Requirement[] prefix = [.. Enumerable.Repeat(Never.Not(), c.Arrays.PrefixCount)];
                return c with { Arrays = c.Arrays.And(new() { Facets = [(prefix, rest)] }) };
            });
        }
        return alternatives;
    }

    private static IEnumerable<Requirement> Parts(JsonElement value, string name, Requirement r)
    {
        if (value.ValueKind != JsonValueKind.Array) throw SchemaErrors.Malformed(name, r.Pointer, "is no array of schemas");
        Requirement list = r.Child(name, value);
        return value.EnumerateArray().Select((e, i) => list.Child($"{i}", e));
    }

    private static JsonElement.ObjectEnumerator Object(JsonElement value, string name, Requirement r) =>
        value.ValueKind == JsonValueKind.Object ? value.EnumerateObject() : throw SchemaErrors.Malformed(name, r.Pointer, "is no object");

    private static string Text(JsonElement value, string name, Requirement r)
    {
        if (value.ValueKind != JsonValueKind.String) throw SchemaErrors.Malformed(name, r.Pointer, $"is a {value.ValueKind}, not a string");
        try
        {
            return value.GetString()!;
        }
        catch (InvalidOperationException)
        {
            throw SchemaErrors.Malformed(name, r.Pointer, "holds half a surrogate pair, which no UTF-8 text can spell");
        }
    }

    private static ExactNumber Number(JsonElement value, string name, Requirement r)
    {
        if (value.ValueKind != JsonValueKind.Number) throw SchemaErrors.Malformed(name, r.Pointer, $"is a {value.ValueKind}, not a number");
        return ExactNumber.Parse(value.GetRawText()) ?? throw SchemaErrors.Refused(name, r.Pointer, $"the number has over {ExactNumber.Limit} digits");
    }

    private static int Count(JsonElement value, string name, Requirement r)
    {
        ExactNumber n = Number(value, name, r);
        if (!n.IsInteger || n.Sign < 0) throw SchemaErrors.Malformed(name, r.Pointer, $"is {n}, not a count");
        return n.Mantissa >= Term.Unbounded ? Term.Unbounded : (int)n.Mantissa;
    }

    /// <summary>One more than a count.</summary>
    private static int Above(JsonElement value, string name, Requirement r) => Count(value, name, r) is var n && n < Term.Unbounded ? n + 1 : n;

    private static bool Flag(Requirement r, string name) => r.Element.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.True;
}
