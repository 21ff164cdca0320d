using System.Numerics;

namespace DeepSeek.Text.Jinja;

/// <summary>Python's equality, order, hashing and `in`.</summary>
internal static class Comparison
{
    public static bool Compare(string op, object? left, object? right, Meter meter) => op switch
    {
        "==" => AreEqual(left, right),
        "!=" => !AreEqual(left, right),
        "in" => Contains(right, left, meter),
        "not in" => !Contains(right, left, meter),
        _ => Ordered(op, left, right),
    };

    public static bool AreEqual(object? left, object? right)
    {
        Meter.CheckStack();
        switch (left, right)
        {
            case (null, null): return true;
            case (Str a, Str b): return a.Value == b.Value;
            case (long a, long b): return a == b;
            case (bool a, bool b): return a == b;
            case (Undefined, Undefined): return true;
            case (List<object?> a, List<object?> b): return a.Count == b.Count && a.Zip(b).All(p => AreEqual(p.First, p.Second));
            case (object?[] or Group, object?[] or Group):
                object?[] x = Tuple(left), y = Tuple(right);
                return x.Length == y.Length && x.Zip(y).All(p => AreEqual(p.First, p.Second));
            case (Dict a, Dict b): return a.Count == b.Count && a.Items.All(p => b.TryGet(p.Key, out object? other) && AreEqual(p.Value, other));
            case (Range a, Range b): return a.Count == b.Count && (a.Count == 0 || a.Start == b.Start && (a.Count == 1 || a.Step == b.Step));
            case (DictView { Of: not "values" } a, DictView { Of: not "values" } b): return a.Dict.Count == b.Dict.Count && a.Items().All(i => b.Items().Any(j => AreEqual(i, j)));
            default: return Numbers.IsNumber(left) && Numbers.IsNumber(right) ? Numbers.Compare(left!, right!) == 0 : ReferenceEquals(left, right);
        }
    }

    private static object?[] Tuple(object? value) => value is Group g ? [g.Grouper, g.Items] : (object?[])value!;

    public static int Hash(object? key)
    {
        switch (key)
        {
            case null: return 0;
            case Str s: return s.GetHashCode();
            case bool or long or BigInteger or double:
                double d = Numbers.Real(key);
                return d.GetHashCode();
            case object?[] or Group:
                Meter.CheckStack();
                var hash = new HashCode();
                foreach (object? item in Tuple(key)) hash.Add(Hash(item));
                return hash.ToHashCode();
            case List<object?> or Dict: throw Fail.Unhashable(key);
            default: return System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(key);
        }
    }

    private static bool Ordered(string op, object? left, object? right)
    {
        int? order = Order(left, right, op);
        return order is { } o && op switch { "<" => o < 0, "<=" => o <= 0, ">" => o > 0, _ => o >= 0 };
    }

    /// <summary>Negative, zero or positive; null where nothing is less than, equal to or more than (not a number).</summary>
    public static int? Order(object? left, object? right, string op = "<")
    {
        if (left is Undefined u) throw u.Error();
        if (right is Undefined v) throw v.Error();
        if (left is Str a && right is Str b) return CompareCodePoints(a.Value, b.Value);
        if (Numbers.IsNumber(left) && Numbers.IsNumber(right)) return Numbers.Compare(left!, right!);
        if (left is List<object?> && right is List<object?> || left is object?[] or Group && right is object?[] or Group)
        {
            Meter.CheckStack();
            IList<object?> x = left as List<object?> ?? (IList<object?>)Tuple(left), y = right as List<object?> ?? (IList<object?>)Tuple(right);
            for (int i = 0; i < Math.Min(x.Count, y.Count); i++)
                if (!AreEqual(x[i], y[i])) return Order(x[i], y[i], op);
            return x.Count.CompareTo(y.Count);
        }
        throw Fail.Type($"'{op}' not supported between instances of '{Kind.Name(left)}' and '{Kind.Name(right)}'");
    }

    /// <summary>By code points: UTF-16 order differs where surrogates meet U+E000 and above.</summary>
    public static int CompareCodePoints(string a, string b)
    {
        int at = a.AsSpan().CommonPrefixLength(b);
        if (at == a.Length || at == b.Length) return a.Length.CompareTo(b.Length);
        char x = a[at], y = b[at];
        return char.IsSurrogate(x) == char.IsSurrogate(y) ? x.CompareTo(y) : char.IsSurrogate(x) ? 1 : -1;
    }

    public static bool Contains(object? container, object? item, Meter meter)
    {
        switch (container)
        {
            case Str s: return item is Str part ? s.Value.Contains(part.Value, StringComparison.Ordinal) : throw Fail.Type($"'in <string>' requires string as left operand, not {Kind.Name(item)}");
            case Dict dict: return dict.Contains(item);
            case DictView { Of: "keys" } view: return view.Dict.Contains(item);
            case List<object?> or object?[] or Group or DictView or Range or Lazy or Undefined:
                foreach (object? candidate in Operators.Iterate(container, meter))
                {
                    meter.Step();
                    if (AreEqual(candidate, item)) return true;
                }
                return false;
            default: throw Fail.Type($"argument of type '{Kind.Name(container)}' is not iterable");
        }
    }

    /// <summary>A stable sort; keys are computed once.</summary>
    public static List<object?> Sort(List<object?> items, Func<object?, object?> keyOf, bool reverse, Meter meter)
    {
        (object? Key, object? Item)[] a = [.. items.Select(i => (keyOf(i), i))], b = new (object?, object?)[a.Length];
        for (int width = 1; width < a.Length; width *= 2)
        {
            for (int start = 0; start < a.Length; start += 2 * width)
            {
                int middle = Math.Min(start + width, a.Length), end = Math.Min(start + 2 * width, a.Length);
                for (int i = start, j = middle, k = start; k < end; k++)
                {
                    meter.Step();
                    bool second = i >= middle || j < end && (reverse ? Order(a[i].Key, a[j].Key) < 0 : Order(a[j].Key, a[i].Key) < 0);
                    b[k] = second ? a[j++] : a[i++];
                }
            }
            (a, b) = (b, a);
        }
        return [.. a.Select(p => p.Item)];
    }
}
