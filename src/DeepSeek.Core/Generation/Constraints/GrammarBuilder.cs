using System.Text.Json;

namespace DeepSeek.Generation.Constraints;

/// <summary>
/// Composes a grammar from fragments: text around schema-constrained objects, alternatives over tools, repetition. Fragments belong to the builder that
/// made them; <see cref="Build"/> ends it.
/// </summary>
internal sealed class GrammarBuilder
{
    private readonly TermFactory factory = new();
    private readonly JsonText json;
    private RawText? raw;

    public GrammarBuilder() => json = new(factory);

    /// <summary>Exactly this text.</summary>
    public Term Literal(string text) => factory.Literal(text);

    /// <summary>One after the other.</summary>
    public Term Sequence(params ReadOnlySpan<Term> parts) => factory.Sequence(parts);

    /// <summary>One of them; where they begin alike all are followed until they differ.</summary>
    public Term Choice(params ReadOnlySpan<Term> parts) => factory.Alternatives(parts);

    /// <summary>Between low and high times (<see cref="Term.Unbounded"/>: no limit).</summary>
    public Term Repeat(Term part, int low, int high) => factory.Repeat(part, low, high);

    public Term Optional(Term part) => factory.Optional(part);

    /// <summary>A value that a JSON Schema allows.</summary>
    /// <exception cref="UnsupportedModelException">A keyword cannot be enforced; the message names it and where it stands.</exception>
    /// <exception cref="InvalidOptionException">The schema is malformed.</exception>
    public Term JsonSchema(JsonElement schema) => JsonSchemaGrammar.Compile(factory, json, schema);

    /// <summary>A value that a place in a JSON Schema allows, strings written as they are and everything else as JSON.</summary>
    /// <param name="schema">The whole document.</param>
    /// <param name="reference">The place, as <c>$ref</c> would name it.</param>
    /// <param name="leftOut">A character that strings do not contain, because the markup behind them does.</param>
    /// <returns>The strings, and everything else; either may be empty.</returns>
    /// <exception cref="UnsupportedModelException">A keyword cannot be enforced; the message names it and where it stands.</exception>
    /// <exception cref="InvalidOptionException">The schema is malformed.</exception>
    public (Term Text, Term Other) RawValue(JsonElement schema, string reference, char leftOut)
        => JsonSchemaGrammar.CompileRaw(factory, json, raw?.LeftOut == leftOut ? raw : raw = new RawText(factory, leftOut), schema, reference);

    /// <summary>What the caller asked for.</summary>
    /// <exception cref="UnsupportedModelException">A keyword or a pattern cannot be enforced; the message names it.</exception>
    /// <exception cref="InvalidOptionException">The constraint is malformed.</exception>
    public Term Constraint(OutputConstraint constraint) => constraint switch
    {
        OutputConstraint.Json => AnyObject(),
        OutputConstraint.JsonSchema s => JsonSchema(s.Schema),
        OutputConstraint.Regex r => Pattern(r.Pattern),
        OutputConstraint.Choice { Values: { Count: > 0 } values } => Choice([.. values.Select(Literal)]),
        _ => throw new InvalidOptionException("OutputConstraint.Choice has no values. Give at least one."),
    };

    /// <summary>Any JSON object.</summary>
    public Term AnyObject() => json.AnyObject();

    /// <summary>A text that a regular expression matches as a whole.</summary>
    /// <exception cref="UnsupportedModelException">The expression is malformed, not regular or too large.</exception>
    public Term Pattern(string pattern)
    {
        try
        {
            return factory.Lexeme(new PatternCompiler(factory, new(factory, json: false)).Compile(pattern, search: false));
        }
        catch (Exception e) when (e is PatternException or AutomatonTooLargeException)
        {
            throw new UnsupportedModelException($"The regular expression '{pattern}' cannot be enforced: {e.Message}.", e);
        }
    }

    /// <summary>Exactly this token: one that stands for something else than its text, such as the marker of a tool call.</summary>
    public Term Token(int id) => factory.Literal(TokenTrie.Name(id));

    /// <summary>Any text up to and with the first occurrence of one of some texts.</summary>
    public Term FreeTextUntil(params ReadOnlySpan<string> ends)
    {
        var texts = new List<Term>();
        foreach (string end in ends) texts.Add(factory.Literal(end));
        Term all = factory.Concat(factory.Star(TextByte), factory.Alternatives([.. texts]));
        return factory.FromAutomaton(Automaton.FromTerm(factory, all)?.StopAtFirstMatch());
    }

    private Term TextByte => factory.Range(0, TokenTrie.Marker - 1);

    /// <summary>The finished grammar; it may be empty (<see cref="Grammar.IsEmpty"/>).</summary>
    public Grammar Build(Term start) => Grammar.Finish(factory, start);
}
