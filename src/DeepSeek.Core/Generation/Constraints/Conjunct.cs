using System.Text.Json;

namespace DeepSeek.Generation.Constraints;

[Flags]
internal enum JsonKinds
{
    None = 0, Null = 1, True = 2, False = 4, Number = 8, String = 16, Array = 32, Object = 64, All = 127,
}

/// <summary>What one schema object says about members: a name's value satisfies its property and the patterns that match it, else the additional schema.</summary>
/// <param name="Properties">By name; null: known, with any value.</param>
/// <param name="Patterns">By regular expression; null: known, with any value.</param>
/// <param name="Additional">Null: nothing is said.</param>
/// <param name="Evaluates">Whether it counts for unevaluatedProperties (a negated schema does not).</param>
internal sealed record MemberFacet(
    IReadOnlyDictionary<string, Requirement?> Properties, IReadOnlyList<(StringPattern Name, Requirement? Value)> Patterns, Requirement? Additional, bool Evaluates);

/// <summary>What a schema says about an object.</summary>
internal sealed record ObjectConstraint
{
    public static ObjectConstraint None { get; } = new();

    public IReadOnlyList<MemberFacet> Facets { get; init; } = [];

    public IReadOnlyList<string> Required { get; init; } = [];

    public int Low { get; init; }

    public int High { get; init; } = Term.Unbounded;

    public IReadOnlyList<Requirement> Names { get; init; } = [];

    /// <summary>Each asks for at least one member that the facet does not know, with a value that satisfies the requirement.</summary>
    public IReadOnlyList<(MemberFacet Facet, Requirement Value)> Unexpected { get; init; } = [];

    public ObjectConstraint And(ObjectConstraint other) => new()
    {
        Facets = [.. Facets, .. other.Facets.Where(f => !Facets.Contains(f))],
        Required = [.. Required.Union(other.Required)],
        Low = Math.Max(Low, other.Low),
        High = Math.Min(High, other.High),
        Names = [.. Names.Union(other.Names)],
        Unexpected = [.. Unexpected, .. other.Unexpected],
    };

    /// <summary>What the value of a member has to satisfy.</summary>
    public IReadOnlyList<Requirement> ValueOf(string name, StringLanguage strings)
    {
        var all = new List<Requirement>();
        foreach (MemberFacet f in Facets)
        {
            bool known = f.Properties.TryGetValue(name, out Requirement? value);
            if (value is not null) all.Add(value);
            foreach ((StringPattern pattern, Requirement? patternValue) in f.Patterns)
            {
                if (!strings.Matches(pattern, name)) continue;
                known = true;
                if (patternValue is not null) all.Add(patternValue);
            }
            if (!known && f.Additional is not null) all.Add(f.Additional);
        }
        return all;
    }
}

/// <summary>What a schema says about an array.</summary>
internal sealed record ArrayConstraint
{
    public static ArrayConstraint None { get; } = new();

    public IReadOnlyList<(IReadOnlyList<Requirement> Prefix, Requirement? Beyond)> Facets { get; init; } = [];

    public int Low { get; init; }

    public int High { get; init; } = Term.Unbounded;

    public bool Unique { get; init; }

    public IReadOnlyList<(Requirement Item, int Low, int High, string Pointer)> Contains { get; init; } = [];

    public string Pointer { get; init; } = "";

    public int PrefixCount => Facets.Count == 0 ? 0 : Facets.Max(f => f.Prefix.Count);

    public ArrayConstraint And(ArrayConstraint other) => new()
    {
        Facets = [.. Facets, .. other.Facets],
        Low = Math.Max(Low, other.Low),
        High = Math.Min(High, other.High),
        Unique = Unique || other.Unique,
        Contains = [.. Contains, .. other.Contains],
        Pointer = Pointer.Length > 0 ? Pointer : other.Pointer,
    };

    /// <summary>What the item at an index has to satisfy.</summary>
    public IReadOnlyList<Requirement> ItemAt(int index)
    {
        var all = new List<Requirement>();
        foreach ((IReadOnlyList<Requirement> prefix, Requirement? beyond) in Facets)
        {
            if (index < prefix.Count) all.Add(prefix[index]);
            else if (beyond is not null) all.Add(beyond);
        }
        return all;
    }
}

/// <summary>One way to satisfy a schema: a value of one of the kinds that satisfies what is said about its kind.</summary>
internal sealed record Conjunct
{
    public static Conjunct Anything { get; } = new();

    public JsonKinds Kinds { get; init; } = JsonKinds.All;

    public NumberConstraint Numbers { get; init; } = NumberConstraint.None;

    public StringConstraint Strings { get; init; } = StringConstraint.None;

    public ArrayConstraint Arrays { get; init; } = ArrayConstraint.None;

    public ObjectConstraint Objects { get; init; } = ObjectConstraint.None;

    public Conjunct And(Conjunct other) => ReferenceEquals(this, Anything) ? other : ReferenceEquals(other, Anything) ? this : new()
    {
        Kinds = Kinds & other.Kinds,
        Numbers = ReferenceEquals(other.Numbers, NumberConstraint.None) ? Numbers : ReferenceEquals(Numbers, NumberConstraint.None) ? other.Numbers : Numbers.And(other.Numbers),
        Strings = ReferenceEquals(other.Strings, StringConstraint.None) ? Strings : ReferenceEquals(Strings, StringConstraint.None) ? other.Strings : Strings.And(other.Strings),
        Arrays = ReferenceEquals(other.Arrays, ArrayConstraint.None) ? Arrays : ReferenceEquals(Arrays, ArrayConstraint.None) ? other.Arrays : Arrays.And(other.Arrays),
        Objects = ReferenceEquals(other.Objects, ObjectConstraint.None) ? Objects : ReferenceEquals(Objects, ObjectConstraint.None) ? other.Objects : Objects.And(other.Objects),
    };

    public static JsonKinds KindOf(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Null => JsonKinds.Null,
        JsonValueKind.True => JsonKinds.True,
        JsonValueKind.False => JsonKinds.False,
        JsonValueKind.Number => JsonKinds.Number,
        JsonValueKind.String => JsonKinds.String,
        JsonValueKind.Array => JsonKinds.Array,
        _ => JsonKinds.Object,
    };
}
