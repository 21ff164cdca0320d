using System.Text;

namespace DeepSeek.Generation.Constraints;

/// <summary>A regular expression that a string has to match, or must not.</summary>
/// <param name="Text">The expression.</param>
/// <param name="Search">Whether a match anywhere counts, else the whole string has to match.</param>
/// <param name="Negative">Whether it must not match.</param>
/// <param name="Keyword">The keyword that asks for it.</param>
/// <param name="Pointer">Where that stands.</param>
internal sealed record StringPattern(string Text, bool Search, bool Negative, string Keyword, string Pointer);

/// <summary>What a schema says about a string. Lengths count code points.</summary>
internal sealed record StringConstraint
{
    public static StringConstraint None { get; } = new();

    public int Low { get; init; }

    public int High { get; init; } = Term.Unbounded;

    public IReadOnlyList<StringPattern> Patterns { get; init; } = [];

    /// <summary>The values that enum and const leave over, in order; null: no such list.</summary>
    public IReadOnlyList<string>? Allowed { get; init; }

    public IReadOnlyList<string> Excluded { get; init; } = [];

    public StringConstraint And(StringConstraint other) => new()
    {
        Low = Math.Max(Low, other.Low),
        High = Math.Min(High, other.High),
        Patterns = [.. Patterns.Union(other.Patterns)],
        Allowed = Allowed is null ? other.Allowed : other.Allowed is null ? Allowed : [.. Allowed.Intersect(other.Allowed)],
        Excluded = [.. Excluded.Union(other.Excluded)],
    };
}

/// <summary>The strings that a schema allows, in one spelling.</summary>
internal sealed class StringLanguage(TermFactory factory, StringSpelling spelling)
{
    private readonly PatternCompiler patterns = new(factory, spelling.Encoder);
    private readonly Dictionary<(string, bool), Term> compiled = [];

    /// <summary>A string, with its quotes where it has any.</summary>
    public Term Compile(StringConstraint c)
    {
        if (c.Low > c.High) return factory.Empty;
        if (c.Allowed is not null) return factory.Alternatives([.. Values(c).Select(spelling.String)]);
        if (c.Patterns.Count == 0 && c.Excluded.Count == 0)
            return c is { Low: 0, High: Term.Unbounded } ? spelling.FreeString : spelling.Quoted(factory.Repeat(spelling.FreeCharacter, c.Low, c.High));
        if (!spelling.LeavesOut && c is { Low: 0, High: Term.Unbounded, Patterns: [{ Negative: false }], Excluded.Count: 0 }) return spelling.Quoted(Content(c.Patterns[0]));
        return spelling.Quoted(factory.FromAutomaton(Combine(c)));
    }

    /// <summary>The allowed values that satisfy the rest.</summary>
    public IEnumerable<string> Values(StringConstraint c) => c.Allowed!.Where(v => Contains(c, v));

    public bool Contains(StringConstraint c, string value)
    {
        int length = value.EnumerateRunes().Count();
        if (length < c.Low || length > c.High || c.Excluded.Contains(value) || c.Allowed is not null && !c.Allowed.Contains(value)) return false;
        return c.Patterns.Count == 0 || c.Patterns.All(p => Matches(p, value));
    }

    /// <summary>Whether a pattern lets a value through.</summary>
    public bool Matches(StringPattern pattern, string value)
    {
        return factory.Accepts(Content(pattern), Encoding.UTF8.GetBytes(spelling.Spelled(value))) != pattern.Negative;
    }

    private Automaton? Combine(StringConstraint c)
    {
        Term all = factory.Star(spelling.Character);
        string keyword = c.Patterns.Count > 0 ? c.Patterns[0].Keyword : "not";
        try
        {
            Automaton? result = Automaton.FromTerm(factory, all);
            foreach (StringPattern p in c.Patterns.OrderBy(p => p.Negative))
            {
                keyword = p.Keyword;
                Automaton? other = Automaton.FromTerm(factory, Content(p));
                result = p.Negative ? Automaton.Except(result, other) : Automaton.Intersect(result, other);
            }
            keyword = c.High < Term.Unbounded ? "maxLength" : c.Low > 0 ? "minLength" : "not";
            if (c.Excluded.Count > 0)
                result = Automaton.Except(result, Automaton.FromTerm(factory, factory.Alternatives([.. c.Excluded.Select(v => factory.Literal(spelling.Spelled(v)))])));
            if (c.Low > 0 || c.High < Term.Unbounded)
                result = result?.OfLength(Automaton.FromTerm(factory, spelling.Character)!, c.Low, c.High);
            return result;
        }
        catch (AutomatonTooLargeException e)
        {
            throw SchemaErrors.Refused(keyword, c.Patterns.Count > 0 ? c.Patterns[0].Pointer : "", $"together with its other restrictions the string needs an automaton that is too large ({e.Message})");
        }
    }

    private Term Content(StringPattern p)
    {
        if (compiled.TryGetValue((p.Text, p.Search), out Term? known)) return known;
        try
        {
            return compiled[(p.Text, p.Search)] = patterns.Compile(p.Text, p.Search);
        }
        catch (Exception e) when (e is PatternException or AutomatonTooLargeException)
        {
            throw SchemaErrors.Refused(p.Keyword, p.Pointer, $"'{p.Text}': {e.Message}");
        }
    }
}
