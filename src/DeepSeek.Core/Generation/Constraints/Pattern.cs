namespace DeepSeek.Generation.Constraints;

/// <summary>A regular expression's syntax tree (the regular part of ECMA-262, section 22.2).</summary>
internal abstract record Pattern
{
    public sealed record Characters(CodePointSet Set) : Pattern;

    public sealed record Sequence(IReadOnlyList<Pattern> Parts) : Pattern;

    public sealed record Either(IReadOnlyList<Pattern> Parts) : Pattern;

    public sealed record Repeated(Pattern Inner, int Low, int High) : Pattern;

    /// <summary><c>^</c></summary>
    public sealed record Start : Pattern;

    /// <summary><c>$</c></summary>
    public sealed record End : Pattern;

    /// <summary><c>(?=…)</c> and <c>(?!…)</c></summary>
    public sealed record LookAhead(Pattern Inner, bool Negative) : Pattern;
}

/// <summary>Turns regular expressions into languages over bytes.</summary>
internal sealed class PatternCompiler(TermFactory factory, CharacterEncoder encoder)
{
    /// <summary>Characters that a pattern may have with its counted repetitions written out.</summary>
    public const int SizeLimit = 10_000;

    /// <summary>The texts in which a pattern finds a match (JSON Schema), or that it matches as a whole.</summary>
    /// <exception cref="PatternException">The pattern is malformed, not regular, or too large.</exception>
    public Term Compile(string text, bool search)
    {
        Pattern pattern = PatternParser.Parse(text);
        if (Size(pattern) > SizeLimit) throw new PatternException($"written out it has over {SizeLimit} characters");
        Term everything = factory.Star(encoder.Any);
        var branches = new List<Term>();
        foreach (Branch branch in Split(pattern, 0))
        {
            Term body = ToTerm(branch.Core);
            bool fromStart = !search || branch.FromStart;
            if (!fromStart) body = factory.Concat(everything, body);
            if (search && !branch.ToEnd) body = factory.Concat(body, everything);
            if (branch.Ahead.Count > 0)
            {
                if (!fromStart) throw new PatternException("look-ahead is supported only after ^ at the beginning");
                body = Restrict(body, branch.Ahead, everything);
            }
            branches.Add(body);
        }
        return factory.Alternatives([.. branches]);
    }

    private Term Restrict(Term body, IReadOnlyList<Pattern.LookAhead> ahead, Term everything)
    {
        Automaton? result = Automaton.FromTerm(factory, body);
        foreach (Pattern.LookAhead look in ahead)
        {
            var allowed = new List<Term>();
            foreach (Branch b in Split(look.Inner, 0))
            {
                if (b.Ahead.Count > 0) throw new PatternException("look-ahead inside look-ahead");
                allowed.Add(b.ToEnd ? ToTerm(b.Core) : factory.Concat(ToTerm(b.Core), everything));
            }
            Automaton? other = Automaton.FromTerm(factory, factory.Alternatives([.. allowed]));
            result = look.Negative ? Automaton.Except(result, other) : Automaton.Intersect(result, other);
        }
        return factory.FromAutomaton(result);
    }

    private Term ToTerm(Pattern pattern)
    {
        switch (pattern)
        {
            case Pattern.Characters c:
                return encoder.Encode(c.Set);
            case Pattern.Sequence s:
                Term result = factory.Epsilon;
                for (int i = s.Parts.Count - 1; i >= 0; i--) result = factory.Concat(ToTerm(s.Parts[i]), result);
                return result;
            case Pattern.Either e:
                return factory.Alternatives([.. e.Parts.Select(ToTerm)]);
            case Pattern.Repeated r:
                return factory.Repeat(ToTerm(r.Inner), r.Low, r.High);
            default:
                throw new PatternException("^, $ and look-ahead are supported only at the borders of the pattern");
        }
    }

    private static long Size(Pattern pattern) => pattern switch
    {
        Pattern.Sequence s => Math.Min(SizeLimit + 1, s.Parts.Sum(Size)),
        Pattern.Either e => Math.Min(SizeLimit + 1, e.Parts.Sum(Size)),
        Pattern.Repeated r => Math.Min(SizeLimit + 1, Size(r.Inner) * Math.Max(1, r.High == Term.Unbounded ? (long)r.Low + 1 : r.High)),
        Pattern.LookAhead l => Size(l.Inner),
        _ => 1,
    };

    /// <summary>An alternative of the whole pattern, its anchors and leading look-aheads taken off.</summary>
    private sealed record Branch(bool FromStart, bool ToEnd, IReadOnlyList<Pattern.LookAhead> Ahead, Pattern Core);

    private static List<Branch> Split(Pattern pattern, int depth)
    {
        if (depth > PatternParser.DepthLimit) throw new PatternException("too many nested groups");
        switch (pattern)
        {
            case Pattern.Either e when HasAnchor(e):
                return [.. e.Parts.SelectMany(p => Split(p, depth + 1))];
            case Pattern.Start:
                return [new(true, false, [], new Pattern.Sequence([]))];
            case Pattern.End:
                return [new(false, true, [], new Pattern.Sequence([]))];
            case Pattern.LookAhead l:
                return [new(false, false, [l], new Pattern.Sequence([]))];
            case Pattern.Sequence s when HasAnchor(s):
                return SplitSequence(s.Parts, depth);
            default:
                return [new(false, false, [], pattern)];
        }
    }

    private static List<Branch> SplitSequence(IReadOnlyList<Pattern> parts, int depth)
    {
        int from = 0, to = parts.Count;
        bool start = false, end = false;
        var ahead = new List<Pattern.LookAhead>();
        for (; from < to && parts[from] is Pattern.Start or Pattern.LookAhead; from++)
        {
            if (parts[from] is Pattern.LookAhead look) ahead.Add(look);
            else start = true;
        }
        for (; to > from && parts[to - 1] is Pattern.End; to--) end = true;
        List<Branch> heads = to > from && HasAnchor(parts[from]) ? Split(parts[from++], depth + 1) : [Nothing];
        List<Branch> tails = to > from && HasAnchor(parts[to - 1]) ? Split(parts[--to], depth + 1) : [Nothing];
        if ((long)heads.Count * tails.Count > 256) throw new PatternException("too many alternatives with anchors");
        Pattern[] middle = [.. parts.Skip(from).Take(to - from)];
        var branches = new List<Branch>();
        foreach (Branch h in heads)
        {
            foreach (Branch t in tails)
            {
                bool last = middle.Length == 0 && t.Core is Pattern.Sequence { Parts.Count: 0 };
                bool first = middle.Length == 0 && h.Core is Pattern.Sequence { Parts.Count: 0 };
                if (h.ToEnd && !last || t.FromStart && !first || t.Ahead.Count > 0 && !first)
                    throw new PatternException("^, $ and look-ahead are supported only at the borders of the pattern");
                branches.Add(new(start || h.FromStart || t.FromStart, end || h.ToEnd || t.ToEnd, [.. ahead, .. h.Ahead, .. t.Ahead],
                    new Pattern.Sequence([h.Core, .. middle, t.Core])));
            }
        }
        return branches;
    }

    private static Branch Nothing { get; } = new(false, false, [], new Pattern.Sequence([]));

    private static bool HasAnchor(Pattern pattern) => pattern switch
    {
        Pattern.Sequence s => s.Parts.Any(HasAnchor),
        Pattern.Either e => e.Parts.Any(HasAnchor),
        Pattern.Repeated r => HasAnchor(r.Inner),
        Pattern.Start or Pattern.End or Pattern.LookAhead => true,
        _ => false,
    };
}

/// <summary>A regular expression is malformed, not regular, or too large; whoever knows where it stood reports it.</summary>
internal sealed class PatternException(string message) : Exception(message);
