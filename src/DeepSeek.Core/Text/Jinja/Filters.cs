using System.Collections.Frozen;
using System.Numerics;

namespace DeepSeek.Text.Jinja;

/// <summary>A filter: value|name(arguments).</summary>
internal delegate object? Filter(Evaluator evaluator, object? value, CallArguments arguments);

/// <summary>The built-in filters, https://jinja.palletsprojects.com/en/stable/templates/#list-of-builtin-filters, with transformers' tojson, and from_json.</summary>
internal static class Filters
{
    public static readonly FrozenDictionary<string, Filter> All = new Dictionary<string, Filter>
    {
        ["abs"] = Plain("abs", (_, value) => Abs(value)),
        ["attr"] = (_, value, a) => Attr(value, a),
        ["batch"] = (e, value, a) => SequenceFilters.Batch(e, value, a),
        ["capitalize"] = (e, value, a) => TextFilters.Method(e, value, "capitalize", a),
        ["center"] = (e, value, a) => StringMethods.Pad(TextFilters.Soft(value, e), a.Bind("center", "width?")[0] is var w and not Missing ? Numbers.Int(w) : 80, Str.Trusted(" "), "center", e.Meter),
        ["count"] = (e, value, a) => Length(value, a),
        ["d"] = (_, value, a) => Default(value, a),
        ["default"] = (_, value, a) => Default(value, a),
        ["dictsort"] = (e, value, a) => SequenceFilters.DictSort(e, value, a),
        ["e"] = Plain("e", (e, value) => Html.Escape(TextFilters.Soft(value, e), e.Meter)),
        ["escape"] = Plain("escape", (e, value) => Html.Escape(TextFilters.Soft(value, e), e.Meter)),
        ["filesizeformat"] = (_, value, a) => TextFilters.FileSize(value, a),
        ["first"] = Plain("first", (e, value) => SequenceFilters.First(e, value)),
        ["float"] = (_, value, a) => ToReal(value, a.Bind("float", "default?")[0] is var d and not Missing ? d : 0.0),
        ["forceescape"] = Plain("forceescape", (e, value) => Html.Escape(TextFilters.Soft(value, e).AsPlain(), e.Meter)),
        ["format"] = (e, value, a) => TextFilters.Format(e, value, a),
        ["from_json"] = Plain("from_json", (_, value) => value is Str s ? Json.Load(s) : throw Fail.Type($"the JSON object must be str, not {Kind.Name(value)}")),
        ["groupby"] = (e, value, a) => SequenceFilters.GroupBy(e, value, a),
        ["indent"] = (e, value, a) => TextFilters.Indent(e, value, a),
        ["int"] = (_, value, a) => ToInteger(value, a),
        ["items"] = Plain("items", (e, value) => new Lazy(SequenceFilters.Items(value))),
        ["join"] = (e, value, a) => TextFilters.Join(e, value, a),
        ["last"] = Plain("last", (e, value) => SequenceFilters.Last(e, value)),
        ["length"] = (e, value, a) => Length(value, a),
        ["list"] = Plain("list", (e, value) => Operators.ToList(value, e.Meter)),
        ["lower"] = (e, value, a) => TextFilters.Method(e, value, "lower", a),
        ["map"] = (e, value, a) => SequenceFilters.Map(e, value, a),
        ["max"] = (e, value, a) => SequenceFilters.Extreme(e, value, a, "max"),
        ["min"] = (e, value, a) => SequenceFilters.Extreme(e, value, a, "min"),
        ["pprint"] = Plain("pprint", (e, value) => PrettyPrinter.Format(value, e.Meter)),
        ["random"] = Plain("random", (e, value) => SequenceFilters.Random(e, value)),
        ["reject"] = (e, value, a) => SequenceFilters.Select(e, value, a, wanted: false, byAttribute: false),
        ["rejectattr"] = (e, value, a) => SequenceFilters.Select(e, value, a, wanted: false, byAttribute: true),
        ["replace"] = (e, value, a) => TextFilters.Replace(e, value, a),
        ["reverse"] = Plain("reverse", (e, value) => SequenceFilters.Reverse(e, value)),
        ["round"] = (_, value, a) => Round(value, a),
        ["safe"] = Plain("safe", (e, value) => Printer.ToStr(value, e.Meter).AsMarkup()),
        ["select"] = (e, value, a) => SequenceFilters.Select(e, value, a, wanted: true, byAttribute: false),
        ["selectattr"] = (e, value, a) => SequenceFilters.Select(e, value, a, wanted: true, byAttribute: true),
        ["slice"] = (e, value, a) => SequenceFilters.Slice(e, value, a),
        ["sort"] = (e, value, a) => SequenceFilters.Sort(e, value, a),
        ["string"] = Plain("string", (e, value) => TextFilters.Soft(value, e)),
        ["striptags"] = Plain("striptags", (e, value) => TextFilters.Soft(value, e) is var s ? Str.Of(Html.StripTags(s.Value), s.AllTrusted) : null),
        ["sum"] = (e, value, a) => SequenceFilters.Sum(e, value, a),
        ["title"] = Plain("title", (e, value) => TextFilters.Title(TextFilters.Soft(value, e))),
        ["tojson"] = (e, value, a) => ToJson(e, value, a),
        ["trim"] = (e, value, a) => TextFilters.Method(e, value, "strip", a),
        ["truncate"] = (e, value, a) => TextFilters.Truncate(e, value, a),
        ["unique"] = (e, value, a) => SequenceFilters.Unique(e, value, a),
        ["upper"] = (e, value, a) => TextFilters.Method(e, value, "upper", a),
        ["urlencode"] = Plain("urlencode", (e, value) => TextFilters.UrlEncode(e, value)),
        ["urlize"] = (e, value, a) => TextFilters.Urlize(e, value, a),
        ["wordcount"] = Plain("wordcount", (e, value) => TextFilters.WordCount(TextFilters.Soft(value, e))),
        ["wordwrap"] = (e, value, a) => TextFilters.WordWrap(e, value, a),
        ["xmlattr"] = (e, value, a) => TextFilters.XmlAttributes(e, value, a),
    }.ToFrozenDictionary();

    public static object? Run(Evaluator evaluator, string name, object? value, CallArguments arguments)
    {
        evaluator.Meter.Step();
        return All.TryGetValue(name, out Filter? filter) ? filter(evaluator, value, arguments) : throw Fail.Runtime($"No filter named '{name}' found.");
    }

    /// <summary>A filter without arguments.</summary>
    private static Filter Plain(string name, Func<Evaluator, object?, object?> filter) => (e, value, arguments) => filter(e, arguments.Bind(name).Length == 0 ? value : null);

    private static object Abs(object? value) => value switch
    {
        double d => Math.Abs(d),
        bool or long or BigInteger => Numbers.Shrink(BigInteger.Abs(Numbers.Big(value))),
        Undefined u => throw u.Error(),
        _ => throw Fail.Type($"bad operand type for abs(): '{Kind.Name(value)}'"),
    };

    private static object? Attr(object? value, CallArguments arguments)
    {
        if (arguments.Bind("attr", "name")[0] is not Str name) throw Fail.Type("attribute name must be string");
        if (value is Undefined u) throw u.Error();
        // Only attributes, never items.
        return value is Dict && !Methods.Has(value, name.Value) ? new Undefined($"'dict object' has no attribute '{name.Value}'") : Lookup.Attribute(value, name);
    }

    private static object? Default(object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("default", "default_value?", "boolean?");
        bool wanted = value is Undefined || a[1] is not Missing && Operators.Truth(a[1]) && !Operators.Truth(value);
        return !wanted ? value : a[0] is Missing ? Str.Empty : a[0];
    }

    public static long Length(object? value, CallArguments arguments)
    {
        arguments.Bind("length");
        return value switch
        {
            Str s => s.Length,
            List<object?> list => list.Count,
            object?[] tuple => tuple.Length,
            Group => 2,
            Dict dict => dict.Count,
            DictView view => view.Dict.Count,
            Range range => range.Count,
            Undefined => 0,
            LoopContext loop => loop.Count,
            _ => throw Fail.Type($"object of type '{Kind.Name(value)}' has no len()"),
        };
    }

    private static object? ToReal(object? value, object? fallback) => value switch
    {
        Str s => Numbers.TryReal(s.Value) ?? fallback,
        Undefined u => throw u.Error(),
        _ => Numbers.IsNumber(value) ? Numbers.Real(value) : fallback,
    };

    private static object? ToInteger(object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("int", "default?", "base?");
        object? fallback = a[0] is Missing ? 0L : a[0];
        if (value is Undefined u) throw u.Error();
        if (Numbers.IsInteger(value)) return Numbers.Shrink(Numbers.Big(value));
        double? real = value as double?;
        if (value is Str s)
        {
            if (Numbers.TryInteger(s.Value, a[1] is Missing ? 10 : Numbers.Int(a[1])) is { } parsed) return parsed;
            real = Numbers.TryReal(s.Value);
        }
        else if (real is { } r && double.IsInfinity(r)) throw Fail.Overflow("cannot convert float infinity to integer");
        return real is { } d && double.IsFinite(d) ? Numbers.Shrink(new BigInteger(d)) : fallback;
    }

    private static object Round(object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("round", "precision?", "method?");
        int precision = a[0] is Missing ? 0 : Numbers.Int(a[0]);
        string method = a[1] is Missing ? "common" : (a[1] as Str)?.Value ?? "";
        if (method is not ("common" or "ceil" or "floor")) throw Fail.Type("method must be common, ceil or floor");
        if (value is Undefined u) throw u.Error();
        if (!Numbers.IsNumber(value)) throw Fail.Type($"type {Kind.Name(value)} doesn't define __round__ method");
        if (method == "common")
        {
            if (value is double d) return Numbers.Round(d, precision);
            BigInteger whole = Numbers.Big(value);
            if (precision >= 0) return Numbers.Shrink(whole);
            BigInteger unit = BigInteger.Pow(10, Math.Min(-precision, 5000)), quotient = BigInteger.DivRem(BigInteger.Abs(whole), unit, out BigInteger remainder);
            int half = (remainder * 2).CompareTo(unit);
            if (half > 0 || half == 0 && !quotient.IsEven) quotient++;
            return Numbers.Shrink(quotient * unit * whole.Sign);
        }
        object factor = precision >= 0 ? Numbers.Shrink(BigInteger.Pow(10, Math.Min(precision, 300))) : Math.Pow(10, precision);
        double scaled = Numbers.Real(value) * Numbers.Real(factor);
        if (!double.IsFinite(scaled)) throw Fail.Overflow("cannot convert float infinity to integer");
        var rounded = new BigInteger(method == "ceil" ? Math.Ceiling(scaled) : Math.Floor(scaled));
        return Numbers.Ratio(Numbers.Shrink(rounded), factor);
    }

    private static Str ToJson(Evaluator e, object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("tojson", "ensure_ascii?", "indent?", "separators?", "sort_keys?");
        bool Flag(object? v) => v is not Missing && Operators.Truth(v);
        string? indent = a[1] switch
        {
            Missing or null => null,
            Str s => s.Value,
            var n => new string(' ', Math.Clamp(Numbers.Int(n), 0, 1000)),
        };
        string item = indent is null ? ", " : ",", key = ": ";
        if (a[2] is not (Missing or null))
        {
            if (Operators.ToList(a[2], e.Meter) is not [Str first, Str second]) throw Fail.Type("separators must be a pair of strings");
            (item, key) = (first.Value, second.Value);
        }
        return Json.Dump(value, Flag(a[0]), indent, item, key, Flag(a[3]), trusted: a[1] is not Str && a[2] is Missing or null, e.Meter);
    }
}
