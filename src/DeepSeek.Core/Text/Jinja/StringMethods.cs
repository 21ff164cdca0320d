using System.Globalization;
using System.Text;

namespace DeepSeek.Text.Jinja;

/// <summary>Methods of strings: https://docs.python.org/3/library/stdtypes.html#string-methods</summary>
internal static class StringMethods
{
    /// <summary>What str.isspace accepts.</summary>
    public static readonly string Whitespace = new([.. Enumerable.Range(0, char.MaxValue + 1).Select(c => (char)c).Where(Lexer.IsSpace)]);

    /// <summary>Line breaks of splitlines.</summary>
    private const string Breaks = "\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029";

    public static readonly HashSet<string> Names =
    [
        "capitalize", "casefold", "center", "count", "endswith", "expandtabs", "find", "format", "format_map", "index", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit",
        "isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace",
        "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "translate", "upper", "zfill",
    ];

    public static object? Call(Evaluator e, Str s, string name, CallArguments arguments)
    {
        Meter meter = e.Meter;
        meter.Step(1 + s.Value.Length / 64);
        if (name is "upper" or "lower" or "casefold" or "title" or "capitalize" or "swapcase") arguments.Bind(name);
        switch (name)
        {
            case "upper": return s.Derive(Casing.Upper(s.Value));
            case "lower": return s.Derive(Casing.Lower(s.Value));
            case "casefold": return s.Derive(Casing.Fold(s.Value));
            case "title": return s.Derive(Casing.Title(s.Value));
            case "capitalize": return s.Derive(Casing.Capitalize(s.Value));
            case "swapcase": return s.Derive(Casing.Swap(s.Value));
            case "strip" or "lstrip" or "rstrip":
                object? chars = arguments.Bind(name, "chars?")[0];
                return Strip(s, chars is Missing or null ? null : Text(chars, name), name != "rstrip", name != "lstrip");
            case "split" or "rsplit":
                object?[] a = arguments.Bind(name, "sep?", "maxsplit?");
                return Split(s, a[0] is Missing or null ? null : Text(a[0], name), a[1] is Missing ? -1 : Numbers.Int(a[1]), name == "rsplit", meter);
            case "splitlines":
                a = arguments.Bind(name, "keepends?");
                return SplitLines(s, a[0] is not Missing && Operators.Truth(a[0]), meter);
            case "replace":
                a = arguments.Bind(name, "old", "new", "count?");
                return Replace(s, Text(a[0], name), Text(a[1], name), a[2] is Missing ? -1 : Numbers.Int(a[2]), meter);
            case "join":
                return Join(s, Operators.Iterate(arguments.Bind(name, "iterable")[0], meter), meter);
            case "startswith" or "endswith":
                a = arguments.Bind(name, "affix", "start?", "end?");
                if (Bounds(s, a[1], a[2]).Start > s.Length) return false;
                Str window = Window(s, a[1], a[2]);
                return (a[0] is object?[] any ? any : [a[0]]).Any(p => name == "startswith" ? window.Value.StartsWith(Text(p, name).Value, StringComparison.Ordinal) : window.Value.EndsWith(Text(p, name).Value, StringComparison.Ordinal));
            case "find" or "rfind" or "index" or "rindex":
                a = arguments.Bind(name, "sub", "start?", "end?");
                window = Window(s, a[1], a[2]);
                string sub = Text(a[0], name).Value;
                int at = name[0] == 'r' ? window.Value.LastIndexOf(sub, StringComparison.Ordinal) : window.Value.IndexOf(sub, StringComparison.Ordinal);
                if (at >= 0 && Bounds(s, a[1], a[2]).Start <= s.Length) return (long)window.CodePoint(at) + Bounds(s, a[1], a[2]).Start;
                return name.EndsWith("find", StringComparison.Ordinal) ? -1L : throw Fail.Value("substring not found");
            case "count":
                a = arguments.Bind(name, "sub", "start?", "end?");
                return Bounds(s, a[1], a[2]).Start > s.Length ? 0L : Count(Window(s, a[1], a[2]), Text(a[0], name).Value);
            case "partition" or "rpartition":
                Str separator = Text(arguments.Bind(name, "sep")[0], name);
                if (separator.Value.Length == 0) throw Fail.Value("empty separator");
                at = name[0] == 'r' ? s.Value.LastIndexOf(separator.Value, StringComparison.Ordinal) : s.Value.IndexOf(separator.Value, StringComparison.Ordinal);
                if (at < 0) return name[0] == 'r' ? new object?[] { Str.Empty, Str.Empty, s } : [s, Str.Empty, Str.Empty];
                return new object?[] { s.Cut(0, at), s.Cut(at, at + separator.Value.Length), s.Cut(at + separator.Value.Length, s.Value.Length) };
            case "removeprefix":
                string affix = Text(arguments.Bind(name, "prefix")[0], name).Value;
                return s.Value.StartsWith(affix, StringComparison.Ordinal) ? s.Cut(affix.Length, s.Value.Length) : s;
            case "removesuffix":
                affix = Text(arguments.Bind(name, "suffix")[0], name).Value;
                return affix.Length > 0 && s.Value.EndsWith(affix, StringComparison.Ordinal) ? s.Cut(0, s.Value.Length - affix.Length) : s;
            case "center" or "ljust" or "rjust":
                a = arguments.Bind(name, "width", "fillchar?");
                return Pad(s, Numbers.Int(a[0]), a[1] is Missing ? Str.Trusted(" ") : Text(a[1], name), name, meter);
            case "zfill":
                int zeros = Numbers.Int(arguments.Bind(name, "width")[0]) - s.Length, sign = s.Value.Length > 0 && s.Value[0] is '+' or '-' ? 1 : 0;
                return zeros <= 0 ? s : new StrBuilder(meter).Append(s.Cut(0, sign)).Repeat(Str.Trusted("0"), zeros).Append(s.Cut(sign, s.Value.Length)).ToStr();
            case "expandtabs":
                a = arguments.Bind(name, "tabsize?");
                return ExpandTabs(s, a[0] is Missing ? 8 : Numbers.Int(a[0]), meter);
            case "format": return FormatSpec.Format(s, arguments, meter);
            case "format_map":
                if (arguments.Bind(name, "mapping")[0] is not Dict map) throw Fail.Type("format_map() argument must be a mapping");
                return FormatSpec.Format(s, new([], [.. map.Items.Where(p => p.Key is Str).Select(p => KeyValuePair.Create(((Str)p.Key!).Value, p.Value))]), meter);
            case "translate": return Translate(s, arguments.Bind(name, "table")[0], meter);
            default:
                arguments.Bind(name);
                return Is(name, s.Value);
        }
    }

    private static Str Text(object? value, string function) => value as Str ?? throw (value is Undefined u ? u.Error() : Fail.Type($"{function}() argument must be str, not {Kind.Name(value)}"));

    public static Str Strip(Str s, Str? chars, bool left, bool right)
    {
        int start = 0, end = s.Length;
        HashSet<string>? set = chars is null ? null : [.. chars.Characters().Select(c => c.Value)];
        bool Drop(int at) => set is null ? Lexer.IsSpace(s.Value[s.Offset(at)]) : set.Contains(s.Slice(at, at + 1).Value);
        while (left && start < end && Drop(start)) start++;
        while (right && end > start && Drop(end - 1)) end--;
        return s.Slice(start, end);
    }

    private static List<object?> Split(Str s, Str? separator, int limit, bool fromRight, Meter meter)
    {
        List<object?> parts = [];
        string text = s.Value;
        if (separator is { Value.Length: 0 }) throw Fail.Value("empty separator");
        if (limit < 0) limit = int.MaxValue;
        int start = 0, end = text.Length;
        while (true)
        {
            meter.Step();
            if (separator is null)
            {
                while (start < end && Lexer.IsSpace(text[start])) start++;
                while (fromRight && end > start && Lexer.IsSpace(text[end - 1])) end--;
                if (start >= end) break;
            }
            int at = -1, length = separator?.Value.Length ?? 1;
            if (parts.Count < limit)
            {
                if (separator is not null) at = fromRight ? text.AsSpan(start, end - start).LastIndexOf(separator.Value) : text.AsSpan(start, end - start).IndexOf(separator.Value);
                else for (int i = fromRight ? end - 1 : start; at < 0 && i >= start && i < end; i += fromRight ? -1 : 1) if (Lexer.IsSpace(text[i])) at = i - start;
            }
            if (at < 0)
            {
                // What is left keeps the white space at the side that was not cut.
                int first = separator is null && fromRight && parts.Count >= limit ? 0 : start;
                parts.Add(s.Cut(first, end));
                break;
            }
            at += start;
            parts.Add(fromRight ? s.Cut(at + length, end) : s.Cut(start, at));
            if (fromRight) end = at;
            else start = at + length;
        }
        if (fromRight) parts.Reverse();
        return parts;
    }

    public static List<object?> SplitLines(Str s, bool keepEnds, Meter meter)
    {
        List<object?> lines = [];
        for (int start = 0; start < s.Value.Length;)
        {
            meter.Step();
            int at = s.Value.AsSpan(start).IndexOfAny(Breaks), end = at < 0 ? s.Value.Length : start + at;
            int next = at < 0 ? end : s.Value[end] == '\r' && end + 1 < s.Value.Length && s.Value[end + 1] == '\n' ? end + 2 : end + 1;
            lines.Add(s.Cut(start, keepEnds ? next : end));
            start = next;
        }
        return lines;
    }

    public static Str Replace(Str s, Str old, Str with, int count, Meter meter)
    {
        if (count < 0) count = int.MaxValue;
        var text = new StrBuilder(meter);
        int start = 0;
        if (old.Value.Length == 0)
        {
            foreach (Str c in s.Characters())
            {
                meter.Step();
                if (count-- > 0) text.Append(with);
                text.Append(c);
            }
            return Keep(count > 0 ? text.Append(with).ToStr() : text.ToStr());
        }
        for (int at; count-- > 0 && (at = s.Value.IndexOf(old.Value, start, StringComparison.Ordinal)) >= 0; start = at + old.Value.Length)
        {
            meter.Step();
            text.Append(s.Cut(start, at)).Append(s.IsMarkup ? Html.Escape(with, meter) : with);
        }
        return start == 0 ? s : Keep(text.Append(s.Cut(start, s.Value.Length)).ToStr());

        Str Keep(Str result) => s.IsMarkup ? result.AsMarkup() : result;
    }

    private static Str Join(Str separator, IEnumerable<object?> items, Meter meter)
    {
        var text = new StrBuilder(meter);
        int n = 0;
        foreach (object? item in items)
        {
            if (item is not Str part) throw Fail.Type($"sequence item {n}: expected str instance, {Kind.Name(item)} found");
            if (n++ > 0) text.Append(separator);
            text.Append(separator.IsMarkup ? Html.Escape(part, meter) : part);
        }
        return separator.IsMarkup ? text.ToStr().AsMarkup() : text.ToStr();
    }

    private static (int Start, int End) Bounds(Str s, object? start, object? end)
    {
        int Clamp(object? bound, int fallback)
        {
            if (bound is Missing or null) return fallback;
            int n = Numbers.Int(bound);
            return n < 0 ? Math.Max(0, n + s.Length) : n;
        }
        return (Clamp(start, 0), Math.Min(Clamp(end, s.Length), s.Length));
    }

    private static Str Window(Str s, object? start, object? end)
    {
        var (from, to) = Bounds(s, start, end);
        return s.Slice(Math.Min(from, s.Length), to);
    }

    private static long Count(Str s, string sub)
    {
        if (sub.Length == 0) return s.Length + 1L;
        return System.MemoryExtensions.Count(s.Value.AsSpan(), sub);
    }

    public static Str Pad(Str s, int width, Str fill, string side, Meter meter)
    {
        if (fill.Length != 1) throw Fail.Type("The fill character must be exactly one character long");
        int pad = width - s.Length;
        if (pad <= 0) return s;
        // CPython's centre: the odd one goes left where the width is odd.
        int left = side == "rjust" ? pad : side == "ljust" ? 0 : pad / 2 + (pad & width & 1);
        Str padded = new StrBuilder(meter).Repeat(fill, left).Append(s).Repeat(fill, pad - left).ToStr();
        return s.IsMarkup ? padded.AsMarkup() : padded;
    }

    private static Str ExpandTabs(Str s, int size, Meter meter)
    {
        var text = new StrBuilder(meter);
        int column = 0;
        foreach (Str c in s.Characters())
        {
            meter.Step();
            if (c.Value == "\t")
            {
                int blanks = size > 0 ? size - column % size : 0;
                text.Repeat(Str.Of(" ", c.AllTrusted), blanks);
                column += blanks;
            }
            else
            {
                text.Append(c);
                column = c.Value is "\n" or "\r" ? 0 : column + 1;
            }
        }
        return text.ToStr();
    }

    private static Str Translate(Str s, object? table, Meter meter)
    {
        var text = new StrBuilder(meter);
        foreach (Str c in s.Characters())
        {
            meter.Step();
            long code = Rune.TryGetRuneAt(c.Value, 0, out Rune rune) ? rune.Value : c.Value[0];
            object? to = c;
            if (table is Dict dict && dict.TryGet(code, out object? mapped)) to = mapped;
            if (to is Str t) text.Append(t);
            else if (Numbers.IsInteger(to)) text.Append(Rune.IsValid(Numbers.Int(to)) ? char.ConvertFromUtf32(Numbers.Int(to)) : throw Fail.Value("character mapping must be in range(0x110000)"), c.AllTrusted);
            else if (to is not null) throw Fail.Type("character mapping must return integer, None or str");
        }
        return text.ToStr();
    }

    private static bool Is(string name, string s)
    {
        Rune[] runes = [.. s.EnumerateRunes()];
        switch (name)
        {
            case "isascii": return runes.All(r => r.IsAscii);
            case "isprintable": return runes.All(Printer.IsPrintable);
            case "isupper": return runes.Any(Casing.IsUpper) && !runes.Any(r => Casing.IsCased(r) && !Casing.IsUpper(r));
            case "islower": return runes.Any(Casing.IsLower) && !runes.Any(r => Casing.IsCased(r) && !Casing.IsLower(r));
            case "istitle":
                bool any = false, inWord = false;
                foreach (Rune r in runes)
                {
                    bool starts = Casing.IsUpper(r) || Rune.GetUnicodeCategory(r) == UnicodeCategory.TitlecaseLetter;
                    if (starts && inWord || Casing.IsLower(r) && !inWord) return false;
                    any |= inWord = starts || Casing.IsLower(r);
                }
                return any;
            case "isidentifier":
                return runes.Length > 0 && runes.Select((r, i) => (r, i)).All(p => p.r.Value == '_' || Rune.IsLetter(p.r) || Rune.GetUnicodeCategory(p.r) == UnicodeCategory.LetterNumber
                    || p.i > 0 && Rune.GetUnicodeCategory(p.r) is UnicodeCategory.DecimalDigitNumber or UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.ConnectorPunctuation);
            default:
                return runes.Length > 0 && runes.All(name switch
                {
                    "isalpha" => Rune.IsLetter,
                    "isdecimal" => r => Rune.GetUnicodeCategory(r) == UnicodeCategory.DecimalDigitNumber,
                    "isdigit" => IsDigit,
                    "isnumeric" => IsNumeric,
                    "isalnum" => r => Rune.IsLetter(r) || IsNumeric(r),
                    _ => r => r.IsBmp && Lexer.IsSpace((char)r.Value),
                });
        }
    }

    private static bool IsDigit(Rune r) => CharUnicodeInfo.GetDigitValue(r.ToString(), 0) >= 0;

    private static bool IsNumeric(Rune r) => Rune.GetNumericValue(r) != -1;
}
