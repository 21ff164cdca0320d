using System.Globalization;
using System.Numerics;
using System.Text;

namespace DeepSeek.Text.Jinja;

/// <summary>Filters that make text.</summary>
internal static class TextFilters
{
    public static Str Soft(object? value, Evaluator e) => Printer.ToStr(value, e.Meter);

    public static object? Method(Evaluator e, object? value, string method, CallArguments arguments) => StringMethods.Call(e, Soft(value, e), method, arguments);

    /// <summary>Unlike str.title: words begin after white space, hyphens and opening brackets only.</summary>
    public static Str Title(Str s)
    {
        var text = new StringBuilder();
        for (int i = 0; i < s.Value.Length;)
        {
            int end = i + 1;
            bool separator = BeginsWord(s.Value[i]);
            while (end < s.Value.Length && BeginsWord(s.Value[end]) == separator) end++;
            int first = char.IsHighSurrogate(s.Value[i]) && end > i + 1 ? 2 : 1;
            text.Append(Casing.Upper(s.Value.Substring(i, first))).Append(Casing.Lower(s.Value[(i + first)..end]));
            i = end;
        }
        return s.Derive(text.ToString());
    }

    private static bool BeginsWord(char c) => Lexer.IsSpace(c) || c is '-' or '(' or '{' or '[' or '<';

    public static Str Format(Evaluator e, object? value, CallArguments arguments)
    {
        if (arguments.Positional.Count > 0 && arguments.Named.Count > 0) throw Fail.Type("can't handle positional and keyword arguments at the same time");
        if (arguments.Named.Count == 0) return PercentFormat.Format(Soft(value, e), arguments.Positional.ToArray(), e.Meter);
        var named = new Dict();
        foreach (var (key, v) in arguments.Named) named[key] = v;
        return PercentFormat.Format(Soft(value, e), named, e.Meter);
    }

    public static Str Indent(Evaluator e, object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("indent", "width?", "first?", "blank?");
        if (value is Undefined u) throw u.Error();
        Str s = value as Str ?? throw Fail.Type($"unsupported operand type(s) for +=: '{Kind.Name(value)}' and 'str'");
        Str indentation = a[0] as Str ?? new StrBuilder(e.Meter).Repeat(Str.Trusted(" "), a[0] is Missing ? 4 : Numbers.Int(a[0])).ToStr();
        bool first = a[1] is not Missing && Operators.Truth(a[1]), blank = a[2] is not Missing && Operators.Truth(a[2]);
        List<object?> lines = StringMethods.SplitLines(new StrBuilder(e.Meter).Append(s).Append("\n", true).ToStr(), false, e.Meter);
        var text = new StrBuilder(e.Meter);
        for (int i = 0; i < lines.Count; i++)
        {
            var line = (Str)lines[i]!;
            if (i > 0) text.Append("\n", true);
            if (i == 0 ? first : blank || line.Value.Length > 0) text.Append(indentation);
            text.Append(line);
        }
        return s.IsMarkup ? text.ToStr().AsMarkup() : text.ToStr();
    }

    public static Str Join(Evaluator e, object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("join", "d?", "attribute?");
        Str separator = a[0] is Missing ? Str.Empty : Soft(a[0], e);
        Str[] parts = [.. Operators.Iterate(value, e.Meter).Select(item => Soft(a[1] is Missing or null ? item : Lookup.Path(item, a[1]), e))];
        bool escape = e.Autoescape && (separator.IsMarkup || parts.Any(p => p.IsMarkup));
        var text = new StrBuilder(e.Meter);
        for (int i = 0; i < parts.Length; i++)
        {
            e.Meter.Step();
            if (i > 0) text.Append(escape ? Html.Escape(separator, e.Meter) : separator);
            text.Append(escape ? Html.Escape(parts[i], e.Meter) : parts[i]);
        }
        return escape ? text.ToStr().AsMarkup() : text.ToStr();
    }

    public static Str Replace(Evaluator e, object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("replace", "old", "new", "count?");
        Str old = Soft(a[0], e), with = Soft(a[1], e);
        return StringMethods.Replace(e.Autoescape ? Soft(value, e) : Soft(value, e).AsPlain(), old, with, a[2] is Missing or null ? -1 : Numbers.Int(a[2]), e.Meter);
    }

    public static object? Truncate(Evaluator e, object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("truncate", "length?", "killwords?", "end?", "leeway?");
        Str end = a[2] is Missing ? Str.Trusted("...") : Soft(a[2], e);
        int length = a[0] is Missing ? 255 : Numbers.Int(a[0]), leeway = a[3] is Missing or null ? 5 : Numbers.Int(a[3]);
        if (length < end.Length) throw new ChatTemplateException($"AssertionError: expected length >= {end.Length}, got {length}");
        if (leeway < 0) throw new ChatTemplateException($"AssertionError: expected leeway >= 0, got {leeway}");
        if (Filters.Length(value, new([], [])) <= (long)length + leeway) return value;
        Str s = value as Str ?? throw Fail.Type($"cannot truncate '{Kind.Name(value)}'");
        Str kept = s.Slice(0, length - end.Length);
        int blank = kept.Value.LastIndexOf(' ');
        if ((a[1] is Missing || !Operators.Truth(a[1])) && blank >= 0) kept = kept.Cut(0, blank);
        return new StrBuilder(e.Meter).Append(kept).Append(end).ToStr();
    }

    public static long WordCount(Str s)
    {
        long words = 0;
        bool inWord = false;
        foreach (Rune r in s.Value.EnumerateRunes())
        {
            bool isWord = Rune.IsLetterOrDigit(r) || r.Value == '_' || Rune.GetNumericValue(r) != -1;
            if (isWord && !inWord) words++;
            inWord = isWord;
        }
        return words;
    }

    public static Str FileSize(object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("filesizeformat", "binary?");
        bool binary = a[0] is not Missing && Operators.Truth(a[0]);
        double bytes = value is Str s ? Numbers.TryReal(s.Value) ?? throw Fail.Value($"could not convert string to float: {Printer.Brief(s)}") : Numbers.Real(value);
        double unit = binary ? 1024 : 1000;
        if (bytes == 1) return Str.FromCaller("1 Byte");
        if (bytes < unit) return Str.FromCaller($"{Numbers.IntegerText(Numbers.Shrink(new BigInteger(bytes)))} Bytes");
        string[] prefixes = binary ? ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"] : ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
        double scale = unit;
        int i = 0;
        for (; i < prefixes.Length - 1 && bytes >= scale * unit; i++) scale *= unit;
        return Str.FromCaller($"{Numbers.Fixed(bytes / scale, 'f', 1, false)} {prefixes[i]}");
    }

    public static Str UrlEncode(Evaluator e, object? value)
    {
        if (value is Str || value is not (Dict or List<object?> or object?[] or Lazy or DictView))
        {
            Str s = Soft(value, e);
            return s.Derive(Html.UrlQuote(s.Value, query: false));
        }
        IEnumerable<object?> pairs = value is Dict dict ? new DictView(dict, "items").Items() : Operators.Iterate(value, e.Meter);
        return Str.FromCaller(string.Join('&', pairs.Select(p => Operators.ToList(p, e.Meter) is [var k, var v] ? $"{Html.UrlQuote(Soft(k, e).Value, true)}={Html.UrlQuote(Soft(v, e).Value, true)}" : throw Fail.Value("expected pairs"))));
    }

    public static Str Urlize(Evaluator e, object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("urlize", "trim_url_limit?", "nofollow?", "target?", "rel?", "extra_schemes?");
        Str s = Soft(value, e);
        SortedSet<string> rel = new(StringComparer.Ordinal) { "noopener" };
        if (a[3] is Str more) rel.UnionWith(more.Value.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        if (a[1] is not Missing && Operators.Truth(a[1])) rel.Add("nofollow");
        string linked = Html.Urlize(s.Value, a[0] is Missing or null ? null : Numbers.Int(a[0]), string.Join(' ', rel), (a[2] as Str)?.Value);
        e.Meter.Write(linked.Length);
        Str result = Str.Of(linked, s.AllTrusted);
        return e.Autoescape ? result.AsMarkup() : result;
    }

    public static Str XmlAttributes(Evaluator e, object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("xmlattr", "autospace?");
        if (value is not Dict dict) throw Fail.Type("xmlattr needs a mapping");
        var text = new StrBuilder(e.Meter);
        bool autospace = a[0] is Missing || Operators.Truth(a[0]);
        foreach (var (key, v) in dict.Items)
        {
            if (v is null or Undefined) continue;
            Str name = Soft(key, e);
            if (name.Value.AsSpan().IndexOfAny(" /=>\t\n\f\r\v") >= 0) throw Fail.Value($"Invalid character in attribute name: {Printer.Brief(name)}");
            if (autospace || text.Length > 0) text.Append(" ", true);
            text.Append(Html.Escape(name, e.Meter)).Append("=\"", true).Append(Html.Escape(Soft(v, e), e.Meter)).Append("\"", true);
        }
        return e.Autoescape ? text.ToStr().AsMarkup() : text.ToStr();
    }

    public static Str WordWrap(Evaluator e, object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("wordwrap", "width?", "break_long_words?", "wrapstring?", "break_on_hyphens?");
        Str s = value as Str ?? throw Fail.Type($"'{Kind.Name(value)}' object has no attribute 'splitlines'");
        int width = a[0] is Missing ? 79 : Numbers.Int(a[0]);
        if (width <= 0) throw Fail.Value($"invalid width {width} (must be > 0)");
        string separator = a[2] is Missing or null ? "\n" : Soft(a[2], e).Value;
        bool breakLong = a[1] is Missing || Operators.Truth(a[1]), hyphens = a[3] is Missing || Operators.Truth(a[3]);
        var lines = StringMethods.SplitLines(s, false, e.Meter).Select(line => string.Join(separator, WordWrapper.Wrap(((Str)line!).Value, width, breakLong, hyphens)));
        string wrapped = string.Join(separator, lines);
        e.Meter.Write(wrapped.Length);
        return Str.Of(wrapped, s.AllTrusted);
    }
}
