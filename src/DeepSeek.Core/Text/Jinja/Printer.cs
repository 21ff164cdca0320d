using System.Globalization;
using System.Numerics;
using System.Text;

namespace DeepSeek.Text.Jinja;

/// <summary>Python's str and repr. Digits and brackets count as the caller's where the value may be: numbers do not remember who wrote them.</summary>
internal static class Printer
{
    public static Str ToStr(object? value, Meter meter)
    {
        switch (value)
        {
            case Str s: return s;
            case Undefined: return Str.Empty;
            default:
                var text = new StringBuilder();
                bool trusted = true;
                Represent(value, text, ref trusted, meter);
                meter.Write(text.Length);
                return Str.Of(text.ToString(), trusted);
        }
    }

    public static Str Repr(object? value, Meter meter)
    {
        var text = new StringBuilder();
        bool trusted = true;
        Represent(value, text, ref trusted, meter);
        meter.Write(text.Length);
        return Str.Of(text.ToString(), trusted);
    }

    /// <summary>A value in an error message.</summary>
    public static string Brief(object? value) => value switch
    {
        Str s => $"'{(s.Value.Length > 60 ? s.Value[..60] + "…" : s.Value)}'",
        null or bool or long or double => ToStr(value, new Meter()).Value,
        _ => $"a {Kind.Name(value)}",
    };

    private static void Represent(object? value, StringBuilder text, ref bool trusted, Meter meter)
    {
        meter.Step();
        Meter.CheckStack();
        if (text.Length > Meter.MaxCharacters) meter.Write(text.Length);
        switch (value)
        {
            case Str s:
                trusted &= s.AllTrusted;
                if (s.IsMarkup) text.Append("Markup(");
                Quote(s.Value, text);
                if (s.IsMarkup) text.Append(')');
                break;
            case null: Scalar("None", text, ref trusted); break;
            case bool b: Scalar(b ? "True" : "False", text, ref trusted); break;
            case long or BigInteger: Scalar(Numbers.IntegerText(value), text, ref trusted); break;
            case double d: Scalar(Numbers.RealText(d), text, ref trusted); break;
            case List<object?> list: Sequence("[", list, "]", text, ref trusted, meter); break;
            case object?[] tuple: Sequence("(", tuple, tuple.Length == 1 ? ",)" : ")", text, ref trusted, meter); break;
            case Group group: Sequence("(", [group.Grouper, group.Items], ")", text, ref trusted, meter); break;
            case Dict dict: Mapping(dict, text, ref trusted, meter); break;
            case DictView view: Sequence($"dict_{view.Of}([", view.Items(), "])", text, ref trusted, meter); break;
            case Range range: Scalar(range.Step == 1 ? $"range({range.Start}, {range.Stop})" : $"range({range.Start}, {range.Stop}, {range.Step})", text, ref trusted); break;
            case Namespace ns:
                text.Append("<Namespace ");
                Mapping(ns.Attributes, text, ref trusted, meter);
                text.Append('>');
                break;
            case Undefined: Scalar("Undefined", text, ref trusted); break;
            case Macro macro: text.Append($"<Macro '{macro.Id}'>"); break;
            case LoopContext loop: Scalar($"<LoopContext {loop.Index + 1}/{loop.Count}>", text, ref trusted); break;
            default: text.Append($"<{Kind.Name(value)} object>"); break;
        }
    }

    private static void Scalar(string written, StringBuilder text, ref bool trusted)
    {
        text.Append(written);
        trusted = false;
    }

    private static void Sequence(string open, IEnumerable<object?> items, string close, StringBuilder text, ref bool trusted, Meter meter)
    {
        text.Append(open);
        bool first = true;
        foreach (object? item in items)
        {
            if (!first) text.Append(", ");
            first = false;
            Represent(item, text, ref trusted, meter);
        }
        text.Append(close);
    }

    private static void Mapping(Dict dict, StringBuilder text, ref bool trusted, Meter meter)
    {
        text.Append('{');
        bool first = true;
        foreach (var (key, value) in dict.Items)
        {
            if (!first) text.Append(", ");
            first = false;
            Represent(key, text, ref trusted, meter);
            text.Append(": ");
            Represent(value, text, ref trusted, meter);
        }
        text.Append('}');
    }

    private static void Quote(string s, StringBuilder text)
    {
        char quote = s.Contains('\'', StringComparison.Ordinal) && !s.Contains('"', StringComparison.Ordinal) ? '"' : '\'';
        text.Append(quote);
        for (int i = 0; i < s.Length; i++)
        {
            char c = s[i];
            if (c == quote || c == '\\') text.Append('\\').Append(c);
            else if (c == '\n') text.Append("\\n");
            else if (c == '\r') text.Append("\\r");
            else if (c == '\t') text.Append("\\t");
            else if (c is >= ' ' and < '\x7f') text.Append(c);
            else if (Rune.TryGetRuneAt(s, i, out Rune rune))
            {
                if (IsPrintable(rune)) text.Append(rune.ToString());
                else text.Append(Escape(rune.Value));
                i += rune.Utf16SequenceLength - 1;
            }
            else text.Append(Escape(c));
        }
        text.Append(quote);
    }

    private static string Escape(int code) => code < 0x100 ? $"\\x{code:x2}" : code < 0x10000 ? $"\\u{code:x4}" : $"\\U{code:x8}";

    public static bool IsPrintable(Rune rune) => rune.Value == ' ' || Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate
        or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.SpaceSeparator);
}
