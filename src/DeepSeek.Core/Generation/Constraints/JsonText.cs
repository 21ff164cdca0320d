using System.Globalization;
using System.Text;

namespace DeepSeek.Generation.Constraints;

/// <summary>The lexemes of JSON (RFC 8259) as the models may write them, and any JSON value.</summary>
internal sealed class JsonText : StringSpelling
{
    /// <summary>A value about which the schema says nothing nests at most so deep.</summary>
    public const int AnyDepth = 24;

    /// <summary>Digits before and after the point of an unbounded number: what 64 bits and a double hold; a model cannot write zeros for ever.</summary>
    public const int IntegerDigits = 20, FractionDigits = 17;

    private readonly TermFactory factory;
    private readonly Term?[] anyValues = new Term?[AnyDepth + 1];
    private readonly Term?[] anyObjects = new Term?[AnyDepth + 1];

    public JsonText(TermFactory factory)
    {
        this.factory = factory;
        Encoder = new(factory, json: true);
        Term hex = factory.Alternatives(factory.Range('0', '9'), factory.Range('a', 'f'), factory.Range('A', 'F'));
        Term dD = Either("dD");
        Term plain = factory.Alternatives(
            factory.Sequence(factory.Alternatives(factory.Range('0', '9'), Either("abcefABCEF")), factory.Repeat(hex, 3, 3)),
            factory.Sequence(dD, factory.Range('0', '7'), factory.Repeat(hex, 2, 2)));
        Term high = factory.Sequence(dD, Either("89abAB"), factory.Repeat(hex, 2, 2));
        Term low = factory.Sequence(dD, Either("cdefCDEF"), factory.Repeat(hex, 2, 2));
        Term u = factory.Literal("u");
        Term escape = factory.Concat(factory.Literal("\\"), factory.Alternatives(
            Either("\"\\/bfnrt"), factory.Sequence(u, plain), factory.Sequence(u, high, factory.Literal("\\u"), low)));
        Term raw = new CharacterEncoder(factory, json: false).Encode(
            CodePointSet.Of((0x20, CodePointSet.Last)).Intersect(CodePointSet.Of(('"', '"'), ('\\', '\\')).Complement()));
        FreeCharacter = factory.Alternatives(raw, escape);
        Quote = factory.Literal("\"");
        FreeString = Quoted(factory.Star(FreeCharacter));
        CanonicalString = Quoted(factory.Star(Encoder.Any));
        Comma = factory.Concat(factory.Literal(","), factory.Optional(factory.Literal(" ")));
        Colon = factory.Concat(factory.Literal(":"), factory.Optional(factory.Literal(" ")));
        Term digit = factory.Range('0', '9');
        Term whole = factory.Alternatives(factory.Literal("0"), factory.Concat(factory.Range('1', '9'), factory.Repeat(digit, 0, IntegerDigits - 1)));
        Term minus = factory.Optional(factory.Literal("-"));
        Term exponent = factory.Sequence(Either("eE"), factory.Optional(Either("+-")), factory.Repeat(digit, 1, 2));
        Integer = factory.Lexeme(factory.Concat(minus, whole));
        Number = factory.Lexeme(factory.Sequence(minus, whole,
            factory.Optional(factory.Sequence(factory.Literal("."), factory.Repeat(digit, 1, FractionDigits))), factory.Optional(exponent)));
    }

    /// <summary>Characters in their only spelling: see <see cref="CharacterEncoder.Encode"/>.</summary>
    public override CharacterEncoder Encoder { get; }

    /// <summary>One character of a string, in any spelling that RFC 8259 section 7 has.</summary>
    public override Term FreeCharacter { get; }

    public override Term FreeString { get; }

    public override Term Character => Encoder.Any;

    public override bool LeavesOut => false;

    public Term CanonicalString { get; }

    public Term Integer { get; }

    public Term Number { get; }

    public Term Quote { get; }

    /// <summary>A comma, and one blank if the model likes it.</summary>
    public Term Comma { get; }

    /// <summary>A colon, and one blank if the model likes it.</summary>
    public Term Colon { get; }

    public override Term Quoted(Term content) => factory.Lexeme(factory.Sequence(Quote, content, Quote));

    /// <summary>A string with the given content.</summary>
    public override Term String(string content) => factory.Literal(Spell(content));

    public override string Spelled(string content) => Spell(content)[1..^1];

    /// <summary>Any value, down to a depth.</summary>
    public Term AnyValue(int depth = 0)
    {
        if (anyValues[depth] is { } known) return known;
        Term rule = anyValues[depth] = factory.DeclareRule();
        var kinds = new List<Term> { FreeString, Number, factory.Literal("null"), factory.Literal("true"), factory.Literal("false"), AnyObject(depth) };
        Term open = factory.Literal("["), close = factory.Literal("]");
        kinds.Add(depth == AnyDepth ? factory.Literal("[]") : factory.Sequence(open, List(AnyValue(depth + 1), 0, Term.Unbounded), close));
        factory.DefineRule(rule, factory.Alternatives([.. kinds]));
        return rule;
    }

    /// <summary>Any object, down to a depth.</summary>
    public Term AnyObject(int depth = 0)
    {
        if (anyObjects[depth] is { } known) return known;
        Term rule = anyObjects[depth] = factory.DeclareRule();
        Term members = depth == AnyDepth ? factory.Epsilon : List(factory.Sequence(FreeString, Colon, AnyValue(depth + 1)), 0, Term.Unbounded);
        factory.DefineRule(rule, factory.Sequence(factory.Literal("{"), members, factory.Literal("}")));
        return rule;
    }

    /// <summary>Items with commas between them.</summary>
    public Term List(Term item, int low, int high)
    {
        if (high == 0) return low == 0 ? factory.Epsilon : factory.Empty;
        Term some = factory.Concat(item, factory.Repeat(factory.Concat(Comma, item), Math.Max(0, low - 1), high == Term.Unbounded ? high : high - 1));
        return low == 0 ? factory.Optional(some) : some;
    }

    /// <summary>The shortest JSON spelling of a string, with its quotes.</summary>
    public static string Spell(string content)
    {
        var text = new StringBuilder(content.Length + 2).Append('"');
        foreach (Rune r in content.EnumerateRunes())
            text.Append(r.Value is < 0x20 or '"' or '\\' ? Escape(r.Value) : r.ToString());
        return text.Append('"').ToString();
    }

    /// <summary>The shortest escape of a character that needs one.</summary>
    public static string Escape(int codePoint) => codePoint switch
    {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\b' => "\\b",
        '\f' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        _ => "\\u" + codePoint.ToString("x4", CultureInfo.InvariantCulture),
    };

    private Term Either(string characters) => factory.Alternatives([.. characters.Select(c => factory.Range(c, c))]);
}
