namespace DeepSeek.Generation.Constraints;

/// <summary>What a schema says about a number.</summary>
internal sealed record NumberConstraint
{
    public static NumberConstraint None { get; } = new();

    public ExactNumber? Low { get; init; }

    public bool LowExclusive { get; init; }

    public ExactNumber? High { get; init; }

    public bool HighExclusive { get; init; }

    /// <summary>Whether it has to be whole, must not be whole, or either.</summary>
    public bool? Whole { get; init; }

    /// <summary>A contradiction, e.g. whole and not whole.</summary>
    public bool Impossible { get; init; }

    public IReadOnlyList<(ExactNumber Unit, bool Negative)> Multiples { get; init; } = [];

    /// <summary>The values that enum and const leave over, with their spelling; null: no such list.</summary>
    public IReadOnlyDictionary<ExactNumber, string>? Allowed { get; init; }

    public IReadOnlyList<ExactNumber> Excluded { get; init; } = [];

    public NumberConstraint And(NumberConstraint other)
    {
        bool lowIsOther = other.Low is { } ol && (Low is not { } l || ol.CompareTo(l) is var c && (c > 0 || c == 0 && other.LowExclusive));
        bool highIsOther = other.High is { } oh && (High is not { } h || oh.CompareTo(h) is var d && (d < 0 || d == 0 && other.HighExclusive));
        return new()
        {
            Low = lowIsOther ? other.Low : Low,
            LowExclusive = lowIsOther ? other.LowExclusive : LowExclusive,
            High = highIsOther ? other.High : High,
            HighExclusive = highIsOther ? other.HighExclusive : HighExclusive,
            Whole = Whole ?? other.Whole,
            Impossible = Impossible || other.Impossible || Whole is { } w && other.Whole is { } v && w != v,
            Multiples = [.. Multiples, .. other.Multiples],
            Allowed = Allowed is null ? other.Allowed : other.Allowed is null ? Allowed : Allowed.Where(p => other.Allowed.ContainsKey(p.Key)).ToDictionary(),
            Excluded = [.. Excluded, .. other.Excluded],
        };
    }

    public bool Contains(ExactNumber value) =>
        !Impossible
        && (Low is not { } low || value.CompareTo(low) is var c && (c > 0 || c == 0 && !LowExclusive))
        && (High is not { } high || value.CompareTo(high) is var d && (d < 0 || d == 0 && !HighExclusive))
        && (Whole is not { } whole || value.IsInteger == whole)
        && Multiples.All(m => value.IsMultipleOf(m.Unit) != m.Negative)
        && (Allowed is null || Allowed.ContainsKey(value))
        && !Excluded.Contains(value);
}
