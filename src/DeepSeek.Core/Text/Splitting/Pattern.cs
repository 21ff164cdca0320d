using DeepSeek.Text.Unicode;

namespace DeepSeek.Text.Splitting;

/// <summary>A parsed regular expression.</summary>
internal abstract record Pattern
{
    /// <summary>Whether it can match nothing.</summary>
    public abstract bool CanBeEmpty { get; }

    /// <summary>The pattern of a literal text.</summary>
    public static Pattern Of(string literal) => new Sequence([.. literal.EnumerateRunes().Select(r => new Character(r.Value))]);

    /// <summary>One certain code point.</summary>
    internal sealed record Character(int Code) : Pattern
    {
        public override bool CanBeEmpty => false;
    }

    /// <summary>One code point out of a set.</summary>
    internal sealed record One(RuneSet Set) : Pattern
    {
        public override bool CanBeEmpty => false;
    }

    internal sealed record Sequence(IReadOnlyList<Pattern> Parts) : Pattern
    {
        public override bool CanBeEmpty => Parts.All(p => p.CanBeEmpty);
    }

    internal sealed record Choice(IReadOnlyList<Pattern> Options) : Pattern
    {
        public override bool CanBeEmpty => Options.Any(p => p.CanBeEmpty);
    }

    /// <param name="Body">What is repeated.</param>
    /// <param name="Min">At least this often.</param>
    /// <param name="Max">At most this often; null = without limit.</param>
    /// <param name="Lazy">Whether as few as possible are tried first.</param>
    internal sealed record Repeat(Pattern Body, int Min, int? Max, bool Lazy) : Pattern
    {
        public override bool CanBeEmpty => Min == 0 || Body.CanBeEmpty;
    }

    /// <summary>Matches as its body does at first, and never tries another way.</summary>
    internal sealed record Atomic(Pattern Body) : Pattern
    {
        public override bool CanBeEmpty => Body.CanBeEmpty;
    }

    internal sealed record LookAhead(Pattern Body, bool Negative) : Pattern
    {
        public override bool CanBeEmpty => true;
    }

    internal sealed record Anchor(AnchorKind Kind) : Pattern
    {
        public override bool CanBeEmpty => true;
    }
}

internal enum AnchorKind
{
    /// <summary><c>^</c>: the start of a line</summary>
    LineStart,

    /// <summary><c>$</c>: the end of a line</summary>
    LineEnd,

    /// <summary><c>\A</c></summary>
    TextStart,

    /// <summary><c>\z</c></summary>
    TextEnd,
}
