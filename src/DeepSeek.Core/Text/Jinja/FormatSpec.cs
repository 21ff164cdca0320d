using System.Globalization;
using System.Numerics;
using System.Text;

namespace DeepSeek.Text.Jinja;

/// <summary>str.format and its format specifications: https://docs.python.org/3/library/string.html#format-string-syntax</summary>
internal static class FormatSpec
{
    public static Str Format(Str format, CallArguments arguments, Meter meter)
    {
        int automatic = 0;
        Str text = Expand(format, 2);
        return format.IsMarkup ? text.AsMarkup() : text;

        Str Expand(Str template, int depth)
        {
            if (depth < 0) throw Fail.Value("Max string recursion exceeded");
            string s = template.Value;
            var output = new StrBuilder(meter);
            for (int i = 0; i < s.Length;)
            {
                int brace = s.AsSpan(i).IndexOfAny('{', '}');
                output.Append(template.Cut(i, brace < 0 ? s.Length : i + brace));
                if (brace < 0) break;
                i += brace;
                if (i + 1 < s.Length && s[i + 1] == s[i])
                {
                    output.Append(template.Cut(i, i + 1));
                    i += 2;
                    continue;
                }
                if (s[i] == '}') throw Fail.Value("Single '}' encountered in format string");
                int start = ++i;
                for (int nested = 1; nested > 0; i++)
                {
                    if (i >= s.Length) throw Fail.Value("expected '}' before end of string");
                    nested += s[i] == '{' ? 1 : s[i] == '}' ? -1 : 0;
                }
                output.Append(Field(template.Cut(start, i - 1), depth));
            }
            return output.ToStr();
        }

        Str Field(Str field, int depth)
        {
            string s = field.Value;
            int end = 0;
            for (bool inBrackets = false; end < s.Length && (inBrackets || s[end] is not ('!' or ':')); end++) inBrackets = s[end] == '[' || inBrackets && s[end] != ']';
            object? value = Resolve(s[..end]);
            if (end < s.Length && s[end] == '!')
            {
                if (end + 1 >= s.Length) throw Fail.Value("end of string while looking for conversion specifier");
                value = s[end + 1] switch { 's' => Printer.ToStr(value, meter), 'r' or 'a' => Printer.Repr(value, meter), char c => throw Fail.Value($"Unknown conversion specifier '{c}'") };
                end += 2;
                if (end < s.Length && s[end] != ':') throw Fail.Value("expected ':' after conversion specifier");
            }
            string spec = end < s.Length ? Expand(field.Cut(end + 1, s.Length), depth - 1).Value : "";
            Str text = Apply(value, spec, meter);
            return format.IsMarkup && !text.IsMarkup ? Html.Escape(text, meter) : text;
        }

        object? Resolve(string path)
        {
            int i = path.AsSpan().IndexOfAny('.', '[');
            string first = i < 0 ? path : path[..i];
            object? value;
            if (first.Length == 0 || first.All(char.IsAsciiDigit))
            {
                if (first.Length > 8) throw Fail.Value("Too many decimal digits in format string");
                int index = first.Length == 0 ? automatic++ : int.Parse(first, CultureInfo.InvariantCulture);
                value = index < arguments.Positional.Count ? arguments.Positional[index] : throw new ChatTemplateException($"IndexError: Replacement index {index} out of range for positional args tuple");
            }
            else
            {
                int at = arguments.Named.FindIndex(p => p.Key == first);
                value = at >= 0 ? arguments.Named[at].Value : throw new ChatTemplateException($"KeyError: '{first}'");
            }
            while (i >= 0 && i < path.Length)
            {
                bool item = path[i] == '[';
                int end = item ? path.IndexOf(']', i) : path.AsSpan(i + 1).IndexOfAny('.', '[') is var n and >= 0 ? i + 1 + n : path.Length;
                if (end < 0) throw Fail.Value("Missing ']' in format string");
                string name = path[(i + 1)..end];
                value = !item ? Lookup.Attribute(value, Str.Trusted(name)) : Lookup.Item(value, name.All(char.IsAsciiDigit) && name.Length is > 0 and < 9 ? (object)long.Parse(name, CultureInfo.InvariantCulture) : Str.Trusted(name));
                if (value is Undefined undefined) throw undefined.Error();
                i = item ? end + 1 : end;
            }
            return value;
        }
    }

    /// <summary>format(value, spec): [[fill]align][sign][#][0][width][,|_][.precision][type]</summary>
    public static Str Apply(object? value, string spec, Meter meter)
    {
        if (spec.Length == 0) return Printer.ToStr(value, meter);
        if (value is not (Str or long or bool or BigInteger or double)) throw Fail.Type($"unsupported format string passed to {Kind.Name(value)}.__format__");
        int i = 0;
        Rune.TryGetRuneAt(spec, 0, out Rune fillRune);
        int fillLength = Math.Max(1, fillRune.Utf16SequenceLength);
        string fill = " ";
        char align = '\0';
        if (fillLength < spec.Length && spec[fillLength] is '<' or '>' or '^' or '=') (fill, align, i) = (spec[..fillLength], spec[fillLength], fillLength + 1);
        else if (spec[0] is '<' or '>' or '^' or '=') align = spec[i++];
        char sign = i < spec.Length && spec[i] is '+' or '-' or ' ' ? spec[i++] : '-';
        bool alternate = i < spec.Length && spec[i] == '#' && i++ >= 0;
        if (i < spec.Length && spec[i] == '0')
        {
            i++;
            if (align == '\0') (fill, align) = ("0", value is Str ? '<' : '=');
        }
        int width = Count() ?? 0;
        char group = i < spec.Length && spec[i] is ',' or '_' ? spec[i++] : '\0';
        int? precision = null;
        if (i < spec.Length && spec[i] == '.')
        {
            i++;
            precision = Count() ?? throw Fail.Value("Format specifier missing precision");
        }
        char kind = i < spec.Length ? spec[i++] : '\0';
        if (i < spec.Length) throw Fail.Value("Invalid format specifier");
        meter.Write((long)width + (precision ?? 0));
        if (value is Str text)
        {
            if (kind is not ('\0' or 's')) throw Fail.Value($"Unknown format code '{kind}' for object of type 'str'");
            if (align == '=') throw Fail.Value("'=' alignment not allowed in string format specifier");
            if (precision < text.Length) text = text.Slice(0, precision.Value);
            return Pad(Str.Empty, text, '<');
        }
        var (negative, digits) = Digits(value!, kind, precision, alternate);
        string prefix = (negative ? "-" : sign == '-' ? "" : sign.ToString()) + (alternate && kind is 'x' or 'X' or 'o' or 'b' ? $"0{kind}" : "");
        if (group != '\0')
        {
            int whole = digits.AsSpan().IndexOfAnyExcept("0123456789abcdefABCDEF") is var n and >= 0 ? n : digits.Length, size = kind is 'x' or 'X' or 'o' or 'b' ? 4 : 3;
            if (align == '=' && fill == "0") 
            {
                while (prefix.Length + digits.Length + (whole - 1) / size < width) (digits, whole) = ("0" + digits, whole + 1);
            }
            for (int at = whole - size; at > 0; at -= size) digits = digits.Insert(at, group.ToString());
        }
        return Pad(Str.FromCaller(prefix), Str.FromCaller(digits), '>');

        int? Count()
        {
            int start = i;
            while (i < spec.Length && char.IsAsciiDigit(spec[i])) i++;
            if (start == i) return null;
            return int.TryParse(spec.AsSpan(start, i - start), NumberStyles.None, CultureInfo.InvariantCulture, out int n) ? n : throw Fail.Value("Too many decimal digits in format string");
        }

        Str Pad(Str prefix, Str body, char usual)
        {
            int pad = width - prefix.Length - body.Length;
            var output = new StrBuilder(meter);
            if (pad <= 0) return output.Append(prefix).Append(body).ToStr();
            Str filler = Str.FromCaller(fill);
            return (align == '\0' ? usual : align) switch
            {
                '<' => output.Append(prefix).Append(body).Repeat(filler, pad).ToStr(),
                '^' => output.Repeat(filler, pad / 2).Append(prefix).Append(body).Repeat(filler, pad - pad / 2).ToStr(),
                '=' => output.Append(prefix).Repeat(filler, pad).Append(body).ToStr(),
                _ => output.Repeat(filler, pad).Append(prefix).Append(body).ToStr(),
            };
        }
    }

    private static (bool Negative, string Digits) Digits(object value, char kind, int? precision, bool alternate)
    {
        if (value is not double && kind is '\0' or 'd' or 'n' or 'x' or 'X' or 'o' or 'b' or 'c')
        {
            if (value is double) throw Fail.Value($"Unknown format code '{kind}' for object of type 'float'");
            if (precision is not null) throw Fail.Value("Precision not allowed in integer format specifier");
            BigInteger big = Numbers.Big(value);
            if (kind == 'c') return (false, Rune.IsValid(Numbers.Int(value)) ? char.ConvertFromUtf32(Numbers.Int(value)) : throw Fail.Overflow("%c arg not in range(0x110000)"));
            string digits = kind is '\0' or 'd' or 'n' ? Numbers.IntegerText(Numbers.Shrink(BigInteger.Abs(big))) : Radix(BigInteger.Abs(big), kind);
            return (big.Sign < 0, digits);
        }
        double d = Numbers.Real(value);
        bool negative = double.IsNegative(d) && !double.IsNaN(d);
        int limit = Math.Min(precision ?? 6, 5000);
        switch (kind)
        {
            case 'e' or 'E' or 'f' or 'F' or 'g' or 'G': return (negative, Numbers.Fixed(d, kind, limit, alternate));
            case 'n': return (negative, Numbers.Fixed(d, 'g', limit, alternate));
            case '%': return (negative, Numbers.Fixed(d * 100, 'f', limit, alternate) + "%");
            case '\0':
                if (precision is null) return (negative, Numbers.RealText(Math.Abs(d)));
                string general = Numbers.Fixed(d, 'g', limit, alternate);
                if (general.Contains('e', StringComparison.Ordinal) || general.Contains('.', StringComparison.Ordinal) || !double.IsFinite(d)) return (negative, general);
                return general.Length >= Math.Max(limit, 1) ? (negative, Numbers.Fixed(d, 'e', limit - 1, alternate)) : (negative, general + ".0");
            default: throw Fail.Value($"Unknown format code '{kind}' for object of type '{Kind.Name(value)}'");
        }
    }

    public static string Radix(BigInteger value, char kind)
    {
        if (value.IsZero) return "0";
        int bits = kind switch { 'o' => 3, 'b' => 1, _ => 4 };
        var digits = new StringBuilder();
        for (; !value.IsZero; value >>= bits) digits.Insert(0, "0123456789abcdef"[(int)(value & ((1 << bits) - 1))]);
        return kind == 'X' ? digits.ToString().ToUpperInvariant() : digits.ToString();
    }
}
