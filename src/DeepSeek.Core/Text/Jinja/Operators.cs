using System.Numerics;

namespace DeepSeek.Text.Jinja;

/// <summary>Python's arithmetic, truth and iteration.</summary>
internal static class Operators
{
    private const int MaxIntegerBits = 1 << 17;

    public static bool Truth(object? value) => value switch
    {
        null => false,
        bool b => b,
        long l => l != 0,
        BigInteger => true,
        double d => d != 0,
        Str s => s.Value.Length > 0,
        List<object?> list => list.Count > 0,
        object?[] tuple => tuple.Length > 0,
        Dict dict => dict.Count > 0,
        DictView view => view.Dict.Count > 0,
        Range range => range.Count > 0,
        Undefined => false,
        _ => true,
    };

    public static IEnumerable<object?> Iterate(object? value, Meter meter)
    {
        IEnumerable<object?> items = value switch
        {
            List<object?> list => list,
            object?[] tuple => tuple,
            Dict dict => dict.Keys,
            DictView view => view.Items(),
            Str s => s.Characters(),
            Range range => range.Items(),
            Lazy lazy => lazy.Rest(),
            Group group => [group.Grouper, group.Items],
            Undefined => [],
            _ => throw Fail.Type($"'{Kind.Name(value)}' object is not iterable"),
        };
        return items is List<object?> or object?[] ? items : Counted(items, meter);
    }

    private static IEnumerable<object?> Counted(IEnumerable<object?> items, Meter meter)
    {
        foreach (object? item in items)
        {
            meter.Step();
            yield return item;
        }
    }

    /// <summary>All items as a list of their own.</summary>
    public static List<object?> ToList(object? value, Meter meter)
    {
        List<object?> list = [.. Iterate(value, meter)];
        meter.Step(list.Count);
        return list;
    }

    public static object? Unary(string op, object? value) => (op, value) switch
    {
        (_, Undefined undefined) => throw undefined.Error(),
        ("-", bool or long or BigInteger) => Numbers.Shrink(-Numbers.Big(value)),
        ("+", bool or long or BigInteger) => Numbers.Shrink(Numbers.Big(value)),
        ("-", double d) => -d,
        ("+", double d) => d,
        _ => throw Fail.Type($"bad operand type for unary {op}: '{Kind.Name(value)}'"),
    };

    public static object? Binary(string op, object? left, object? right, Meter meter)
    {
        if (op is "+" or "-" or "*" && left is long x && right is long y)
        {
            long result;
            bool overflow = op switch
            {
                "+" => ((x ^ (result = unchecked(x + y))) & (y ^ result)) < 0,
                "-" => ((x ^ y) & (x ^ (result = unchecked(x - y)))) < 0,
                _ => Math.BigMul(x, y, out result) != result >> 63,
            };
            if (!overflow) return result;
        }
        if (left is Str text && op == "%") return PercentFormat.Format(text, right, meter);
        if (left is Undefined u) throw u.Error();
        if (right is Undefined v) throw v.Error();
        if (Numbers.IsNumber(left) && Numbers.IsNumber(right)) return Arithmetic(op, left!, right!);
        if (op == "+")
        {
            switch (left, right)
            {
                case (Str s, Str t): return Join(s, t, meter);
                case (List<object?> s, List<object?> t): meter.Step(s.Count + t.Count); return s.Concat(t).ToList();
                case (object?[] s, object?[] t): meter.Step(s.Length + t.Length); return s.Concat(t).ToArray();
                case (Str, _): throw Fail.Type($"can only concatenate str (not \"{Kind.Name(right)}\") to str");
                case (List<object?>, _): throw Fail.Type($"can only concatenate list (not \"{Kind.Name(right)}\") to list");
            }
        }
        if (op == "*" && Repeat(left, right, meter) is { } repeated) return repeated;
        if (op == "|" && left is Dict first && right is Dict second)
        {
            Dict merged = first.Copy();
            foreach (var (key, value) in second.Items) merged[key] = value;
            return merged;
        }
        throw Fail.Type($"unsupported operand type(s) for {(op == "**" ? "** or pow()" : op)}: '{Kind.Name(left)}' and '{Kind.Name(right)}'");
    }

    private static Str Join(Str left, Str right, Meter meter)
    {
        bool markup = left.IsMarkup || right.IsMarkup;
        if (markup && !left.IsMarkup) left = Html.Escape(left, meter);
        if (markup && !right.IsMarkup) right = Html.Escape(right, meter);
        Str joined = new StrBuilder(meter).Append(left).Append(right).ToStr();
        return markup ? joined.AsMarkup() : joined;
    }

    private static object? Repeat(object? left, object? right, Meter meter)
    {
        if (left is bool or long or BigInteger) (left, right) = (right, left);
        if (left is not (Str or List<object?> or object?[]) || right is not (bool or long or BigInteger)) return null;
        long count = Math.Max(0, right switch { bool b => b ? 1 : 0, long l => l, _ => Numbers.Big(right).Sign < 0 ? 0 : long.MaxValue / 4 });
        if (left is Str s)
        {
            Str repeated = new StrBuilder(meter).Repeat(s, count).ToStr();
            return s.IsMarkup ? repeated.AsMarkup() : repeated;
        }
        IList<object?> items = (IList<object?>)left;
        List<object?> result = [];
        if (items.Count > 0)
        {
            meter.Step(checked(items.Count * Math.Min(count, Meter.MaxSteps + 1)));
            for (long i = 0; i < count; i++) result.AddRange(items);
        }
        return left is List<object?> ? result : result.ToArray();
    }

    private static object Arithmetic(string op, object left, object right)
    {
        if (op == "/")
        {
            if (!Truth(right)) throw Fail.DivisionByZero();
            return left is BigInteger || right is BigInteger ? Numbers.Ratio(left, right) : Numbers.Real(left) / Numbers.Real(right);
        }
        if (left is double || right is double)
        {
            double x = Numbers.Real(left), y = Numbers.Real(right);
            if (op is "//" or "%" && y == 0) throw Fail.DivisionByZero();
            return op switch
            {
                "+" => x + y,
                "-" => x - y,
                "*" => x * y,
                "//" => FloorDivide(x, y),
                "%" => Modulo(x, y),
                "**" => Power(x, y),
                _ => throw Fail.Type($"unsupported operand type(s) for {op}"),
            };
        }
        BigInteger a = Numbers.Big(left), b = Numbers.Big(right);
        if (op is "//" or "%" && b.IsZero) throw Fail.DivisionByZero();
        if (op == "*" && a.GetBitLength() + b.GetBitLength() > MaxIntegerBits) throw Fail.Overflow("an integer grows too large");
        switch (op)
        {
            case "+": return Numbers.Shrink(a + b);
            case "-": return Numbers.Shrink(a - b);
            case "*": return Numbers.Shrink(a * b);
            case "//" or "%":
                BigInteger quotient = BigInteger.DivRem(a, b, out BigInteger remainder);
                if (!remainder.IsZero && remainder.Sign != b.Sign) (quotient, remainder) = (quotient - 1, remainder + b);
                return Numbers.Shrink(op == "%" ? remainder : quotient);
            case "**":
                if (b.Sign < 0) return a.IsZero ? throw Fail.DivisionByZero() : Math.Pow((double)a, (double)b);
                if (b * a.GetBitLength() > MaxIntegerBits && !a.IsZero && !a.IsOne && a != -1) throw Fail.Overflow("an integer grows too large");
                return Numbers.Shrink(BigInteger.Abs(a) <= 1 ? (a.Sign < 0 && b.IsEven ? 1 : b.IsZero ? 1 : a) : BigInteger.Pow(a, (int)b));
            default: throw Fail.Type($"unsupported operand type(s) for {op}");
        }
    }

    private static double Modulo(double x, double y)
    {
        double m = x % y;
        if (m != 0 && (m < 0) != (y < 0)) m += y;
        else if (m == 0) m = Math.CopySign(0, y);
        return m;
    }

    private static double FloorDivide(double x, double y)
    {
        double m = x % y;
        double quotient = (x - m) / y;
        if (m != 0 && (m < 0) != (y < 0)) quotient -= 1;
        if (quotient == 0) return Math.CopySign(0, x / y);
        double floor = Math.Floor(quotient);
        return quotient - floor > 0.5 ? floor + 1 : floor;
    }

    private static double Power(double x, double y)
    {
        if (x == 0 && y < 0) throw Fail.DivisionByZero();
        if (x < 0 && Math.Floor(y) != y) throw Fail.Type("complex numbers are not supported");
        double power = Math.Pow(x, y);
        return double.IsInfinity(power) && double.IsFinite(x) && double.IsFinite(y) ? throw Fail.Overflow("Numerical result out of range") : power;
    }
}
