using System.Numerics;

namespace DeepSeek.Generation.Constraints;

/// <summary>The numerals whose value a schema allows: comparison with a bound digit by digit, divisibility by remainders.</summary>
internal sealed class NumberLanguage
{
    /// <summary>Remainders that multipleOf may need.</summary>
    public const int RemainderLimit = 5_000;

    private readonly TermFactory factory;
    private readonly JsonText json;
    private readonly Term digit, point, zero, fraction, anyFraction, minus;

    public NumberLanguage(TermFactory factory, JsonText json)
    {
        this.factory = factory;
        this.json = json;
        digit = factory.Range('0', '9');
        point = factory.Literal(".");
        zero = factory.Literal("0");
        minus = factory.Literal("-");
        fraction = factory.Concat(point, factory.Repeat(digit, 1, Term.Unbounded));
        anyFraction = factory.Optional(fraction);
    }

    /// <exception cref="AutomatonTooLargeException">The digits take too many states.</exception>
    /// <exception cref="PatternException">multipleOf needs too many remainders.</exception>
    public Term Compile(NumberConstraint c)
    {
        if (c.Impossible) return factory.Empty;
        if (c.Allowed is not null)
            return factory.Alternatives([.. c.Allowed.Where(p => c.Contains(p.Key)).Select(p => factory.Literal(p.Value))]);
        if (c.Low is null && c.High is null && c.Multiples.Count == 0 && c.Excluded.Count == 0 && c.Whole != false)
            return c.Whole == true ? json.Integer : json.Number;

        // Values with one bound may have two digits more than the bound, and never fewer than the unbounded ones.
        int digits = Math.Max(JsonText.IntegerDigits, Math.Max(c.Low?.WholeDigits.Length ?? 0, c.High?.WholeDigits.Length ?? 0) + 2);
        // Counting digits and remainders together would take too many states.
        if (c.Multiples.Aggregate(BigInteger.One, (n, m) => n * m.Unit.At(m.Unit.Scale) * (m.Unit.Scale + 1)) * digits > Automaton.StateLimit / 2) digits = Term.Unbounded;
        Automaton? result = Automaton.FromTerm(factory, Numerals(digits, whole: c.Whole == true));
        if (c.Low is { } low) result = Automaton.Intersect(result, Automaton.FromTerm(factory, AtLeast(low, c.LowExclusive)));
        if (c.High is { } high) result = Automaton.Intersect(result, Automaton.FromTerm(factory, AtMost(high, c.HighExclusive)));
        foreach ((ExactNumber unit, bool negative) in c.Multiples)
        {
            Automaton? multiples = MultiplesOf(unit);
            result = negative ? Automaton.Except(result, multiples) : Automaton.Intersect(result, multiples);
        }
        if (c.Whole == false) result = Automaton.Except(result, Automaton.FromTerm(factory, factory.Concat(Numerals(digits, whole: true), factory.Optional(Zeros()))));
        if (c.Excluded.Count > 0) result = Automaton.Except(result, Automaton.FromTerm(factory, factory.Alternatives([.. c.Excluded.Select(Spellings)])));
        return factory.FromAutomaton(result);
    }

    /// <summary>Whether there are at most so many whole numbers, and which.</summary>
    public static IReadOnlyList<string>? Few(NumberConstraint c, int limit)
    {
        if (c.Allowed is not null) return [.. c.Allowed.Where(p => c.Contains(p.Key)).Select(p => p.Value)];
        if (c.Whole != true || c.Low is not { } low || c.High is not { } high) return null;
        BigInteger from = BigInteger.Divide(low.Mantissa, BigInteger.Pow(10, low.Scale)) - 1, to = BigInteger.Divide(high.Mantissa, BigInteger.Pow(10, high.Scale)) + 1;
        if (to - from > limit * 4 + 4) return null;
        var values = new List<string>();
        for (BigInteger i = from; i <= to; i++)
            if (c.Contains(new(i, 0))) values.Add(new ExactNumber(i, 0).ToString());
        return values.Count <= limit ? values : null;
    }

    /// <summary>Numerals without exponent; zero has no sign, so that every bound decides about it once.</summary>
    private Term Numerals(int digits, bool whole)
    {
        Term positiveWhole = factory.Concat(factory.Range('1', '9'), factory.Repeat(digit, 0, digits == Term.Unbounded ? digits : digits - 1));
        if (whole) return factory.Alternatives(zero, factory.Concat(factory.Optional(minus), positiveWhole));
        Term behind = factory.Optional(factory.Concat(point, factory.Repeat(digit, 1, JsonText.FractionDigits)));
        Term some = factory.Sequence(point, factory.Repeat(zero, 0, JsonText.FractionDigits - 1), factory.Range('1', '9'), factory.Repeat(digit, 0, JsonText.FractionDigits - 1));
        Term positive = factory.Concat(positiveWhole, behind);
        return factory.Alternatives(positive, factory.Concat(zero, behind), factory.Concat(minus, factory.Alternatives(positive, factory.Concat(zero, some))));
    }

    private Term AtLeast(ExactNumber low, bool strict) => low.Sign switch
    {
        >= 0 => Above(low, strict),
        _ => factory.Alternatives(Above(ExactNumber.Zero, false), factory.Concat(minus, Below(-low, strict))),
    };

    private Term AtMost(ExactNumber high, bool strict) => high.Sign switch
    {
        > 0 => factory.Alternatives(Below(high, strict), factory.Concat(minus, Above(ExactNumber.Zero, true))),
        0 => factory.Alternatives(strict ? factory.Empty : Below(high, false), factory.Concat(minus, Above(ExactNumber.Zero, true))),
        _ => factory.Concat(minus, Above(-high, strict)),
    };

    /// <summary>Unsigned numerals over (or at) a bound that is not negative.</summary>
    private Term Above(ExactNumber bound, bool strict)
    {
        string whole = bound.WholeDigits, behind = bound.FractionDigits;
        Term some = factory.Sequence(factory.Star(zero), factory.Range('1', '9'), factory.Star(digit));
        Term equal;
        if (behind.Length == 0) equal = strict ? factory.Concat(point, some) : anyFraction;
        else
        {
            Term rest = strict ? some : factory.Star(digit);
            for (int i = behind.Length - 1; i >= 0; i--)
                rest = factory.Alternatives(factory.Concat(factory.Range(behind[i], behind[i]), rest), factory.Concat(factory.Range(behind[i] + 1, '9'), factory.Star(digit)));
            equal = factory.Concat(point, rest);
        }
        for (int i = whole.Length - 1; i >= 0; i--)
        {
            Term larger = factory.Sequence(factory.Range(whole[i] + 1, '9'), factory.Repeat(digit, whole.Length - 1 - i, whole.Length - 1 - i), anyFraction);
            equal = factory.Alternatives(factory.Concat(factory.Range(whole[i], whole[i]), equal), larger);
        }
        return factory.Alternatives(equal, factory.Sequence(factory.Range('1', '9'), factory.Repeat(digit, whole.Length, Term.Unbounded), anyFraction));
    }

    /// <summary>Unsigned numerals under (or at) a bound that is not negative.</summary>
    private Term Below(ExactNumber bound, bool strict)
    {
        string whole = bound.WholeDigits, behind = bound.FractionDigits;
        Term equal;
        if (behind.Length == 0) equal = strict ? factory.Empty : factory.Optional(Zeros());
        else
        {
            Term rest = strict ? factory.Empty : factory.Star(zero);
            for (int i = behind.Length - 1; i >= 0; i--)
            {
                if (i < behind.Length - 1) rest = factory.Optional(rest);
                rest = factory.Alternatives(factory.Concat(factory.Range(behind[i], behind[i]), rest), factory.Concat(factory.Range('0', behind[i] - 1), factory.Star(digit)));
            }
            equal = factory.Optional(factory.Concat(point, rest));
        }
        for (int i = whole.Length - 1; i >= 0; i--)
        {
            int least = i == 0 && whole.Length > 1 ? '1' : '0';
            Term smaller = factory.Sequence(factory.Range(least, whole[i] - 1), factory.Repeat(digit, whole.Length - 1 - i, whole.Length - 1 - i), anyFraction);
            equal = factory.Alternatives(factory.Concat(factory.Range(whole[i], whole[i]), equal), smaller);
        }
        if (whole.Length == 1) return equal;
        Term shorter = factory.Alternatives(zero, factory.Concat(factory.Range('1', '9'), factory.Repeat(digit, 0, whole.Length - 2)));
        return factory.Alternatives(equal, factory.Concat(shorter, anyFraction));
    }

    /// <summary>All spellings of one value without exponent.</summary>
    private Term Spellings(ExactNumber value) =>
        factory.Concat(factory.Literal(value.ToString()), value.IsInteger ? factory.Optional(Zeros()) : factory.Star(zero));

    private Term Zeros() => factory.Concat(point, factory.Repeat(zero, 1, Term.Unbounded));

    /// <summary>
    /// A numeral with up to k digits behind the point is n · 10^−k; it is a multiple of u when u · 10^k divides n. The automaton knows n's remainder and
    /// how many digits stand behind the point.
    /// </summary>
    private Automaton? MultiplesOf(ExactNumber unit)
    {
        BigInteger exact = BigInteger.Abs(unit.At(unit.Scale));
        if (exact > RemainderLimit) throw new PatternException($"multipleOf {unit} takes over {RemainderLimit} remainders");
        int modulus = (int)exact, scale = unit.Scale;
        if ((long)modulus * (scale + 2) > Automaton.StateLimit) throw new PatternException($"multipleOf {unit} takes too many states");
        var classes = new byte[256];
        for (int d = 0; d < 10; d++) classes['0' + d] = (byte)(d + 1);
        (classes['-'], classes['.']) = (11, 12);
        // Behind = −3 after the sign, −2 at the start, −1 before the point, else the digits behind it; scale + 1 where only zeros may follow.
        return Automaton.Build((Behind: -2, Remainder: 0), classes, 13, Step, Accepts);

        bool Accepts((int Behind, int Remainder) s)
        {
            if (s.Behind is < -1 or 0) return false;
            int missing = s.Behind == -1 ? scale : Math.Max(0, scale - s.Behind);
            return (s.Remainder * BigInteger.Pow(10, missing) % modulus).IsZero;
        }

        (bool, (int, int)) Step((int Behind, int Remainder) s, byte b)
        {
            switch (b)
            {
                case (byte)'-': return (s.Behind == -2, (-3, 0));
                case (byte)'.': return (s.Behind == -1, (0, s.Remainder));
                case < (byte)'0' or > (byte)'9': return (false, s);
                default:
                    int d = b - '0';
                    if (s.Behind < 0) return (true, (-1, (s.Remainder * 10 + d) % modulus));
                    if (s.Behind >= scale) return (d == 0, (scale + 1, s.Remainder));
                    return (true, (s.Behind + 1, (s.Remainder * 10 + d) % modulus));
            }
        }
    }
}
