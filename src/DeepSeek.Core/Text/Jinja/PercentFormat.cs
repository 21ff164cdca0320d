using System.Globalization;
using System.Numerics;

namespace DeepSeek.Text.Jinja;

/// <summary>"…" % values: https://docs.python.org/3/library/stdtypes.html#printf-style-string-formatting</summary>
internal static class PercentFormat
{
    public static Str Format(Str format, object? values, Meter meter)
    {
        if (values is Undefined undefined && format.Value.Contains('%', StringComparison.Ordinal)) values = new object?[] { undefined };
        object?[] tuple = values as object?[] ?? (values is Group g ? [g.Grouper, g.Items] : [values]);
        Dict? mapping = values as Dict;
        int used = 0;
        bool named = false;
        var text = new StrBuilder(meter);
        string s = format.Value;
        for (int i = 0; i < s.Length;)
        {
            int percent = s.IndexOf('%', i);
            text.Append(format.Cut(i, percent < 0 ? s.Length : percent));
            if (percent < 0) break;
            i = percent + 1;
            object? value = Missing.Value;
            if (i < s.Length && s[i] == '(')
            {
                int start = ++i;
                for (int depth = 1; depth > 0; i++)
                {
                    if (i >= s.Length) throw Fail.Value("incomplete format key");
                    depth += s[i] == '(' ? 1 : s[i] == ')' ? -1 : 0;
                }
                if (mapping is null) throw Fail.Type("format requires a mapping");
                string key = s[start..(i - 1)];
                if (!mapping.TryGet(Str.Trusted(key), out value)) throw new ChatTemplateException($"KeyError: '{key}'");
                named = true;
            }
            string flags = "";
            while (i < s.Length && "#0- +".Contains(s[i], StringComparison.Ordinal)) flags += s[i++];
            int width = Count(ref i) ?? 0;
            if (width < 0) (flags, width) = (flags + "-", -width);
            int? precision = null;
            if (i < s.Length && s[i] == '.')
            {
                i++;
                precision = Math.Max(0, Count(ref i) ?? 0);
            }
            while (i < s.Length && s[i] is 'h' or 'l' or 'L') i++;
            if (i >= s.Length) throw Fail.Value("incomplete format");
            char kind = s[i++];
            if (kind == '%')
            {
                text.Append("%", format.Cut(percent, percent + 1).AllTrusted);
                continue;
            }
            if (value is Missing) value = Next();
            meter.Write((long)width + (precision ?? 0));
            Str body = Conversion(kind, value, flags, precision, meter);
            if (format.IsMarkup && !body.IsMarkup) body = Html.Escape(body, meter);
            int pad = width - body.Length;
            if (pad <= 0) text.Append(body);
            else if (flags.Contains('-', StringComparison.Ordinal)) text.Append(body).Append(new string(' ', pad), true);
            else if (flags.Contains('0', StringComparison.Ordinal) && "diuxXoeEfFgG".Contains(kind, StringComparison.Ordinal))
            {
                int sign = body.Value.Length > 0 && body.Value[0] is '-' or '+' or ' ' ? 1 : 0;
                if (flags.Contains('#', StringComparison.Ordinal) && kind is 'x' or 'X' or 'o') sign += 2;
                text.Append(body.Cut(0, sign)).Append(new string('0', pad), true).Append(body.Cut(sign, body.Value.Length));
            }
            else text.Append(new string(' ', pad), true).Append(body);
        }
        if (!named && mapping is null && used < tuple.Length && values is not (List<object?> or Undefined)) throw Fail.Type("not all arguments converted during string formatting");
        return format.IsMarkup ? text.ToStr().AsMarkup() : text.ToStr();

        object? Next() => used < tuple.Length ? tuple[used++] : throw Fail.Type("not enough arguments for format string");

        int? Count(ref int i)
        {
            if (i < s.Length && s[i] == '*')
            {
                i++;
                return Numbers.Int(Next());
            }
            int start = i;
            while (i < s.Length && char.IsAsciiDigit(s[i])) i++;
            if (start == i) return null;
            return int.TryParse(s.AsSpan(start, i - start), NumberStyles.None, CultureInfo.InvariantCulture, out int n) ? n : throw Fail.Value("width too big");
        }
    }

    private static Str Conversion(char kind, object? value, string flags, int? precision, Meter meter)
    {
        string Signed(bool negative, string digits) => (negative ? "-" : flags.Contains('+', StringComparison.Ordinal) ? "+" : flags.Contains(' ', StringComparison.Ordinal) ? " " : "") + digits;
        switch (kind)
        {
            case 's' or 'r' or 'a':
                Str text = kind == 's' ? Printer.ToStr(value, meter) : Printer.Repr(value, meter);
                return precision is { } limit && limit < text.Length ? text.Slice(0, limit) : text;
            case 'c':
                if (value is Str { Length: 1 } c) return c;
                int code = value is long ? Numbers.Int(value) : throw Fail.Type("%c requires int or char");
                return Str.FromCaller(System.Text.Rune.IsValid(code) ? char.ConvertFromUtf32(code) : throw Fail.Overflow("%c arg not in range(0x110000)"));
            case 'd' or 'i' or 'u' or 'x' or 'X' or 'o':
                if (value is Undefined undefined) throw undefined.Error();
                if (value is double real && kind is 'd' or 'i' or 'u') value = double.IsFinite((double)value!) ? Numbers.Shrink(new BigInteger((double)value)) : throw Fail.Overflow("cannot convert float infinity to integer");
                if (!Numbers.IsInteger(value)) throw Fail.Type($"%{kind} format: a real number is required, not {Kind.Name(value)}");
                BigInteger big = Numbers.Big(value);
                string digits = kind is 'd' or 'i' or 'u' ? Numbers.IntegerText(Numbers.Shrink(BigInteger.Abs(big))) : FormatSpec.Radix(BigInteger.Abs(big), kind);
                if (precision is { } least) digits = digits.PadLeft(least, '0');
                if (flags.Contains('#', StringComparison.Ordinal) && kind is 'x' or 'X' or 'o') digits = $"0{kind}{digits}";
                return Str.FromCaller(Signed(big.Sign < 0, digits));
            case 'e' or 'E' or 'f' or 'F' or 'g' or 'G':
                double d = Numbers.Real(value);
                return Str.FromCaller(Signed(double.IsNegative(d) && !double.IsNaN(d), Numbers.Fixed(d, kind, Math.Min(precision ?? 6, 5000), flags.Contains('#', StringComparison.Ordinal))));
            default:
                throw Fail.Value($"unsupported format character '{kind}'");
        }
    }
}
