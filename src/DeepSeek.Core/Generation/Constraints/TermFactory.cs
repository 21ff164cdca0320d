using System.Text;

namespace DeepSeek.Generation.Constraints;

/// <summary>
/// Makes the terms of one grammar: normalised, shared, and expanded into tables on demand. Safe for concurrent use. Memory is bounded: while a grammar is
/// compiled, too many terms are an error; while it is matched, what was derived is forgotten and derived again.
/// </summary>
internal sealed class TermFactory
{
    /// <summary>Terms that one grammar may be compiled into; a schema with a thousand properties takes some ten thousand.</summary>
    public const int CompileLimit = 400_000;

    /// <summary>Members that all alternatives of a grammar may have together.</summary>
    public const int MemberLimit = 4_000_000;

    /// <summary>Terms that matching may add before the derived ones are forgotten.</summary>
    public const int DerivedLimit = 100_000;

    private readonly Lock gate = new();
    private readonly Dictionary<string, byte[]> literals = [];
    private readonly Dictionary<ByteMap, byte[]> maps = [];
    private readonly List<Term> rules = [];
    private readonly List<Term?> bodies = [];
    private HashSet<Term> terms = new(TermComparer.Instance);
    private List<Term> compiled = [];
    private List<Term> expanded = [];
    private int nextId;
    private long members;
    private bool matching;

    public TermFactory()
    {
        Empty = Intern(new() { Kind = TermKind.Empty, Nullable = false });
        Epsilon = Intern(new() { Kind = TermKind.Epsilon, Nullable = true });
    }

    public Term Empty { get; }

    public Term Epsilon { get; }

    /// <summary>How often the derived terms were forgotten to make room.</summary>
    public int ForgottenCount { get; private set; }

    public Term Bytes(ByteSet set) => set.IsEmpty ? Empty : Intern(new() { Kind = TermKind.Bytes, Nullable = false, Set = set });

    public Term Range(int low, int high) => Bytes(ByteSet.Range(low, high));

    public Term Literal(string text) => Literal(Encoding.UTF8.GetBytes(text));

    public Term Literal(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty) return Epsilon;
        string key = Encoding.Latin1.GetString(bytes);
        byte[]? shared;
        lock (gate)
        {
            if (!literals.TryGetValue(key, out shared)) literals[key] = shared = bytes.ToArray();
        }
        return LiteralAt(shared, 0);
    }

    public Term Sequence(params ReadOnlySpan<Term> parts)
    {
        Term result = Epsilon;
        for (int i = parts.Length - 1; i >= 0; i--) result = Concat(parts[i], result);
        return result;
    }

    /// <summary>
    /// One after the other. Alternatives at the head become alternatives of sequences, so that a state is a set of stacks; those further down stay as they
    /// are, or an object with many optional members would be copied along every path through it.
    /// </summary>
    public Term Concat(Term a, Term b)
    {
        if (a.Kind != TermKind.Alternatives) return Join(a, b);
        if (b.Kind is TermKind.Empty or TermKind.Epsilon) return b.IsEmpty ? b : a;
        var items = new Term[a.Items.Length];
        for (int i = 0; i < items.Length; i++) items[i] = Join(a.Items[i], b);
        return Alternatives(items);
    }

    /// <summary>One after the other, nested to the right.</summary>
    private Term Join(Term a, Term b)
    {
        if (a.IsEmpty || b.IsEmpty) return Empty;
        if (a.Kind == TermKind.Epsilon) return b;
        if (b.Kind == TermKind.Epsilon) return a;
        if (a.Kind != TermKind.Concat) return Intern(new() { Kind = TermKind.Concat, Nullable = a.Nullable && b.Nullable, First = a, Second = b });
        var spine = new List<Term>();
        for (; a.Kind == TermKind.Concat; a = a.Second!) spine.Add(a.First!);
        Term result = Join(a, b);
        for (int i = spine.Count - 1; i >= 0; i--) result = Join(spine[i], result);
        return result;
    }

    /// <summary>The stacks of a state: what may come, each with a top that is no alternatives.</summary>
    public void Stacks(Term state, List<Term> stacks)
    {
        if (state.Kind == TermKind.Alternatives)
        {
            foreach (Term item in state.Items) Stacks(item, stacks);
        }
        else if (state is { Kind: TermKind.Concat, First.Kind: TermKind.Alternatives }) Stacks(Concat(state.First, state.Second!), stacks);
        else if (state.Kind != TermKind.Epsilon) stacks.Add(state);
    }

    public Term Alternatives(params ReadOnlySpan<Term> parts)
    {
        var flat = new List<Term>(parts.Length);
        ByteSet set = default;
        foreach (Term part in parts)
        {
            if (part.Kind != TermKind.Alternatives) Add(part);
            else foreach (Term item in part.Items) Add(item);
        }
        if (!set.IsEmpty) flat.Add(Bytes(set));
        if (flat.Count == 0) return Empty;
        if (flat.Count == 1) return flat[0];
        flat.Sort(static (x, y) => x.Id.CompareTo(y.Id));
        int count = 1;
        for (int i = 1; i < flat.Count; i++)
            if (!ReferenceEquals(flat[i], flat[count - 1])) flat[count++] = flat[i];
        if (count == 1) return flat[0];
        flat.RemoveRange(count, flat.Count - count);
        bool nullable = false;
        foreach (Term t in flat) nullable |= t.Nullable;
        return Intern(new() { Kind = TermKind.Alternatives, Nullable = nullable, Items = [.. flat] });

        void Add(Term t)
        {
            if (t.Kind == TermKind.Bytes) set |= t.Set;
            else if (!t.IsEmpty) flat.Add(t);
        }
    }

    public Term Optional(Term t) => Alternatives(t, Epsilon);

    public Term Repeat(Term t, int low, int high)
    {
        if (low > high) return Empty;
        if (high == 0 || t.Kind == TermKind.Epsilon) return Epsilon;
        if (t.IsEmpty) return low == 0 ? Epsilon : Empty;
        if (t.Nullable) low = 0;
        if (low == 1 && high == 1) return t;
        if (low == 0 && high == 1) return Optional(t);
        if (t.Kind == TermKind.Repeat && t.Low == 0 && t.High == Term.Unbounded && high == Term.Unbounded) return t;
        return Intern(new() { Kind = TermKind.Repeat, Nullable = low == 0, First = t, Low = low, High = high });
    }

    public Term Star(Term t) => Repeat(t, 0, Term.Unbounded);

    /// <summary>A unit of text whose token mask is worked out once for all places where it occurs: a string, a number.</summary>
    public Term Lexeme(Term t) => t.Kind is TermKind.Empty or TermKind.Epsilon or TermKind.Lexeme or TermKind.Automaton
        ? t
        : Intern(new() { Kind = TermKind.Lexeme, Nullable = t.Nullable, First = t });

    public Term FromAutomaton(Automaton? automaton, int state = 0) => automaton is null || state < 0
        ? Empty
        : automaton.IsFinal(state)
            ? Epsilon
            : Intern(new() { Kind = TermKind.Automaton, Nullable = automaton.Accepting[state], Automaton = automaton, Low = state });

    /// <summary>Declares a rule, whose body may come later; a rule never matches the empty text.</summary>
    public Term DeclareRule()
    {
        Term rule = Intern(new() { Kind = TermKind.Rule, Nullable = false, Low = rules.Count });
        rules.Add(rule);
        bodies.Add(null);
        return rule;
    }

    public void DefineRule(Term rule, Term body) => bodies[rule.Low] = body;

    public Term Body(Term rule) => bodies[rule.Low] ?? Empty;

    /// <summary>The term after a byte; <see cref="Empty"/> where the byte is not allowed.</summary>
    public Term Next(Term t, byte value) => (t.Table ?? Expand(t))[value];

    /// <summary>The term after some bytes.</summary>
    public Term Next(Term t, ReadOnlySpan<byte> bytes)
    {
        foreach (byte b in bytes)
        {
            t = Next(t, b);
            if (t.IsEmpty) break;
        }
        return t;
    }

    public bool Accepts(Term t, ReadOnlySpan<byte> bytes) => Next(t, bytes).Nullable;

    /// <summary>Ends compilation: from here on derived terms may be forgotten.</summary>
    public void StartMatching()
    {
        compiled = [.. terms];
        matching = true;
    }

    /// <summary>Fills in the table of a term.</summary>
    public TransitionTable Expand(Term t)
    {
        lock (gate)
        {
            if (matching && terms.Count > compiled.Count + DerivedLimit) Forget();
            return ExpandCore(t, 0);
        }
    }

    private void Forget()
    {
        terms = new(compiled, TermComparer.Instance);
        foreach (Term t in expanded) t.Table = null;
        maps.Clear();
        ForgottenCount++;
        expanded = [];
    }

    private TransitionTable ExpandCore(Term t, int depth)
    {
        if (t.Table is { } known) return known;
        // The head of a rule's body is never a rule (JSON values begin with a byte of their own), so the depth is that of nested regular operators.
        if (depth > 2_000) throw new UnsupportedModelException("The grammar nests too deeply (over 2000 levels of operators). Simplify the schema or the pattern.");
        TransitionTable table = t.Kind switch
        {
            TermKind.Empty or TermKind.Epsilon => Two(default, Empty),
            TermKind.Bytes => Two(t.Set, Epsilon),
            TermKind.Literal => Two(ByteSet.Of(t.Text![t.Low]), LiteralAt(t.Text, t.Low + 1)),
            TermKind.Lexeme => Map(t.First!, Lexeme),
            TermKind.Automaton => OfAutomaton(t.Automaton!, t.Low),
            TermKind.Rule => ExpandCore(Body(t), depth + 1),
            TermKind.Repeat => OfRepeat(),
            TermKind.Concat => OfConcat(),
            _ => Union(Array.ConvertAll(t.Items, item => ExpandCore(item, depth + 1))),
        };
        t.Table = table;
        expanded.Add(t);
        return table;

        TransitionTable Map(Term inner, Converter<Term, Term> convert)
        {
            TransitionTable from = ExpandCore(inner, depth + 1);
            return new(from.Classes, Array.ConvertAll(from.Targets, convert));
        }

        TransitionTable OfRepeat()
        {
            Term rest = Repeat(t.First!, Math.Max(0, t.Low - 1), t.High == Term.Unbounded ? t.High : t.High - 1);
            return Map(t.First!, x => Concat(x, rest));
        }

        TransitionTable OfConcat()
        {
            TransitionTable heads = Map(t.First!, x => Concat(x, t.Second!));
            return t.First!.Nullable ? Union([heads, ExpandCore(t.Second!, depth + 1)]) : heads;
        }
    }

    private TransitionTable Two(ByteSet set, Term inside)
    {
        if (set.IsEmpty || set == ByteSet.All) return new(InternMap(new byte[256]), [set.IsEmpty ? Empty : inside]);
        var map = new byte[256];
        for (int i = 0; i < 256; i++) map[i] = set[(byte)i] ? (byte)1 : (byte)0;
        return new(InternMap(map), [Empty, inside]);
    }

    private TransitionTable OfAutomaton(Automaton automaton, int state)
    {
        var targets = new Term[automaton.ClassCount];
        for (int c = 0; c < targets.Length; c++) targets[c] = FromAutomaton(automaton, automaton.Next[state * automaton.ClassCount + c]);
        return new(InternMap(automaton.Classes), targets);
    }

    private TransitionTable Union(TransitionTable[] parts)
    {
        byte[] classes = ByteClasses.Refine(parts.Select(p => p.Classes), out int count);
        var targets = new Term[count];
        var choice = new Term[parts.Length];
        for (int i = 0; i < 256; i++)
        {
            if (targets[classes[i]] is not null) continue;
            for (int p = 0; p < parts.Length; p++) choice[p] = parts[p][(byte)i];
            targets[classes[i]] = Alternatives(choice);
        }
        return new(InternMap(classes), targets);
    }

    private byte[] InternMap(byte[] map)
    {
        var key = new ByteMap(map);
        if (!maps.TryGetValue(key, out byte[]? known)) maps[key] = known = map;
        return known;
    }

    private Term LiteralAt(byte[] text, int offset) => offset == text.Length ? Epsilon : Intern(new() { Kind = TermKind.Literal, Nullable = false, Text = text, Low = offset });

    private Term Intern(Term candidate)
    {
        lock (gate)
        {
            if (terms.TryGetValue(candidate, out Term? known)) return known;
            candidate.Id = nextId++;
            members += candidate.Items.Length;
            if (!matching && (terms.Count > CompileLimit || members > MemberLimit))
                throw new UnsupportedModelException($"The schema or pattern is too large: its grammar has over {(terms.Count > CompileLimit ? CompileLimit : MemberLimit)} parts. Simplify it: fewer properties, alternatives or repetitions.");
            terms.Add(candidate);
            return candidate;
        }
    }

    private readonly struct ByteMap(byte[] map) : IEquatable<ByteMap>
    {
        private readonly byte[] map = map;

        public bool Equals(ByteMap other) => map.AsSpan().SequenceEqual(other.map);

        public override bool Equals(object? obj) => obj is ByteMap other && Equals(other);

        public override int GetHashCode()
        {
            var h = new HashCode();
            h.AddBytes(map);
            return h.ToHashCode();
        }
    }
}
