namespace DeepSeek.Generation.Constraints;

/// <summary>
/// A language that generated text is held to. Every state that matching can reach leads on to the end of some text of the language: no dead ends.
/// Safe for concurrent use.
/// </summary>
internal sealed class Grammar
{
    private Grammar(TermFactory factory, Term start) => (Factory, Start) = (factory, start);

    public TermFactory Factory { get; }

    public Term Start { get; }

    /// <summary>Whether nothing satisfies the constraint.</summary>
    public bool IsEmpty => Start.IsEmpty;

    /// <summary>Takes over what is reachable and not empty of a language under construction.</summary>
    public static Grammar Finish(TermFactory factory, Term start) => Copy(factory, start, ByteSet.All);

    /// <summary>The texts of this grammar that need only some bytes: those that a vocabulary has tokens for.</summary>
    public Grammar Restrict(ByteSet alphabet) => Copy(Factory, Start, alphabet);

    /// <summary>Compiles a JSON Schema; the grammar may be empty.</summary>
    public static Grammar OfJsonSchema(System.Text.Json.JsonElement schema) => Build(b => b.JsonSchema(schema));

    /// <summary>Compiles what the caller asked for.</summary>
    /// <exception cref="UnsupportedModelException">A keyword or a pattern cannot be enforced; the message names it.</exception>
    /// <exception cref="InvalidOptionException">The constraint is malformed, or nothing satisfies it.</exception>
    public static Grammar Of(OutputConstraint constraint)
    {
        Grammar grammar = Build(b => b.Constraint(constraint));
        return grammar.IsEmpty ? throw new InvalidOptionException("No text satisfies the output constraint: its parts contradict each other. Check bounds, required members and enum values.") : grammar;
    }

    /// <summary>Whether a whole text belongs to the language.</summary>
    public bool Accepts(ReadOnlySpan<byte> text) => Factory.Accepts(Start, text);

    private static Grammar Build(Func<GrammarBuilder, Term> make)
    {
        var builder = new GrammarBuilder();
        return builder.Build(make(builder));
    }

    private static Grammar Copy(TermFactory from, Term start, ByteSet alphabet)
    {
        List<Term> terms = Reachable(from, start);
        var full = new HashSet<Term>(ReferenceEqualityComparer.Instance);
        for (bool changed = true; changed;)
        {
            changed = false;
            // Parts come before what they are part of; rules need further rounds.
            foreach (Term t in terms) changed |= !full.Contains(t) && IsFull(t) && full.Add(t);
        }
        var factory = new TermFactory();
        var copies = new Dictionary<Term, Term>(ReferenceEqualityComparer.Instance);
        foreach (Term t in terms.Where(t => t.Kind == TermKind.Rule)) copies[t] = full.Contains(t) ? factory.DeclareRule() : factory.Empty;
        foreach (Term t in terms.Where(t => t.Kind != TermKind.Rule)) copies[t] = full.Contains(t) ? CopyOf(t) : factory.Empty;
        foreach (Term t in terms.Where(t => t.Kind == TermKind.Rule && full.Contains(t))) factory.DefineRule(copies[t], copies[from.Body(t)]);
        factory.StartMatching();
        return new(factory, copies[start]);

        bool IsFull(Term t) => t.Kind switch
        {
            TermKind.Empty => false,
            TermKind.Epsilon => true,
            TermKind.Bytes => !(t.Set & alphabet).IsEmpty,
            TermKind.Literal => alphabet == ByteSet.All || t.Text![0] == TokenTrie.Marker || t.Text.Skip(t.Low).All(b => alphabet[b]),
            TermKind.Automaton => alphabet == ByteSet.All || t.Automaton!.Restrict(alphabet) is not null,
            TermKind.Concat => full.Contains(t.First!) && full.Contains(t.Second!),
            TermKind.Alternatives => t.Items.Any(full.Contains),
            TermKind.Repeat => t.Low == 0 || full.Contains(t.First!),
            TermKind.Lexeme => full.Contains(t.First!),
            _ => full.Contains(from.Body(t)),
        };

        Term CopyOf(Term t) => t.Kind switch
        {
            TermKind.Epsilon => factory.Epsilon,
            TermKind.Bytes => factory.Bytes(t.Set & alphabet),
            TermKind.Literal => factory.Literal(t.Text.AsSpan(t.Low)),
            TermKind.Automaton => factory.FromAutomaton(alphabet == ByteSet.All ? t.Automaton : t.Automaton!.Restrict(alphabet), t.Low),
            TermKind.Concat => factory.Concat(copies[t.First!], copies[t.Second!]),
            TermKind.Alternatives => factory.Alternatives([.. t.Items.Select(i => copies[i])]),
            TermKind.Repeat => factory.Repeat(copies[t.First!], t.Low, t.High),
            _ => factory.Lexeme(copies[t.First!]),
        };
    }

    private static List<Term> Reachable(TermFactory factory, Term start)
    {
        var seen = new HashSet<Term>(ReferenceEqualityComparer.Instance) { start };
        var pending = new Stack<Term>([start]);
        while (pending.TryPop(out Term? t))
        {
            Add(t.First);
            Add(t.Second);
            foreach (Term item in t.Items) Add(item);
            if (t.Kind == TermKind.Rule) Add(factory.Body(t));
        }
        return [.. seen.OrderBy(t => t.Id)];

        void Add(Term? t)
        {
            if (t is not null && seen.Add(t)) pending.Push(t);
        }
    }
}
