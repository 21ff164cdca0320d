using System.Text.Json;

namespace DeepSeek.Generation.Constraints;

/// <summary>
/// Turns what a value has to satisfy into alternatives (a disjunctive normal form): per alternative, what each kind of JSON value has to be like. Only the
/// value itself is looked at; what is said about members and items stays a list of requirements, so that recursion ends.
/// </summary>
internal sealed partial class SchemaNormalizer(SchemaDocument document, StringLanguage strings, NumberLanguage numbers)
{
    /// <summary>Alternatives that one value may have.</summary>
    public const int AlternativeLimit = 2_000;

    /// <summary>Steps that the normalisation of one schema may take.</summary>
    public const int WorkLimit = 200_000;

    private const int NestingLimit = 150;

    private static readonly List<Conjunct> Anything = [Conjunct.Anything];
    private static readonly List<Conjunct> Nothing = [];

    private readonly Dictionary<Requirement, List<Conjunct>> known = [];
    private readonly HashSet<Requirement> underWay = [];
    private int work;

    /// <summary>The ways to satisfy all of some requirements; none where they contradict each other for every kind.</summary>
    public IReadOnlyList<Conjunct> Alternatives(IEnumerable<Requirement> all, string keyword = "allOf")
    {
        List<Conjunct> result = Anything;
        foreach (Requirement r in all) result = And(result, Alternatives(r), keyword, r.Pointer);
        return result;
    }

    /// <summary>Whether it is certain that no value satisfies all; false also where it is hard to tell.</summary>
    public bool IsSurelyEmpty(IEnumerable<Requirement> all, int depth = 0)
    {
        Spend("oneOf", "");
        return Alternatives(all).All(c => IsSurelyEmpty(c, depth));
    }

    private bool IsSurelyEmpty(Conjunct c, int depth)
    {
        if ((c.Kinds & (JsonKinds.Null | JsonKinds.True | JsonKinds.False)) != 0) return false;
        if (c.Kinds.HasFlag(JsonKinds.Number) && !numbers.Compile(c.Numbers).IsEmpty) return false;
        if (c.Kinds.HasFlag(JsonKinds.String) && !strings.Compile(c.Strings).IsEmpty) return false;
        if (c.Kinds.HasFlag(JsonKinds.Array) && c.Arrays.Low <= c.Arrays.High
            && (c.Arrays.Low == 0 || depth > 4 || !IsSurelyEmpty(c.Arrays.ItemAt(0), depth + 1))) return false;
        if (c.Kinds.HasFlag(JsonKinds.Object) && c.Objects.Low <= c.Objects.High
            && (depth > 4 || !c.Objects.Required.Any(n => IsSurelyEmpty(c.Objects.ValueOf(n, strings), depth + 1)))) return false;
        return true;
    }

    private List<Conjunct> Alternatives(Requirement r)
    {
        if (known.TryGetValue(r, out List<Conjunct>? result)) return result;
        if (!underWay.Add(r)) throw SchemaErrors.Malformed("$ref", r.Pointer, "refers to itself without anything between");
        if (underWay.Count > NestingLimit) throw SchemaErrors.Refused("allOf", r.Pointer, $"over {NestingLimit} schemas are nested in one place");
        result = r.IsConstant ? Constant(r) : Schema(r);
        underWay.Remove(r);
        return known[r] = result;
    }

    private List<Conjunct> Schema(Requirement r)
    {
        JsonElement schema = r.Element;
        if (schema.ValueKind is JsonValueKind.True or JsonValueKind.False) return schema.ValueKind == JsonValueKind.True != r.Negative ? Anything : Nothing;
        if (schema.ValueKind != JsonValueKind.Object) throw SchemaErrors.Malformed("schema", r.Pointer, $"is a {schema.ValueKind}, neither an object nor true or false");
        List<Conjunct> result = r.Negative ? Nothing : Anything;
        foreach (JsonProperty p in schema.EnumerateObject())
        {
            if (Keyword(p.Name, p.Value, r) is not { } says) continue;
            result = r.Negative ? Or(result, says, p.Name, r.Pointer) : And(result, says, p.Name, r.Pointer);
        }
        return r.Negative ? result : Unevaluated(result, r);
    }

    /// <summary>What one keyword (or, with a negative requirement, its opposite) says; null where it says nothing.</summary>
    private List<Conjunct>? Keyword(string name, JsonElement value, Requirement r)
    {
        Spend(name, r.Pointer);
        bool no = r.Negative;
        switch (name)
        {
            case "type": return Types(value, r);
            case "enum":
                if (value.ValueKind != JsonValueKind.Array) throw SchemaErrors.Malformed(name, r.Pointer, "is no array");
                return Constants(value.EnumerateArray(), r, name);
            case "const": return Constants([value], r, name);
            case "allOf": return Combine(value, name, r, all: !no);
            case "anyOf": return Combine(value, name, r, all: no);
            case "oneOf": return OneOf(value, r);
            case "not": return Alternatives(r.Child(name, value).Not());
            case "if": return Condition(value, r);
            case "$ref": return Alternatives(document.Resolve(Text(value, name, r), r));
            case "minLength": return Only(JsonKinds.String, no, new() { Strings = no ? new() { High = Count(value, name, r) - 1 } : new() { Low = Count(value, name, r) } });
            case "maxLength": return Only(JsonKinds.String, no, new() { Strings = no ? new() { Low = Above(value, name, r) } : new() { High = Count(value, name, r) } });
            case "pattern": return Pattern(new(Text(value, name, r), true, no, name, r.Pointer), no);
            case "format":
                try
                {
                    if (StringFormats.Pattern(Text(value, name, r)) is not { } pattern) return no ? Nothing : null;
                    // The expressions are subsets of the formats: what they leave out may still be of the format.
                    return no ? throw NotNegated(name, r) : Pattern(new(pattern, false, no, name, r.Pointer), no);
                }
                catch (PatternException e)
                {
                    throw SchemaErrors.Refused(name, r.Pointer, e.Message);
                }
            case "minimum": return Bound(value, name, r, low: true, Flag(r, "exclusiveMinimum"));
            case "maximum": return Bound(value, name, r, low: false, Flag(r, "exclusiveMaximum"));
            case "exclusiveMinimum": return value.ValueKind is JsonValueKind.True or JsonValueKind.False ? null : Bound(value, name, r, low: true, true);
            case "exclusiveMaximum": return value.ValueKind is JsonValueKind.True or JsonValueKind.False ? null : Bound(value, name, r, low: false, true);
            case "multipleOf":
                ExactNumber unit = Number(value, name, r);
                if (unit.Sign <= 0) throw SchemaErrors.Malformed(name, r.Pointer, "is not over zero");
                return Only(JsonKinds.Number, no, new() { Numbers = new() { Multiples = [(unit, no)] } });
            case "properties" or "patternProperties" or "additionalProperties": return Members(name, value, r);
            case "required": return Required(value, r);
            case "minProperties": return Only(JsonKinds.Object, no, new() { Objects = no ? new() { High = Count(value, name, r) - 1 } : new() { Low = Count(value, name, r) } });
            case "maxProperties": return Only(JsonKinds.Object, no, new() { Objects = no ? new() { Low = Above(value, name, r) } : new() { High = Count(value, name, r) } });
            case "propertyNames":
                return no ? throw NotNegated(name, r) : [new() { Objects = new() { Names = [r.Child(name, value)] } }];
            case "dependentRequired" or "dependentSchemas" or "dependencies": return Dependencies(name, value, r);
            case "prefixItems" or "items" or "additionalItems": return Items(name, r);
            case "minItems": return Only(JsonKinds.Array, no, new() { Arrays = no ? new() { High = Count(value, name, r) - 1 } : new() { Low = Count(value, name, r) } });
            case "maxItems": return Only(JsonKinds.Array, no, new() { Arrays = no ? new() { Low = Above(value, name, r) } : new() { High = Count(value, name, r) } });
            case "uniqueItems":
                if (value.ValueKind != JsonValueKind.True) return no ? Nothing : null;
                return no ? throw NotNegated(name, r) : [new() { Arrays = new() { Unique = true, Pointer = r.Pointer } }];
            case "contains": return Contains(value, r);
            case "$dynamicRef" or "$recursiveRef": throw SchemaErrors.Refused(name, r.Pointer, "it depends on where the schema is used from");
            // Handled with their neighbours, or annotations; the specification makes every unknown keyword an annotation (core, section 6.5).
            default: return null;
        }
    }

    private List<Conjunct> And(List<Conjunct> a, List<Conjunct> b, string keyword, string pointer)
    {
        if (ReferenceEquals(a, Anything) || ReferenceEquals(a, b)) return b;
        if (ReferenceEquals(b, Anything)) return a;
        var result = new List<Conjunct>();
        foreach (Conjunct x in a)
        {
            foreach (Conjunct y in b)
            {
                Spend(keyword, pointer);
                Conjunct both = x.And(y);
                if (both.Kinds != JsonKinds.None) result.Add(both);
            }
            Check(result.Count, keyword, pointer);
        }
        return result;
    }

    private List<Conjunct> Or(List<Conjunct> a, List<Conjunct> b, string keyword, string pointer)
    {
        if (a.Count == 0) return b;
        if (ReferenceEquals(a, Anything) || ReferenceEquals(b, Anything)) return Anything;
        var seen = new HashSet<Conjunct>(a, ReferenceEqualityComparer.Instance);
        List<Conjunct> result = [.. a, .. b.Where(seen.Add)];
        for (int i = 0; i < b.Count; i++) Spend(keyword, pointer);
        Check(result.Count, keyword, pointer);
        return result;
    }

    private void Spend(string keyword, string pointer)
    {
        if (++work > WorkLimit) throw SchemaErrors.Refused(keyword, pointer, $"the combinations of the schema's alternatives take over {WorkLimit} steps");
    }

    private static void Check(int alternatives, string keyword, string pointer)
    {
        if (alternatives > AlternativeLimit) throw SchemaErrors.Refused(keyword, pointer, $"a value would have over {AlternativeLimit} alternatives");
    }

    /// <summary>A keyword speaks about one kind; its opposite demands that kind.</summary>
    private static List<Conjunct> Only(JsonKinds kind, bool negative, Conjunct says) => [negative ? says with { Kinds = kind } : says];

    private static UnsupportedModelException NotNegated(string keyword, Requirement r) =>
        SchemaErrors.Refused("not", r.Pointer, $"'{keyword}' is negated (by not, oneOf, if or else)");
}
