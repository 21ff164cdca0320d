using System.Globalization;
using System.Text;

namespace DeepSeek.Generation.Constraints;

/// <summary>A set of Unicode scalar values: ascending, disjoint, inclusive ranges. Surrogates are never in it.</summary>
internal sealed class CodePointSet
{
    public const int Last = 0x10FFFF;

    private CodePointSet(List<(int Low, int High)> ranges) => Ranges = ranges;

    public IReadOnlyList<(int Low, int High)> Ranges { get; }

    public static CodePointSet All { get; } = Of((0, Last));

    public static CodePointSet Of(params IEnumerable<(int Low, int High)> ranges)
    {
        var merged = new List<(int Low, int High)>();
        foreach ((int low, int high) in ranges.SelectMany(WithoutSurrogates).OrderBy(r => r.Item1))
        {
            if (merged.Count > 0 && low <= merged[^1].High + 1) merged[^1] = (merged[^1].Low, Math.Max(merged[^1].High, high));
            else merged.Add((low, high));
        }
        return new(merged);
    }

    public static CodePointSet Of(int codePoint) => Of((codePoint, codePoint));

    /// <summary>All characters of some general categories, as this platform knows them.</summary>
    public static CodePointSet OfCategories(Func<UnicodeCategory, bool> contains)
    {
        var ranges = new List<(int, int)>();
        for (int c = 0; c <= Last; c++)
            if (c is < 0xD800 or > 0xDFFF && contains(CharUnicodeInfo.GetUnicodeCategory(c))) ranges.Add((c, c));
        return Of(ranges);
    }

    public CodePointSet Union(CodePointSet other) => Of(Ranges.Concat(other.Ranges));

    public CodePointSet Complement()
    {
        var gaps = new List<(int, int)>();
        int next = 0;
        foreach ((int low, int high) in Ranges)
        {
            if (low > next) gaps.Add((next, low - 1));
            next = high + 1;
        }
        if (next <= Last) gaps.Add((next, Last));
        return Of(gaps);
    }

    public CodePointSet Intersect(CodePointSet other) => Complement().Union(other.Complement()).Complement();

    private static IEnumerable<(int, int)> WithoutSurrogates((int Low, int High) r)
    {
        if (r.Low > r.High) yield break;
        if (r.High < 0xD800 || r.Low > 0xDFFF)
        {
            yield return r;
            yield break;
        }
        if (r.Low < 0xD800) yield return (r.Low, 0xD7FF);
        if (r.High > 0xDFFF) yield return (0xE000, r.High);
    }
}

/// <summary>How characters become bytes: as they are, or inside a JSON string.</summary>
internal sealed class CharacterEncoder(TermFactory factory, bool json)
{
    private Term? any;

    /// <summary>Any character.</summary>
    public Term Any => any ??= Encode(CodePointSet.All);

    /// <summary>
    /// The bytes of one character of the set: UTF-8 (RFC 3629); inside a JSON string what RFC 8259 section 7 demands to be escaped, in its shortest
    /// spelling, and nothing else, so that one text has one spelling and complements are exact.
    /// </summary>
    public Term Encode(CodePointSet set)
    {
        var parts = new List<Term>();
        foreach ((int low, int high) in set.Ranges)
        {
            int from = low;
            if (json)
            {
                for (; from <= high && from < 0x20; from++) parts.Add(factory.Literal(JsonText.Escape(from)));
                foreach (int quoted in (ReadOnlySpan<int>)['"', '\\'])
                {
                    if (from > quoted || high < quoted) continue;
                    Utf8(from, quoted - 1, parts);
                    parts.Add(factory.Literal(JsonText.Escape(quoted)));
                    from = quoted + 1;
                }
            }
            Utf8(from, high, parts);
        }
        return factory.Alternatives([.. parts]);
    }

    /// <summary>Splits a range of code points until each part is a sequence of byte ranges.</summary>
    private void Utf8(int low, int high, List<Term> parts)
    {
        if (low > high) return;
        foreach (int limit in (ReadOnlySpan<int>)[0x7F, 0x7FF, 0xFFFF])
        {
            if (low > limit || high <= limit) continue;
            Utf8(low, limit, parts);
            Utf8(limit + 1, high, parts);
            return;
        }
        // The last i continuation bytes must run over their whole range, or be a single value.
        for (int i = 1; i <= 3 && high > 0x7F; i++)
        {
            int mask = (1 << (6 * i)) - 1;
            if ((low & ~mask) == (high & ~mask)) continue;
            if ((low & mask) != 0)
            {
                Utf8(low, low | mask, parts);
                Utf8((low | mask) + 1, high, parts);
                return;
            }
            if ((high & mask) != mask)
            {
                Utf8(low, (high & ~mask) - 1, parts);
                Utf8(high & ~mask, high, parts);
                return;
            }
        }
        Span<byte> first = stackalloc byte[4], last = stackalloc byte[4];
        int length = new Rune(low).EncodeToUtf8(first);
        new Rune(high).EncodeToUtf8(last);
        Term term = factory.Epsilon;
        for (int i = length - 1; i >= 0; i--) term = factory.Concat(factory.Range(first[i], last[i]), term);
        parts.Add(term);
    }
}
