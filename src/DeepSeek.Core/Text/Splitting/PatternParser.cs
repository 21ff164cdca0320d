using System.Globalization;
using DeepSeek.Text.Unicode;

namespace DeepSeek.Text.Splitting;

/// <summary>
/// Parses the regular expressions of tokenizer files: Onigmo's Ruby syntax (https://github.com/k-takata/Onigmo/blob/master/doc/RE), as far as tokenizers use
/// it. What it does not know is refused by name, never guessed.
/// </summary>
internal sealed class PatternParser
{
    private const int MaxDepth = 64, MaxCount = 1000, MaxSets = 200;

    private static readonly RuneSet Any = new RuneSet().Add('\n').Invert();
    private static readonly RuneSet Spaces = new RuneSet().Add(CharacterClass.Space);
    private static readonly RuneSet NotSpaces = new RuneSet().Add(CharacterClass.Space).Invert();

    private readonly string text;
    private int at;
    private int depth;
    private int setCount;
    private bool ignoreCase;

    private PatternParser(string text) => this.text = text;

    /// <exception cref="UnsupportedModelException">It uses syntax that this library does not know.</exception>
    public static Pattern Parse(string text)
    {
        var parser = new PatternParser(text);
        Pattern pattern = parser.Choice();
        return parser.at == text.Length ? pattern : throw parser.Unsupported("an unmatched ')'");
    }

    private UnsupportedModelException Unsupported(string what)
        => new($"The tokenizer's regular expression '{(text.Length > 200 ? text[..200] + "…" : text)}' has {what} at position {at}, "
            + "which this library cannot evaluate. Report the model, so that it can be added.");

    private Pattern Choice()
    {
        if (++depth > MaxDepth) throw Unsupported($"more than {MaxDepth} nested groups");
        bool outer = ignoreCase;
        var options = new List<Pattern> { Sequence() };
        while (at < text.Length && text[at] == '|') { at++; options.Add(Sequence()); }
        ignoreCase = outer;
        depth--;
        return options.Count == 1 ? options[0] : new Pattern.Choice(options);
    }

    private Pattern Sequence()
    {
        var parts = new List<Pattern>();
        while (at < text.Length && text[at] is not ('|' or ')')) parts.Add(Quantified(Atom()));
        return parts.Count == 1 ? parts[0] : new Pattern.Sequence(parts);
    }

    private Pattern Quantified(Pattern body)
    {
        if (at >= text.Length || Quantifier() is not { } count) return body;
        // "{1,3}+" is no possessive quantifier in this syntax, but a repetition of it.
        bool braces = text[at] == '{';
        at = count.End;
        bool lazy = at < text.Length && text[at] == '?';
        bool possessive = !braces && at < text.Length && text[at] == '+';
        if (lazy || possessive) at++;
        if (body.CanBeEmpty && count.Max != 1) throw Unsupported("a repetition of something that can be empty");
        if (at < text.Length && Quantifier() is not null) throw Unsupported("a quantifier on a quantifier");
        Pattern repeat = new Pattern.Repeat(body, count.Min, count.Max, lazy);
        return possessive ? new Pattern.Atomic(repeat) : repeat;
    }

    /// <summary>The quantifier that stands here, if one does, and where it ends.</summary>
    private (int Min, int? Max, int End)? Quantifier() => text[at] switch
    {
        '?' => (0, 1, at + 1),
        '*' => (0, null, at + 1),
        '+' => (1, null, at + 1),
        '{' => Count(),
        _ => null,
    };

    /// <summary>A counted repetition; a '{' that begins none is a literal.</summary>
    private (int Min, int? Max, int End)? Count()
    {
        int close = text.IndexOf('}', at);
        if (close < 0) return null;
        ReadOnlySpan<char> inside = text.AsSpan(at + 1, close - at - 1);
        int comma = inside.IndexOf(',');
        ReadOnlySpan<char> low = comma < 0 ? inside : inside[..comma], high = comma < 0 ? inside : inside[(comma + 1)..];
        if (inside.IndexOfAnyExcept("0123456789,") >= 0 || (low.IsEmpty && high.IsEmpty) || high.Contains(',')) return null;
        int min = 0, max = 0;
        if ((!low.IsEmpty && !int.TryParse(low, CultureInfo.InvariantCulture, out min)) || (!high.IsEmpty && !int.TryParse(high, CultureInfo.InvariantCulture, out max))
            || min > MaxCount || max > MaxCount || (!high.IsEmpty && min > max)) throw Unsupported($"a repetition count beyond {MaxCount} or out of order");
        return (min, high.IsEmpty ? null : max, close + 1);
    }

    private Pattern Atom()
    {
        char c = text[at];
        switch (c)
        {
            case '(': return Group();
            case '[': return new Pattern.One(Class());
            case '.': at++; return new Pattern.One(Any);
            case '^': at++; return new Pattern.Anchor(AnchorKind.LineStart);
            case '$': at++; return new Pattern.Anchor(AnchorKind.LineEnd);
            case '?' or '*' or '+': throw Unsupported($"a quantifier '{c}' of nothing");
            case '\\' when at + 1 < text.Length && text[at + 1] is 'A' or 'z':
                at += 2;
                return new Pattern.Anchor(text[at - 1] == 'A' ? AnchorKind.TextStart : AnchorKind.TextEnd);
            case '\\':
                RuneSet? set = null;
                return Escape(ref set) is { } code ? Character(code) : new Pattern.One(set!);
            default: return Character(Literal());
        }
    }

    private Pattern Group()
    {
        at++;
        bool outer = ignoreCase;
        Func<Pattern, Pattern> wrap = p => p;
        if (Take("?:")) { }
        else if (Take("?=")) wrap = p => new Pattern.LookAhead(p, false);
        else if (Take("?!")) wrap = p => new Pattern.LookAhead(p, true);
        else if (Take("?>")) wrap = p => new Pattern.Atomic(p);
        else if (Take("?i:")) ignoreCase = true;
        else if (Take("?-i:")) ignoreCase = false;
        else if (Take("?i)")) { ignoreCase = true; return Choice(); } // to the end of the enclosing group
        else if (at < text.Length && text[at] == '?') throw Unsupported("a kind of group");
        Pattern body = Choice();
        ignoreCase = outer;
        if (at >= text.Length) throw Unsupported("an unclosed '('");
        at++;
        return wrap(body);
    }

    private bool Take(string s)
    {
        if (string.CompareOrdinal(text, at, s, 0, s.Length) != 0) return false;
        at += s.Length;
        return true;
    }

    private int Literal()
    {
        int code = CharacterTables.CodePointAt(text, at, out int length);
        at += length;
        return code;
    }

    private Pattern Character(int code)
        => ignoreCase && (CharacterTables.Of(code) & CharacterClass.Letter) != 0 ? new Pattern.One(AddCased(NewSet(), code)) : new Pattern.Character(code);

    /// <summary>A set takes memory, and a file may ask for many.</summary>
    private RuneSet NewSet() => ++setCount <= MaxSets ? new RuneSet() : throw Unsupported($"more than {MaxSets} classes");

    private RuneSet AddCased(RuneSet set, int code)
    {
        set.Add(code);
        if (!ignoreCase) return set;
        if (code >= 0x80 && (CharacterTables.Of(code) & CharacterClass.Letter) != 0) throw Unsupported("a letter beyond ASCII where case is ignored");
        return set.CloseUnderAsciiCase();
    }

    /// <summary>Reads an escape: returns its code point, or adds a class to the set and returns null.</summary>
    private int? Escape(ref RuneSet? set)
    {
        if (at + 1 >= text.Length) throw Unsupported("a '\\' at the end");
        char c = text[at + 1];
        at += 2;
        switch (c)
        {
            case 'r': return '\r';
            case 'n': return '\n';
            case 't': return '\t';
            case 'f': return '\f';
            case 'v': return '\v';
            case 'a': return '\a';
            case 'e': return 0x1B;
            case 's': (set ??= NewSet()).Add(Spaces); return null;
            case 'S': (set ??= NewSet()).Add(NotSpaces); return null;
            case 'p' or 'P':
                RuneSet property = Property(c == 'P');
                set = set is null ? property : set.Add(property);
                return null;
            case 'x' when at < text.Length && text[at] == '{': return Hex(text.IndexOf('}', at) - at - 1, 1);
            case 'x': return Hex(2, 0);
            case 'u': return Hex(4, 0);
            default:
                if (c < 0x80 && char.IsAsciiLetterOrDigit(c)) throw Unsupported($"'\\{c}'");
                at--;
                return Literal();
        }
    }

    private int Hex(int digits, int skip)
    {
        if (digits is < 1 or > 8 || at + skip + digits > text.Length
            || !int.TryParse(text.AsSpan(at + skip, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int code) || code is < 0 or > 0x10FFFF)
            throw Unsupported("a malformed code point");
        at += digits + 2 * skip;
        return code;
    }

    private RuneSet Property(bool negative)
    {
        int close = at < text.Length && text[at] == '{' ? text.IndexOf('}', at) : -1;
        if (close < 0) throw Unsupported("a malformed property");
        string name = text[(at + 1)..close];
        if (name.StartsWith('^')) (name, negative) = (name[1..], !negative);
        RuneSet set = NewSet();
        switch (name)
        {
            case "L" or "Letter": set!.Add(CharacterClass.Letter); break;
            case "M" or "Mark": set!.Add(CharacterClass.Mark); break;
            case "N" or "Number": set!.Add(CharacterClass.Number); break;
            case "P" or "Punctuation" or "Punct": set!.Add(CharacterClass.Punctuation); break;
            case "S" or "Symbol": set!.Add(CharacterClass.Symbol); break;
            case "Lu": set!.AddLetters(UnicodeCategory.UppercaseLetter); break;
            case "Ll": set!.AddLetters(UnicodeCategory.LowercaseLetter); break;
            case "Lt": set!.AddLetters(UnicodeCategory.TitlecaseLetter); break;
            case "Lm": set!.AddLetters(UnicodeCategory.ModifierLetter); break;
            case "Lo": set!.AddLetters(UnicodeCategory.OtherLetter); break;
            default: throw Unsupported($"the property '{name}'");
        }
        at = close + 1;
        return negative ? set!.Invert() : set;
    }

    private RuneSet Class()
    {
        if (++depth > MaxDepth) throw Unsupported($"more than {MaxDepth} nested classes");
        int open = at++;
        bool negative = at < text.Length && text[at] == '^';
        if (negative) at++;
        RuneSet? set = NewSet();
        RuneSet? intersection = null;
        for (bool first = true; ; first = false)
        {
            if (at >= text.Length) { at = open; throw Unsupported("an unclosed '['"); }
            if (text[at] == ']' && !first) break;
            if (Take("&&"))
            {
                intersection = intersection is null ? set! : intersection.IntersectWith(set!);
                set = NewSet();
                continue;
            }
            if (text[at] == '[')
            {
                if (at + 1 < text.Length && text[at + 1] == ':') throw Unsupported("a POSIX bracket");
                set!.Add(Class());
                continue;
            }
            int? low = text[at] == '\\' ? Escape(ref set) : Literal();
            if (low is null) continue;
            if (at + 1 >= text.Length || text[at] != '-' || text[at + 1] == ']') { AddCased(set!, low.Value); continue; }
            at++;
            int? high = text[at] == '\\' ? Escape(ref set) : text[at] == '[' ? null : Literal();
            if (high is null || high < low) throw Unsupported("a range out of order");
            if (ignoreCase && high >= 0x80) throw Unsupported("a range beyond ASCII where case is ignored");
            set!.Add(low.Value, high.Value);
            if (ignoreCase) set!.CloseUnderAsciiCase();
        }
        at++;
        depth--;
        if (intersection is not null) set = intersection.IntersectWith(set!);
        return negative ? set!.Invert() : set!;
    }
}
