namespace DeepSeek.Generation.Constraints;

internal enum TermKind : byte { Empty, Epsilon, Bytes, Literal, Concat, Alternatives, Repeat, Lexeme, Automaton, Rule }

/// <summary>
/// A language over bytes, and at the same time a state of the matcher: what may still be written. Terms are shared and compared by reference; the
/// derivative of a term by a byte is the term after that byte (J. A. Brzozowski, "Derivatives of Regular Expressions", 1964; kept in the form of
/// V. Antimirov's partial derivatives, 1996, so that a term is a set of stacks and their number stays bounded). Immutable but for the table that
/// <see cref="TermFactory.Expand"/> fills in.
/// </summary>
internal sealed class Term
{
    public const int Unbounded = int.MaxValue;

    public int Id { get; set; }

    public required TermKind Kind { get; init; }

    public required bool Nullable { get; init; }

    /// <summary>Concat: the head. Repeat, Lexeme: what is inside.</summary>
    public Term? First { get; init; }

    /// <summary>Concat: the rest.</summary>
    public Term? Second { get; init; }

    /// <summary>Alternatives: at least two, by ascending id.</summary>
    public Term[] Items { get; init; } = [];

    /// <summary>Repeat: the least count. Literal: offset into <see cref="Text"/>. Automaton: the state. Rule: its index.</summary>
    public int Low { get; init; }

    /// <summary>Repeat: the greatest count, or <see cref="Unbounded"/>.</summary>
    public int High { get; init; }

    /// <summary>Literal: its bytes.</summary>
    public byte[]? Text { get; init; }

    public ByteSet Set { get; init; }

    public Automaton? Automaton { get; init; }

    /// <summary>Where each byte leads. Null until expanded, and again after the factory has made room.</summary>
    public TransitionTable? Table { get; set; }

    public bool IsEmpty => Kind == TermKind.Empty;
}

/// <summary>The derivatives of a term.</summary>
/// <param name="Classes">The class of each byte, [256]; bytes of a class lead to the same term.</param>
/// <param name="Targets">The term that each class leads to.</param>
internal sealed record TransitionTable(byte[] Classes, Term[] Targets)
{
    public Term this[byte value] => Targets[Classes[value]];
}

/// <summary>Terms with the same content are the same term.</summary>
internal sealed class TermComparer : IEqualityComparer<Term>
{
    public static TermComparer Instance { get; } = new();

    public bool Equals(Term? x, Term? y) =>
        x is not null && y is not null && x.Kind == y.Kind && x.Low == y.Low && x.High == y.High && ReferenceEquals(x.First, y.First)
        && ReferenceEquals(x.Second, y.Second) && ReferenceEquals(x.Text, y.Text) && ReferenceEquals(x.Automaton, y.Automaton) && x.Set == y.Set
        && x.Items.AsSpan().SequenceEqual(y.Items);

    public int GetHashCode(Term t)
    {
        var h = new HashCode();
        h.Add((int)t.Kind);
        h.Add(t.Low);
        h.Add(t.High);
        h.Add(t.First?.Id ?? -1);
        h.Add(t.Second?.Id ?? -1);
        if (t.Text is not null) h.Add(System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(t.Text));
        if (t.Automaton is not null) h.Add(System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(t.Automaton));
        if (t.Kind == TermKind.Bytes) h.Add(t.Set);
        foreach (Term item in t.Items) h.Add(item.Id);
        return h.ToHashCode();
    }
}
