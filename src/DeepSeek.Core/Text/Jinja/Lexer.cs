using System.Globalization;
using System.Numerics;
using System.Text;

namespace DeepSeek.Text.Jinja;

internal enum TokenKind
{
    Data, VariableBegin, VariableEnd, BlockBegin, BlockEnd, Name, String, Integer, Float, Operator, End,
}

/// <summary>A token: <paramref name="Text"/> is its source (for strings: their value), <paramref name="Number"/> the value of numbers.</summary>
internal readonly record struct Token(TokenKind Kind, string Text, int Line, object? Number = null)
{
    public bool Is(string text) => Kind is TokenKind.Operator or TokenKind.Name && Text == text;

    public override string ToString() => Kind switch
    {
        TokenKind.VariableEnd => "'end of print statement'",
        TokenKind.BlockEnd => "'end of statement block'",
        TokenKind.End => "end of template",
        _ => $"'{Text}'",
    };
}

/// <summary>
/// Splits a template into text and tokens, with trim_blocks and lstrip_blocks as transformers sets them: a line break after a block tag and the blanks in front of it belong to the tag.
/// https://jinja.palletsprojects.com/en/stable/templates/#whitespace-control
/// </summary>
internal sealed class Lexer
{
    private static readonly string[] Operators =
        ["//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"];

    private readonly string source;
    private readonly List<Token> tokens = [];
    private int position;
    private int line = 1;
    private int counted;

    private Lexer(string template)
    {
        source = template.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        if (source.EndsWith('\n')) source = source[..^1];
    }

    public static List<Token> Tokenize(string template)
    {
        var lexer = new Lexer(template);
        lexer.Run();
        return lexer.tokens;
    }

    /// <summary>White space as Python's str.isspace has it.</summary>
    public static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1c' and <= '\x1f';

    private void Run()
    {
        bool lineStarting = true;
        while (true)
        {
            int open = position;
            do open = source.IndexOf('{', open);
            while (open >= 0 && !(open + 1 < source.Length && source[open + 1] is '{' or '%' or '#') && ++open > 0);
            if (open < 0)
            {
                Data(source[position..]);
                Add(TokenKind.End, "");
                return;
            }
            char kind = source[open + 1];
            char sign = open + 2 < source.Length && source[open + 2] is '-' or '+' ? source[open + 2] : ' ';
            int end = open;
            if (sign == '-') end = TrimEnd(position, open);
            else if (sign == ' ' && kind != '{')
            {
                int newline = open == position ? -1 : source.LastIndexOf('\n', open - 1, open - position);
                int start = newline < 0 ? position : newline + 1;
                if ((newline >= 0 || lineStarting) && source.AsSpan(start, open - start).IndexOfAnyExcept(Blank) < 0) end = start;
            }
            Data(source[position..end]);
            MoveTo(open);
            int after = open + (sign == ' ' ? 2 : 3);
            if (kind == '#') position = Comment(after);
            else if (kind == '%' && RawBegin(after) is int raw) position = Raw(raw);
            else
            {
                Add(kind == '{' ? TokenKind.VariableBegin : TokenKind.BlockBegin, source[open..after]);
                position = after;
                Tag(kind == '{' ? "}}" : "%}");
            }
            MoveTo(position);
            lineStarting = position > 0 && source[position - 1] == '\n';
        }
    }

    private static readonly System.Buffers.SearchValues<char> Blank =
        System.Buffers.SearchValues.Create([.. Enumerable.Range(0, char.MaxValue + 1).Select(c => (char)c).Where(IsSpace)]);

    private void Data(string text)
    {
        if (text.Length > 0) Add(TokenKind.Data, text);
    }

    private void Add(TokenKind kind, string text, object? number = null) => tokens.Add(new(kind, text, line, number));

    private void MoveTo(int offset)
    {
        line += source.AsSpan(counted, offset - counted).Count('\n');
        counted = offset;
    }

    private int TrimEnd(int start, int end)
    {
        while (end > start && IsSpace(source[end - 1])) end--;
        return end;
    }

    private int SkipSpace(int at)
    {
        while (at < source.Length && IsSpace(source[at])) at++;
        return at;
    }

    /// <summary>Where the text after a closing delimiter begins: '-' takes all white space, and a block or comment one line break unless '+'.</summary>
    private int? Close(int at, string delimiter, bool trimNewline)
    {
        ReadOnlySpan<char> rest = source.AsSpan(at);
        if (rest.StartsWith("-") && rest[1..].StartsWith(delimiter)) return SkipSpace(at + 1 + delimiter.Length);
        if (trimNewline && rest.StartsWith("+") && rest[1..].StartsWith(delimiter)) return at + 1 + delimiter.Length;
        if (!rest.StartsWith(delimiter)) return null;
        at += delimiter.Length;
        return trimNewline && at < source.Length && source[at] == '\n' ? at + 1 : at;
    }

    private int Comment(int at)
    {
        int close = source.IndexOf("#}", at, StringComparison.Ordinal);
        if (close < 0) throw Fail.Syntax(line, "a comment has no end, '#}' is missing");
        if (close > at && source[close - 1] is '-' or '+') close--;
        return Close(close, "#}", true)!.Value;
    }

    /// <summary>The end of a `raw` tag, or null where this is another tag.</summary>
    private int? RawBegin(int at)
    {
        at = SkipSpace(at);
        return string.CompareOrdinal(source, at, "raw", 0, 3) == 0 ? Close(SkipSpace(at + 3), "%}", false) : null;
    }

    private int Raw(int start)
    {
        for (int open = source.IndexOf("{%", start, StringComparison.Ordinal); open >= 0; open = source.IndexOf("{%", open + 1, StringComparison.Ordinal))
        {
            bool strip = open + 2 < source.Length && source[open + 2] == '-', keep = open + 2 < source.Length && source[open + 2] == '+';
            int name = SkipSpace(open + (strip || keep ? 3 : 2));
            if (string.CompareOrdinal(source, name, "endraw", 0, 6) != 0 || Close(SkipSpace(name + 6), "%}", true) is not int after) continue;
            int end = open;
            if (strip) end = TrimEnd(start, open);
            else if (!keep)
            {
                int first = open == start ? start : source.LastIndexOf('\n', open - 1, open - start) + 1;
                if (first > start && source.AsSpan(first, open - first).IndexOfAnyExcept(Blank) < 0) end = first;
            }
            Data(source[start..end]);
            return after;
        }
        throw Fail.Syntax(line, "a raw block has no end, '{% endraw %}' is missing");
    }

    /// <summary>Tokens up to the closing delimiter, which does not count inside brackets.</summary>
    private void Tag(string delimiter)
    {
        var brackets = new Stack<char>();
        while (true)
        {
            position = SkipSpace(position);
            MoveTo(position);
            if (position >= source.Length)
            {
                Add(TokenKind.End, "");
                throw Fail.Syntax(line, $"the template ends inside a tag, '{delimiter}' is missing");
            }
            if (brackets.Count == 0 && Close(position, delimiter, delimiter == "%}") is int after)
            {
                Add(delimiter == "}}" ? TokenKind.VariableEnd : TokenKind.BlockEnd, delimiter);
                position = after;
                return;
            }
            char c = source[position];
            if (char.IsAsciiDigit(c)) Number();
            else if (c == '_' || char.IsLetter(c)) Name();
            else if (c is '\'' or '"') String(c);
            else Operator(brackets);
        }
    }

    private void Name()
    {
        int start = position;
        while (position < source.Length && (source[position] == '_' || char.IsLetterOrDigit(source[position]) || char.GetUnicodeCategory(source[position]) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark)) position++;
        Add(TokenKind.Name, source[start..position]);
    }

    private void Operator(Stack<char> brackets)
    {
        string found = Operators.FirstOrDefault(o => string.CompareOrdinal(source, position, o, 0, o.Length) == 0)
            ?? throw Fail.Syntax(line, $"unexpected character '{source[position]}'");
        if (found is "(" or "[" or "{") brackets.Push(found[0] switch { '(' => ')', '[' => ']', _ => '}' });
        else if (found is ")" or "]" or "}")
        {
            if (!brackets.TryPop(out char expected)) throw Fail.Syntax(line, $"unexpected '{found}'");
            if (expected != found[0]) throw Fail.Syntax(line, $"unexpected '{found}', expected '{expected}'");
        }
        Add(TokenKind.Operator, found);
        position += found.Length;
    }

    private int Digits(int at, Func<char, bool> isDigit)
    {
        while (at < source.Length && (isDigit(source[at]) || source[at] == '_' && at + 1 < source.Length && isDigit(source[at + 1]))) at++;
        return at;
    }

    private void Number()
    {
        int start = position;
        char radix = position + 1 < source.Length && source[position] == '0' ? char.ToLowerInvariant(source[position + 1]) : ' ';
        Func<char, bool>? digit = radix switch { 'x' => char.IsAsciiHexDigit, 'o' => c => c is >= '0' and <= '7', 'b' => c => c is '0' or '1', _ => null };
        if (digit is not null && Digits(position + 2, digit) is int end && end > position + 2)
        {
            BigInteger value = 0;
            foreach (char c in source.AsSpan(position + 2, end - position - 2))
                if (c != '_') value = value * (radix == 'x' ? 16 : radix == 'o' ? 8 : 2) + (char.IsAsciiDigit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
            position = end;
            Add(TokenKind.Integer, source[start..end], Numbers.Shrink(value));
            return;
        }
        position = Digits(position, char.IsAsciiDigit);
        bool isFloat = false;
        bool afterDot = start > 0 && source[start - 1] == '.';
        if (!afterDot && position + 1 < source.Length && source[position] == '.' && char.IsAsciiDigit(source[position + 1]))
        {
            position = Digits(position + 1, char.IsAsciiDigit);
            isFloat = true;
        }
        if (!afterDot && position < source.Length && source[position] is 'e' or 'E')
        {
            int exponent = position + 1 < source.Length && source[position + 1] is '+' or '-' ? position + 2 : position + 1;
            if (exponent < source.Length && char.IsAsciiDigit(source[exponent]))
            {
                position = Digits(exponent, char.IsAsciiDigit);
                isFloat = true;
            }
        }
        string text = source[start..position].Replace("_", "", StringComparison.Ordinal);
        if (isFloat) Add(TokenKind.Float, text, double.Parse(text, NumberStyles.Float, CultureInfo.InvariantCulture));
        else if (text.Length > 1 && text[0] == '0' && text.AsSpan().IndexOfAnyExcept('0') >= 0) throw Fail.Syntax(line, $"'{text}' is no number");
        else Add(TokenKind.Integer, text, Numbers.ParseInteger(text));
    }

    private void String(char quote)
    {
        int end = position + 1;
        while (end < source.Length && source[end] != quote) end += source[end] == '\\' ? 2 : 1;
        if (end >= source.Length) throw Fail.Syntax(line, "a string has no end");
        Add(TokenKind.String, Unescape(source.AsSpan(position + 1, end - position - 1)));
        position = end + 1;
    }

    /// <summary>Python's escapes; unknown ones stay as they are.</summary>
    private string Unescape(ReadOnlySpan<char> raw)
    {
        if (!raw.Contains('\\')) return raw.ToString();
        var text = new StringBuilder();
        for (int i = 0; i < raw.Length; i++)
        {
            if (raw[i] != '\\') { text.Append(raw[i]); continue; }
            char c = raw[++i];
            int hex = c switch { 'x' => 2, 'u' => 4, 'U' => 8, _ => 0 };
            if (hex > 0)
            {
                if (i + hex >= raw.Length || !uint.TryParse(raw.Slice(i + 1, hex), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint code) || code > 0x10FFFF)
                    throw Fail.Syntax(line, $"a broken \\{c} escape");
                text.Append(code < 0x10000 ? ((char)code).ToString() : char.ConvertFromUtf32((int)code));
                i += hex;
            }
            else if (c is >= '0' and <= '7')
            {
                int n = 0, code = 0;
                while (n < 3 && i + n < raw.Length && raw[i + n] is >= '0' and <= '7') code = code * 8 + raw[i + n++] - '0';
                text.Append((char)code);
                i += n - 1;
            }
            else if (c != '\n') text.Append(c switch { 'n' => "\n", 't' => "\t", 'r' => "\r", 'b' => "\b", 'f' => "\f", 'v' => "\v", 'a' => "\a", '\\' => "\\", '\'' => "'", '"' => "\"", _ => "\\" + c });
        }
        return text.ToString();
    }
}
