using System.Globalization;
using System.Text;

namespace DeepSeek.Text.Jinja;

/// <summary>Functions that every template finds: Jinja's, and transformers' raise_exception and strftime_now.</summary>
internal static class Globals
{
    /// <summary>The sandbox's limit for range().</summary>
    private const long MaxRange = 100_000;

    public static readonly KeyValuePair<string, object?>[] All =
    [
        Entry("range", (_, a) => MakeRange(a)),
        Entry("dict", (e, a) => MakeDict(e, new Dict(), a)),
        Entry("namespace", (e, a) =>
        {
            var ns = new Namespace();
            MakeDict(e, ns.Attributes, a);
            return ns;
        }),
        Entry("cycler", (_, a) => a.Positional.Count > 0 ? new Cycler(a.Positional) : throw Fail.Runtime("at least one item has to be provided")),
        Entry("joiner", (_, a) => new Joiner(a.Bind("joiner", "sep?")[0] is var s and not Missing ? s : Str.Trusted(", "))),
        Entry("raise_exception", (e, a) => throw new ChatTemplateException(Printer.ToStr(a.Bind("raise_exception", "message")[0], e.Meter).Value)),
        Entry("strftime_now", (e, a) => a.Bind("strftime_now", "format")[0] is Str format ? Time(format, e) : throw Fail.Type("strftime() argument 1 must be str")),
    ];

    private static KeyValuePair<string, object?> Entry(string name, Func<Evaluator, CallArguments, object?> body) => new(name, new Function(name, body));

    private static Range MakeRange(CallArguments arguments)
    {
        object?[] a = arguments.Bind("range", "start", "stop?", "step?");
        long Bound(object? v) => Numbers.IsInteger(v) ? (long)System.Numerics.BigInteger.Min(System.Numerics.BigInteger.Max(Numbers.Big(v), long.MinValue / 8), long.MaxValue / 8)
            : throw (v is Undefined u ? u.Error() : Fail.Type($"'{Kind.Name(v)}' object cannot be interpreted as an integer"));
        Range range = a[1] is Missing ? new(0, Bound(a[0]), 1) : new(Bound(a[0]), Bound(a[1]), a[2] is Missing ? 1 : Bound(a[2]));
        if (range.Step == 0) throw Fail.Value("range() arg 3 must not be zero");
        return range.Count <= MaxRange ? range : throw Fail.Overflow($"Range too big. The sandbox blocks ranges larger than MAX_RANGE ({MaxRange}).");
    }

    private static Dict MakeDict(Evaluator e, Dict dict, CallArguments arguments)
    {
        if (arguments.Positional.Count > 1) throw Fail.Type($"dict expected at most 1 argument, got {arguments.Positional.Count}");
        if (arguments.Positional is [var source])
        {
            IEnumerable<object?> pairs = source is Dict from ? new DictView(from, "items").Items() : Operators.Iterate(source, e.Meter);
            foreach (object? pair in pairs.ToList())
            {
                if (Operators.ToList(pair, e.Meter) is not [var key, var value]) throw Fail.Value("dictionary update sequence needs pairs");
                dict[key] = value;
            }
        }
        foreach (var (key, value) in arguments.Named) dict[key] = value;
        return dict;
    }

    /// <summary>Python's strftime in the C locale.</summary>
    private static Str Time(Str format, Evaluator e)
    {
        DateTimeOffset now = e.Clock.GetLocalNow();
        CultureInfo c = CultureInfo.InvariantCulture;
        var text = new StringBuilder();
        for (int i = 0; i < format.Value.Length; i++)
        {
            if (format.Value[i] != '%' || i + 1 == format.Value.Length)
            {
                text.Append(format.Value[i]);
                continue;
            }
            char kind = format.Value[++i];
            bool unpadded = kind == '-' && i + 1 < format.Value.Length;
            if (unpadded) kind = format.Value[++i];
            string written = kind switch
            {
                'a' => now.ToString("ddd", c),
                'A' => now.ToString("dddd", c),
                'b' or 'h' => now.ToString("MMM", c),
                'B' => now.ToString("MMMM", c),
                'c' => now.ToString("ddd MMM ", c) + now.Day.ToString(c).PadLeft(2) + now.ToString(" HH:mm:ss yyyy", c),
                'C' => (now.Year / 100).ToString("00", c),
                'd' => now.ToString("dd", c),
                'D' or 'x' => now.ToString("MM/dd/yy", c),
                'e' => now.Day.ToString(c).PadLeft(2),
                'f' => now.ToString("ffffff", c),
                'F' => now.ToString("yyyy-MM-dd", c),
                'g' => (ISOWeek.GetYear(now.DateTime) % 100).ToString("00", c),
                'G' => ISOWeek.GetYear(now.DateTime).ToString(c),
                'H' => now.ToString("HH", c),
                'I' => now.ToString("hh", c),
                'j' => now.DayOfYear.ToString("000", c),
                'k' => now.Hour.ToString(c).PadLeft(2),
                'l' => ((now.Hour + 11) % 12 + 1).ToString(c).PadLeft(2),
                'm' => now.ToString("MM", c),
                'M' => now.ToString("mm", c),
                'n' => "\n",
                'p' => now.ToString("tt", c),
                'P' => now.Hour < 12 ? "am" : "pm",
                'r' => now.ToString("hh:mm:ss tt", c),
                'R' => now.ToString("HH:mm", c),
                's' => now.ToUnixTimeSeconds().ToString(c),
                'S' => now.ToString("ss", c),
                't' => "\t",
                'T' or 'X' => now.ToString("HH:mm:ss", c),
                'u' => (now.DayOfWeek == DayOfWeek.Sunday ? 7 : (int)now.DayOfWeek).ToString(c),
                'U' => ((now.DayOfYear + 6 - (int)now.DayOfWeek) / 7).ToString("00", c),
                'V' => ISOWeek.GetWeekOfYear(now.DateTime).ToString("00", c),
                'w' => ((int)now.DayOfWeek).ToString(c),
                'W' => ((now.DayOfYear + 6 - ((int)now.DayOfWeek + 6) % 7) / 7).ToString("00", c),
                'y' => now.ToString("yy", c),
                'Y' => now.Year.ToString(c),
                'z' or 'Z' => "",
                '%' => "%",
                _ => $"%{kind}",
            };
            text.Append(unpadded ? written.TrimStart('0', ' ') is { Length: > 0 } trimmed ? trimmed : "0" : written);
        }
        return Str.Of(text.ToString(), format.AllTrusted);
    }
}
