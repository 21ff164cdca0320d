namespace DeepSeek.Generation.Constraints;

/// <summary>The arrays that a schema allows.</summary>
internal sealed class ArrayLanguage(
    TermFactory factory, JsonText json, Func<IReadOnlyList<Requirement>, Term> value, Func<IReadOnlyList<Requirement>, List<string>?> fewValues)
{
    /// <summary>Different values that the items of an array with uniqueItems may have.</summary>
    public const int UniqueLimit = 8;

    /// <summary>States that counting items, and matching items, may take.</summary>
    public const int CountLimit = 4_000;

    public Term Compile(ArrayConstraint c)
    {
        if (c.Low > c.High) return factory.Empty;
        Term items = c.Unique && c.High > 1 ? Unique(c) : c.Contains.Count > 0 ? Containing(c) : Plain(c);
        return factory.Sequence(factory.Literal("["), items, factory.Literal("]"));
    }

    private Term Plain(ArrayConstraint c)
    {
        int prefix = c.PrefixCount;
        if (prefix == 0) return json.List(value(c.ItemAt(0)), c.Low, c.High);
        // Behind the prefix: items that each bring their comma.
        int high = c.High == Term.Unbounded ? c.High : Math.Max(0, c.High - prefix);
        Term tail = factory.Repeat(factory.Concat(json.Comma, value(c.ItemAt(prefix))), Math.Max(0, c.Low - prefix), high);
        for (int i = prefix - 1; i >= 0; i--)
        {
            Term next = i >= c.High ? factory.Empty : factory.Sequence(i == 0 ? factory.Epsilon : json.Comma, value(c.ItemAt(i)), tail);
            tail = i >= c.Low ? factory.Optional(next) : next;
        }
        return tail;
    }

    /// <summary>Items are counted together with those that "contains" asks for; to limit the latter, the others must not match.</summary>
    private Term Containing(ArrayConstraint c)
    {
        if (c.Contains.Count > 1) throw SchemaErrors.Refused("contains", c.Contains[1].Pointer, "an array has two of them");
        (Requirement wanted, int low, int high, string pointer) = c.Contains[0];
        if (low == 0 && high == Term.Unbounded) return Plain(c);
        if (c.PrefixCount > 0) throw SchemaErrors.Refused("contains", pointer, "it stands beside 'prefixItems'");
        if (low > high) return factory.Empty;
        IReadOnlyList<Requirement> item = c.ItemAt(0);
        Term match = factory.Concat(json.Comma, value([.. item, wanted]));
        Term other = factory.Concat(json.Comma, value(high == Term.Unbounded ? item : [.. item, wanted.Not()]));
        int lastMatch = high == Term.Unbounded ? low : high, lastItem = c.High == Term.Unbounded ? c.Low : c.High;
        if ((long)(lastMatch + 1) * (lastItem + 1) > CountLimit) throw SchemaErrors.Refused("contains", pointer, $"counting the items takes over {CountLimit} states");
        // rest[m] = what may follow when i items, m of them matching, are written; from the last i back to none.
        var rest = new Term[lastMatch + 2];
        rest[lastMatch + 1] = factory.Empty;
        for (int i = lastItem; i >= 0; i--)
        {
            var here = new Term[lastMatch + 2];
            here[lastMatch + 1] = factory.Empty;
            for (int m = lastMatch; m >= 0; m--)
            {
                Term end = m >= low && i >= c.Low ? factory.Epsilon : factory.Empty;
                if (i == lastItem && c.High != Term.Unbounded) here[m] = end;
                else if (i < lastItem)
                {
                    Term matched = high == Term.Unbounded && m == lastMatch ? rest[m] : rest[m + 1];
                    here[m] = factory.Alternatives(end, factory.Concat(match, matched), factory.Concat(other, rest[m]));
                }
                else
                {
                    // The number of items no longer matters.
                    Term others = factory.Star(other);
                    here[m] = high == Term.Unbounded && m == lastMatch
                        ? others
                        : factory.Concat(others, m >= low ? factory.Optional(factory.Concat(match, here[m + 1])) : factory.Concat(match, here[m + 1]));
                }
            }
            rest = here;
        }
        // The first item has no comma before it; its optional blank does no harm.
        return factory.Alternatives(rest[0].Nullable ? factory.Epsilon : factory.Empty, factory.Next(rest[0], (byte)','));
    }

    private Term Unique(ArrayConstraint c)
    {
        if (c.PrefixCount > 0) throw SchemaErrors.Refused("uniqueItems", c.Pointer, "it stands beside 'prefixItems'");
        if (c.Contains.Count > 0) throw SchemaErrors.Refused("uniqueItems", c.Pointer, "it stands beside 'contains'");
        if (fewValues(c.ItemAt(0)) is not { } values)
            throw SchemaErrors.Refused("uniqueItems", c.Pointer, $"the items may have more than {UniqueLimit} different values");
        if (c.Low > values.Count) return factory.Empty;
        var rest = new Term[1 << values.Count];
        for (int used = rest.Length - 1; used >= 0; used--)
        {
            int count = System.Numerics.BitOperations.PopCount((uint)used);
            var parts = new List<Term> { count >= c.Low ? factory.Epsilon : factory.Empty };
            for (int i = 0; i < values.Count && count < c.High; i++)
            {
                if ((used >> i & 1) != 0) continue;
                parts.Add(factory.Sequence(used == 0 ? factory.Epsilon : json.Comma, factory.Literal(values[i]), rest[used | 1 << i]));
            }
            rest[used] = factory.Alternatives([.. parts]);
        }
        return rest[0];
    }
}
