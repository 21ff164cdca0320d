using System.Globalization;
using System.Numerics;

namespace DeepSeek.Text.Jinja;

/// <summary>Python's numbers: integers without bound, doubles, and bool among the integers.</summary>
internal static class Numbers
{
    private const int MaxDigits = 4300;

    public static bool IsNumber(object? value) => value is long or double or bool or BigInteger;

    public static bool IsInteger(object? value) => value is long or bool or BigInteger;

    public static BigInteger Big(object? value) => value switch { bool b => b ? 1 : 0, long l => l, BigInteger big => big, _ => throw Fail.Type($"'{Kind.Name(value)}' object cannot be interpreted as an integer") };

    public static double Real(object? value) => value switch
    {
        double d => d,
        bool b => b ? 1 : 0,
        long l => l,
        BigInteger big => Nearest(big) is var d && double.IsFinite(d) ? d : throw Fail.Overflow("int too large to convert to float"),
        Undefined undefined => throw undefined.Error(),
        _ => throw Fail.Type($"must be real number, not {Kind.Name(value)}"),
    };

    /// <summary>An index or count.</summary>
    public static int Int(object? value) => value switch
    {
        bool b => b ? 1 : 0,
        long l and >= int.MinValue and <= int.MaxValue => (int)l,
        long l => l < 0 ? int.MinValue : int.MaxValue,
        BigInteger big => big.Sign < 0 ? int.MinValue : int.MaxValue,
        Undefined undefined => throw undefined.Error(),
        _ => throw Fail.Type($"'{Kind.Name(value)}' object cannot be interpreted as an integer"),
    };

    public static object Shrink(BigInteger value) => value >= long.MinValue && value <= long.MaxValue ? (object)(long)value : value;

    public static object Ratio(object left, object right)
    {
        if (left is double || right is double) return Real(left) / Real(right);
        BigInteger a = Big(left), b = Big(right);
        int shift = (int)Math.Max(0, b.GetBitLength() - a.GetBitLength() + 128);
        BigInteger quotient = BigInteger.DivRem(BigInteger.Abs(a) << shift, BigInteger.Abs(b), out BigInteger remainder);
        // A last bit for whatever was cut off, so that one rounding, the right one, remains.
        double ratio = Math.ScaleB(Nearest(quotient << 1 | (remainder.IsZero ? 0 : 1)), -shift - 1);
        if (!double.IsFinite(ratio)) throw Fail.Overflow("integer division result too large for a float");
        return a.Sign * b.Sign < 0 ? -ratio : ratio;
    }

    /// <summary>The nearest double, ties to even; the cast of a BigInteger cuts off.</summary>
    private static double Nearest(BigInteger value)
    {
        int shift = (int)(BigInteger.Abs(value).GetBitLength() - 62);
        if (shift <= 0) return (long)value;
        BigInteger kept = value >> shift;
        return Math.ScaleB((long)(kept | (kept << shift == value ? 0 : 1)), shift);
    }

    public static int? Compare(object left, object right)
    {
        if (left is long a && right is long b) return a.CompareTo(b);
        if (left is not double && right is not double) return Big(left).CompareTo(Big(right));
        if (left is double x && right is double y) return double.IsNaN(x) || double.IsNaN(y) ? null : x.CompareTo(y);
        if (right is double) return -Compare(right, left);
        double d = (double)left;
        if (double.IsNaN(d)) return null;
        if (double.IsInfinity(d)) return d > 0 ? 1 : -1;
        int whole = new BigInteger(Math.Floor(d)).CompareTo(Big(right));
        return whole != 0 || Math.Floor(d) == d ? whole : 1;
    }

    public static object ParseInteger(string digits)
    {
        if (digits.Length > MaxDigits) throw Fail.Value($"an integer has more than {MaxDigits} digits");
        return Shrink(BigInteger.Parse(digits, CultureInfo.InvariantCulture));
    }

    /// <summary>What int(text, base) accepts; null otherwise.</summary>
    public static object? TryInteger(string text, int radix)
    {
        ReadOnlySpan<char> s = text.AsSpan().Trim(StringMethods.Whitespace);
        bool negative = s.StartsWith("-");
        if (negative || s.StartsWith("+")) s = s[1..];
        if (s.Length > 1 && s[0] == '0' && char.ToLowerInvariant(s[1]) is 'x' or 'o' or 'b')
        {
            int named = char.ToLowerInvariant(s[1]) switch { 'x' => 16, 'o' => 8, _ => 2 };
            if (radix == 0 || radix == named)
            {
                s = s[2..].TrimStart('_');
                radix = named;
            }
        }
        if (radix == 0) radix = 10;
        if (s.Length is 0 or > MaxDigits || radix is < 2 or > 36 || s[0] == '_' || s[^1] == '_' || s.IndexOf("__") >= 0) return null;
        BigInteger value = 0;
        foreach (char c in s)
        {
            if (c == '_') continue;
            int digit = char.IsAsciiLetter(c) ? (c | 0x20) - 'a' + 10 : CharUnicodeInfo.GetDecimalDigitValue(c);
            if (digit < 0 || digit >= radix) return null;
            value = value * radix + digit;
        }
        return Shrink(negative ? -value : value);
    }

    /// <summary>What float(text) accepts; null otherwise.</summary>
    public static double? TryReal(string text)
    {
        string s = text.AsSpan().Trim(StringMethods.Whitespace).ToString();
        switch (s.TrimStart('+', '-').ToLowerInvariant())
        {
            case "inf" or "infinity": return s[0] == '-' ? double.NegativeInfinity : double.PositiveInfinity;
            case "nan": return double.NaN;
        }
        if (s.Length == 0 || s.AsSpan().IndexOfAnyExcept("0123456789+-.eE_") >= 0) return null;
        for (int i = 0; i < s.Length; i++)
            if (s[i] == '_' && (i == 0 || i == s.Length - 1 || !char.IsAsciiDigit(s[i - 1]) || !char.IsAsciiDigit(s[i + 1]))) return null;
        return double.TryParse(s.Replace("_", "", StringComparison.Ordinal), NumberStyles.Float, CultureInfo.InvariantCulture, out double value) ? value : null;
    }

    public static string IntegerText(object value)
    {
        if (value is long l) return l.ToString(CultureInfo.InvariantCulture);
        BigInteger big = Big(value);
        return big.GetBitLength() > MaxDigits * 3.33 ? throw Fail.Value($"an integer has more than {MaxDigits} digits") : big.ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>repr of a float: the shortest digits that read back the same; an exponent below 1e-4 and from 1e16.</summary>
    public static string RealText(double value)
    {
        if (double.IsNaN(value)) return "nan";
        if (double.IsInfinity(value)) return value > 0 ? "inf" : "-inf";
        string shortest = value.ToString("R", CultureInfo.InvariantCulture);
        var (negative, digits, exponent) = Split(shortest);
        string sign = negative ? "-" : "";
        if (digits == "0") return sign + "0.0";
        if (exponent is < -4 or >= 16)
            return $"{sign}{digits[0]}{(digits.Length > 1 ? "." + digits[1..] : "")}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}";
        if (exponent < 0) return $"{sign}0.{new string('0', -exponent - 1)}{digits}";
        return digits.Length <= exponent + 1 ? $"{sign}{digits.PadRight(exponent + 1, '0')}.0" : $"{sign}{digits[..(exponent + 1)]}.{digits[(exponent + 1)..]}";
    }

    /// <summary>Significant digits and the decimal exponent of the first one, from any spelling of a finite number.</summary>
    private static (bool Negative, string Digits, int Exponent) Split(string number)
    {
        bool negative = number[0] == '-';
        if (negative) number = number[1..];
        int e = number.IndexOf('E', StringComparison.Ordinal), exponent = 0;
        if (e >= 0) (exponent, number) = (int.Parse(number.AsSpan(e + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture), number[..e]);
        int dot = number.IndexOf('.', StringComparison.Ordinal);
        exponent += (dot < 0 ? number.Length : dot) - 1;
        string digits = number.Replace(".", "", StringComparison.Ordinal);
        string trimmed = digits.TrimStart('0');
        exponent -= digits.Length - trimmed.Length;
        trimmed = trimmed.TrimEnd('0');
        return trimmed.Length == 0 ? (negative, "0", 0) : (negative, trimmed, exponent);
    }

    /// <summary>|value| · 10^decimals, rounded half to even from the exact value.</summary>
    public static BigInteger Scaled(double value, int decimals)
    {
        long bits = BitConverter.DoubleToInt64Bits(Math.Abs(value));
        int exponent = (int)(bits >> 52);
        BigInteger numerator = exponent == 0 ? bits & 0xFFFFFFFFFFFFF : bits & 0xFFFFFFFFFFFFF | 1L << 52, denominator = 1;
        int shift = Math.Max(exponent, 1) - 1075;
        if (shift > 0) numerator <<= shift;
        else denominator <<= -shift;
        if (decimals > 0) numerator *= BigInteger.Pow(10, decimals);
        else denominator *= BigInteger.Pow(10, -decimals);
        BigInteger quotient = BigInteger.DivRem(numerator, denominator, out BigInteger remainder);
        int half = (remainder * 2).CompareTo(denominator);
        return half > 0 || half == 0 && !quotient.IsEven ? quotient + 1 : quotient;
    }

    /// <summary>round(value, decimals).</summary>
    public static double Round(double value, int decimals)
    {
        if (!double.IsFinite(value) || decimals > 400) return value;
        if (decimals < -400) return Math.CopySign(0, value);
        return Math.CopySign(double.Parse(Scaled(value, decimals).ToString(CultureInfo.InvariantCulture) + "E" + (-decimals).ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture), value);
    }

    /// <summary>Digits of f, e and g formats without a sign. <paramref name="alternate"/> keeps trailing zeros of g and the point.</summary>
    public static string Fixed(double value, char kind, int precision, bool alternate)
    {
        bool upper = char.IsAsciiLetterUpper(kind);
        if (!double.IsFinite(value))
        {
            string name = double.IsNaN(value) ? "nan" : "inf";
            return upper ? name.ToUpperInvariant() : name;
        }
        value = Math.Abs(value);
        string text;
        switch (char.ToLowerInvariant(kind))
        {
            case 'f':
                text = Scaled(value, precision).ToString(CultureInfo.InvariantCulture).PadLeft(precision + 1, '0');
                text = precision == 0 ? text + (alternate ? "." : "") : text.Insert(text.Length - precision, ".");
                break;
            case 'e':
                var (digits, exponent) = Scientific(value, precision);
                text = Exponential(digits, exponent, alternate);
                break;
            default:
                int significant = Math.Max(precision, 1);
                (digits, exponent) = Scientific(value, significant - 1);
                if (!alternate) digits = digits.TrimEnd('0').PadRight(1, '0');
                if (exponent < -4 || exponent >= significant) text = Exponential(digits, exponent, alternate);
                else if (exponent < 0) text = "0." + new string('0', -exponent - 1) + digits;
                else if (digits.Length <= exponent + 1) text = digits.PadRight(exponent + 1, '0') + (alternate ? "." : "");
                else text = digits.Insert(exponent + 1, ".");
                break;
        }
        return upper ? text.ToUpperInvariant() : text;
    }

    private static string Exponential(string digits, int exponent, bool alternate) =>
        $"{digits[0]}{(digits.Length > 1 || alternate ? "." : "")}{digits[1..]}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}";

    private static (string Digits, int Exponent) Scientific(double value, int decimals)
    {
        if (value == 0) return (new string('0', decimals + 1), 0);
        int exponent = (int)Math.Floor(Math.Log10(value));
        for (exponent--; ; exponent++)
        {
            string digits = Scaled(value, decimals - exponent).ToString(CultureInfo.InvariantCulture);
            if (digits.Length <= decimals + 1) return (digits.PadRight(decimals + 1, '0'), exponent);
        }
    }
}
