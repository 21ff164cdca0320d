using System.Globalization;
using System.Text;

namespace DeepSeek.Generation.Constraints;

/// <summary>
/// Parses the regular part of ECMA-262 regular expressions. <c>\d</c>, <c>\w</c> are ASCII; their complements leave out what other dialects call a digit
/// or letter too, so that a text found here is valid for every validator.
/// </summary>
internal sealed class PatternParser
{
    public const int DepthLimit = 100;

    private static readonly Lazy<CodePointSet> AnyDigit = new(() => CodePointSet.OfCategories(c => c == UnicodeCategory.DecimalDigitNumber));
    private static readonly Lazy<CodePointSet> AnyWord = new(() => CodePointSet.OfCategories(c =>
        c is <= UnicodeCategory.OtherNumber or UnicodeCategory.ConnectorPunctuation));
    private static readonly CodePointSet Digit = CodePointSet.Of(('0', '9'));
    private static readonly CodePointSet Word = CodePointSet.Of(('0', '9'), ('A', 'Z'), ('a', 'z'), ('_', '_'));
    private static readonly CodePointSet Space = CodePointSet.Of((9, 13), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF));
    private static readonly CodePointSet AnySpace = Space.Union(CodePointSet.Of((0x1C, 0x1F), (0x85, 0x85)));
    private static readonly CodePointSet Dot = CodePointSet.Of(('\n', '\n'), ('\r', '\r'), (0x2028, 0x2029)).Complement();

    private readonly List<int> text;
    private int at;
    private int depth;

    private PatternParser(string pattern) => text = [.. pattern.EnumerateRunes().Select(r => r.Value)];

    public static Pattern Parse(string pattern)
    {
        var parser = new PatternParser(pattern);
        Pattern result = parser.Alternation();
        if (parser.at < parser.text.Count) throw new PatternException("a ')' without '('");
        return result;
    }

    private int Peek => at < text.Count ? text[at] : -1;

    private Pattern Alternation()
    {
        if (++depth > DepthLimit) throw new PatternException($"over {DepthLimit} nested groups");
        var branches = new List<Pattern> { Sequence() };
        while (Take('|')) branches.Add(Sequence());
        depth--;
        return branches.Count == 1 ? branches[0] : new Pattern.Either(branches);
    }

    private Pattern Sequence()
    {
        var parts = new List<Pattern>();
        while (Peek is not (-1 or '|' or ')')) parts.Add(Quantified());
        return parts.Count == 1 ? parts[0] : new Pattern.Sequence(parts);
    }

    private Pattern Quantified()
    {
        Pattern atom = Atom();
        while (Quantifier() is { } q)
        {
            if (atom is Pattern.Start or Pattern.End or Pattern.LookAhead) throw new PatternException("nothing to repeat");
            atom = new Pattern.Repeated(atom, q.Low, q.High);
            // A lazy quantifier matches the same texts.
            Take('?');
            if (Peek == '+') throw new PatternException("possessive quantifiers are not regular");
        }
        return atom;
    }

    private (int Low, int High)? Quantifier()
    {
        if (Take('*')) return (0, Term.Unbounded);
        if (Take('+')) return (1, Term.Unbounded);
        if (Take('?')) return (0, 1);
        int start = at;
        if (!Take('{')) return null;
        if (Number() is { } low)
        {
            int high = low;
            if (Take(',')) high = Number() ?? Term.Unbounded;
            if (Take('}')) return low <= high ? (low, high) : throw new PatternException($"{{{low},{high}}} is out of order");
        }
        at = start;
        return null;
    }

    private int? Number()
    {
        int start = at;
        long n = 0;
        while (Peek is >= '0' and <= '9') n = Math.Min(n * 10 + text[at++] - '0', Term.Unbounded - 1);
        return at == start ? null : (int)n;
    }

    private Pattern Atom()
    {
        int c = text[at++];
        switch (c)
        {
            case '^': return new Pattern.Start();
            case '$': return new Pattern.End();
            case '.': return new Pattern.Characters(Dot);
            case '[': return new Pattern.Characters(Class());
            case '(': return Group();
            case '\\': return new Pattern.Characters(Escape(inClass: false));
            case '*' or '+' or '?': throw new PatternException("nothing to repeat");
            default: return new Pattern.Characters(CodePointSet.Of(c));
        }
    }

    private Pattern Group()
    {
        bool? negativeLook = null;
        if (Take('?'))
        {
            if (Take('=')) negativeLook = false;
            else if (Take('!')) negativeLook = true;
            else if (!Take(':') && !GroupName()) throw new PatternException("look-behind and inline flags are not supported");
        }
        Pattern inner = Alternation();
        if (!Take(')')) throw new PatternException("a '(' without ')'");
        return negativeLook is { } negative ? new Pattern.LookAhead(inner, negative) : inner;
    }

    private bool GroupName()
    {
        Take('P');
        if (!Take('<') || Peek is '=' or '!') return false;
        while (Peek is not (-1 or '>')) at++;
        return Take('>');
    }

    private CodePointSet Class()
    {
        bool negative = Take('^');
        CodePointSet set = CodePointSet.Of();
        while (!Take(']'))
        {
            if (Peek == -1) throw new PatternException("a '[' without ']'");
            CodePointSet low = ClassAtom();
            if (Peek == '-' && at + 1 < text.Count && text[at + 1] != ']')
            {
                at++;
                CodePointSet high = ClassAtom();
                if (!IsSingle(low) || !IsSingle(high)) throw new PatternException("a range between classes");
                if (low.Ranges[0].Low > high.Ranges[0].Low) throw new PatternException("a range out of order");
                low = CodePointSet.Of((low.Ranges[0].Low, high.Ranges[0].Low));
            }
            set = set.Union(low);
        }
        return negative ? set.Complement() : set;
    }

    private static bool IsSingle(CodePointSet set) => set.Ranges is [{ } only] && only.Low == only.High;

    private CodePointSet ClassAtom()
    {
        int c = text[at++];
        return c == '\\' ? Escape(inClass: true) : CodePointSet.Of(c);
    }

    private CodePointSet Escape(bool inClass)
    {
        if (Peek == -1) throw new PatternException("a '\\' at the end");
        int c = text[at++];
        switch (c)
        {
            case 'd': return Digit;
            case 'D': return AnyDigit.Value.Complement();
            case 'w': return Word;
            case 'W': return AnyWord.Value.Complement();
            case 's': return Space;
            case 'S': return AnySpace.Complement();
            case 'n': return CodePointSet.Of('\n');
            case 'r': return CodePointSet.Of('\r');
            case 't': return CodePointSet.Of('\t');
            case 'f': return CodePointSet.Of('\f');
            case 'v': return CodePointSet.Of('\v');
            case '0' when Peek is not (>= '0' and <= '9'): return CodePointSet.Of(0);
            case 'b' when inClass: return CodePointSet.Of('\b');
            case 'c' when Peek is >= 'A' and <= 'Z' or >= 'a' and <= 'z': return CodePointSet.Of(text[at++] & 31);
            case 'x': return CodePointSet.Of(Hex(2));
            case 'u': return CodePointSet.Of(Unicode());
            case 'p' or 'P': return Property(c == 'P');
            case >= '1' and <= '9': throw new PatternException("back references are not regular");
            case >= 'a' and <= 'z' or >= 'A' and <= 'Z': throw new PatternException($"'\\{(char)c}' is not supported");
            default: return CodePointSet.Of(c);
        }
    }

    private int Unicode()
    {
        if (Take('{'))
        {
            int value = 0, start = at;
            while (Peek is not (-1 or '}') && at - start < 6) value = value * 16 + Hex(1);
            if (at == start || !Take('}') || value > CodePointSet.Last) throw new PatternException("a malformed \\u{…}");
            return Scalar(value);
        }
        int unit = Hex(4);
        if (unit is < 0xD800 or > 0xDBFF || at + 1 >= text.Count || text[at] != '\\' || text[at + 1] != 'u') return Scalar(unit);
        at += 2;
        int low = Hex(4);
        if (low is < 0xDC00 or > 0xDFFF) throw new PatternException("half a surrogate pair");
        return 0x10000 + ((unit - 0xD800) << 10) + low - 0xDC00;
    }

    private static int Scalar(int value) => Rune.IsValid(value) ? value : throw new PatternException("half a surrogate pair");

    private int Hex(int digits)
    {
        int value = 0;
        for (int i = 0; i < digits; i++)
        {
            int digit = Peek switch { >= '0' and <= '9' => Peek - '0', >= 'a' and <= 'f' => Peek - 'a' + 10, >= 'A' and <= 'F' => Peek - 'A' + 10, _ => throw new PatternException("a malformed hexadecimal escape") };
            value = value * 16 + digit;
            at++;
        }
        return value;
    }

    private CodePointSet Property(bool negative)
    {
        if (!Take('{')) throw new PatternException("a \\p without {…}");
        var name = new StringBuilder();
        while (Peek is not (-1 or '}')) name.Append(new Rune(text[at++]).ToString());
        if (!Take('}')) throw new PatternException("a \\p{ without }");
        string wanted = name.ToString();
        if (wanted.Length == 0 || !Categories.Any(c => c.StartsWith(wanted, StringComparison.Ordinal)))
            throw new PatternException($"'\\p{{{wanted}}}' is not a general category");
        CodePointSet set = CodePointSet.OfCategories(c => Categories[(int)c].StartsWith(wanted, StringComparison.Ordinal));
        return negative ? set.Complement() : set;
    }

    /// <summary>Short names of the general categories, in the order of <see cref="UnicodeCategory"/>.</summary>
    private static readonly string[] Categories =
    [
        "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Cn",
    ];

    private bool Take(int c)
    {
        if (Peek != c) return false;
        at++;
        return true;
    }
}
