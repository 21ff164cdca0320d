namespace DeepSeek.Generation.Constraints;

/// <summary>How strings are written: in JSON with quotes and escapes, in tagged parameters as they are.</summary>
internal abstract class StringSpelling
{
    /// <summary>Characters in their only spelling.</summary>
    public abstract CharacterEncoder Encoder { get; }

    /// <summary>One character of a string about which nothing but its length is said, in any spelling.</summary>
    public abstract Term FreeCharacter { get; }

    /// <summary>A string about which nothing is said.</summary>
    public abstract Term FreeString { get; }

    /// <summary>One character that a string may contain, in its only spelling.</summary>
    public abstract Term Character { get; }

    /// <summary>Whether patterns may ask for characters that <see cref="Character"/> leaves out.</summary>
    public abstract bool LeavesOut { get; }

    /// <summary>A string of some content.</summary>
    public abstract Term Quoted(Term content);

    /// <summary>The spelling of a content, without quotes.</summary>
    public abstract string Spelled(string content);

    /// <summary>A string with the given content.</summary>
    public abstract Term String(string content);
}

/// <summary>Strings as they are, up to markup that begins with a character which they therefore leave out.</summary>
internal sealed class RawText : StringSpelling
{
    private readonly TermFactory factory;

    /// <param name="factory">Makes the terms.</param>
    /// <param name="leftOut">The character that only markup has.</param>
    public RawText(TermFactory factory, char leftOut)
    {
        (this.factory, LeftOut) = (factory, leftOut);
        Encoder = new(factory, json: false);
        FreeCharacter = Encoder.Encode(CodePointSet.Of(leftOut).Complement());
        FreeString = Quoted(factory.Star(FreeCharacter));
    }

    public char LeftOut { get; }

    public override CharacterEncoder Encoder { get; }

    public override Term FreeCharacter { get; }

    public override Term FreeString { get; }

    public override Term Character => FreeCharacter;

    public override bool LeavesOut => true;

    public override Term Quoted(Term content) => factory.Lexeme(content);

    public override Term String(string content) => factory.Literal(content);

    public override string Spelled(string content) => content;
}
