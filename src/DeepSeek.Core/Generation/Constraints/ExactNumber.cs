using System.Globalization;
using System.Numerics;

namespace DeepSeek.Generation.Constraints;

/// <summary>A decimal number without rounding: <c>Mantissa · 10^−Scale</c>, Scale ≥ 0, no trailing zeros after the point.</summary>
internal readonly record struct ExactNumber(BigInteger Mantissa, int Scale) : IComparable<ExactNumber>
{
    /// <summary>Digits, and powers of ten, that a number in a schema may have.</summary>
    public const int Limit = 400;

    public static ExactNumber Zero { get; } = new(0, 0);

    public int Sign => Mantissa.Sign;

    public bool IsInteger => Scale == 0;

    /// <summary>The digits before the point, without sign.</summary>
    public string WholeDigits => (BigInteger.Abs(Mantissa) / BigInteger.Pow(10, Scale)).ToString(CultureInfo.InvariantCulture);

    /// <summary>The digits behind the point, without trailing zeros.</summary>
    public string FractionDigits => Scale == 0 ? "" : (BigInteger.Abs(Mantissa) % BigInteger.Pow(10, Scale)).ToString(CultureInfo.InvariantCulture).PadLeft(Scale, '0');

    public static ExactNumber operator -(ExactNumber x) => new(-x.Mantissa, x.Scale);

    /// <summary>Reads a JSON number; null where it is beyond <see cref="Limit"/>.</summary>
    public static ExactNumber? Parse(string json)
    {
        int e = json.AsSpan().IndexOfAny('e', 'E');
        int exponent = 0;
        if (e >= 0 && (!int.TryParse(json.AsSpan(e + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out exponent) || Math.Abs((long)exponent) > Limit)) return null;
        string digits = e >= 0 ? json[..e] : json;
        if (digits.Length > Limit) return null;
        int point = digits.IndexOf('.', StringComparison.Ordinal);
        int scale = (point >= 0 ? digits.Length - point - 1 : 0) - exponent;
        if (!BigInteger.TryParse(digits.Replace(".", "", StringComparison.Ordinal), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out BigInteger mantissa)) return null;
        if (scale < 0) return new(mantissa * BigInteger.Pow(10, -scale), 0);
        for (; scale > 0; scale--)
        {
            BigInteger shorter = BigInteger.DivRem(mantissa, 10, out BigInteger rest);
            if (!rest.IsZero) break;
            mantissa = shorter;
        }
        return new(mantissa, scale);
    }

    public int CompareTo(ExactNumber other) => At(Math.Max(Scale, other.Scale)).CompareTo(other.At(Math.Max(Scale, other.Scale)));

    public bool IsMultipleOf(ExactNumber unit)
    {
        int scale = Math.Max(Scale, unit.Scale);
        return (At(scale) % unit.At(scale)).IsZero;
    }

    /// <summary>The number in units of 10^−scale.</summary>
    public BigInteger At(int scale) => Mantissa * BigInteger.Pow(10, scale - Scale);

    public override string ToString() => (Mantissa.Sign < 0 ? "-" : "") + WholeDigits + (Scale == 0 ? "" : "." + FractionDigits);
}
