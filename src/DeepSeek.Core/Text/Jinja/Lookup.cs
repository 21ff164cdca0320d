using System.Numerics;

namespace DeepSeek.Text.Jinja;

/// <summary>x.name, x[key] and x[a:b:c], within what Jinja's immutable sandbox lets a template touch.</summary>
internal static class Lookup
{
    /// <summary>x.name: an attribute or method where the type has one, otherwise the item.</summary>
    public static object? Attribute(object? target, Str name)
    {
        if (target is Undefined undefined) throw undefined.Error();
        object? value = OwnAttribute(target, name.Value);
        if (value is not Missing) return value;
        if (target is Dict dict && dict.TryGet(name, out value)) return value;
        return Absent(target, name);
    }

    /// <summary>x[key]: an item, otherwise (for strings) the attribute.</summary>
    public static object? Item(object? target, object? key)
    {
        if (target is Undefined undefined) throw undefined.Error();
        if (target is Dict dict)
        {
            if (key is not (List<object?> or Dict) && dict.TryGet(key, out object? value)) return value;
        }
        else if (key is long or bool or BigInteger)
        {
            long index = key switch { long l => l, bool b => b ? 1 : 0, _ => long.MaxValue };
            long count = Count(target);
            if (index < 0) index += count;
            if (index >= 0 && index < count)
            {
                return target switch
                {
                    Str s => s.Slice((int)index, (int)index + 1),
                    List<object?> list => list[(int)index],
                    object?[] tuple => tuple[index],
                    Group group => index == 0 ? group.Grouper : group.Items,
                    Range range => range.At(index),
                    _ => Absent(target, key),
                };
            }
        }
        if (key is not Str name) return Absent(target, key);
        object? attribute = OwnAttribute(target, name.Value);
        return attribute is Missing ? Absent(target, key) : attribute;
    }

    /// <summary>A dotted path such as "function.name" or "0.id".</summary>
    public static object? Path(object? target, object? path)
    {
        if (path is not Str text) return path is null ? target : Item(target, path);
        foreach (string part in text.Value.Split('.'))
            target = Item(target, part.Length > 0 && part.All(char.IsAsciiDigit) ? Numbers.ParseInteger(part) : Str.Of(part, text.AllTrusted));
        return target;
    }

    private static long Count(object? target) => target switch
    {
        Str s => s.Length,
        List<object?> list => list.Count,
        object?[] tuple => tuple.Length,
        Group => 2,
        Range range => range.Count,
        _ => 0,
    };

    private static object? OwnAttribute(object? target, string name)
    {
        if (Methods.Has(target, name)) return Methods.Changes(target, name) ? Unsafe(target, name) : new BoundMethod(target!, name);
        object? value = (target, name) switch
        {
            (Namespace ns, _) => ns.Attributes.TryGet(Str.Trusted(name), out object? found) ? found : Missing.Value,
            (Callable callable, _) => callable.Attribute(name),
            (Group group, "grouper") => group.Grouper,
            (Group group, "list") => group.Items,
            (Range range, "start") => range.Start,
            (Range range, "stop") => range.Stop,
            (Range range, "step") => range.Step,
            (long or BigInteger or double, "real") => target,
            (bool b, "real" or "numerator") => b ? 1L : 0L,
            (long or BigInteger, "numerator") => target,
            (bool or long or BigInteger, "denominator") => 1L,
            (bool or long or BigInteger, "imag") => 0L,
            (double, "imag") => 0.0,
            _ => Missing.Value,
        };
        return value is Missing && name.StartsWith("__", StringComparison.Ordinal) && name.EndsWith("__", StringComparison.Ordinal) && target is not Dict ? Unsafe(target, name) : value;
    }

    private static Undefined Unsafe(object? target, string name) => new($"access to attribute '{name}' of '{Kind.Name(target)}' object is unsafe.", true);

    private static Undefined Absent(object? target, object? key)
    {
        string owner = target is null ? "'None'" : $"'{Kind.Name(target)} object'";
        return new(key is Str name ? $"{owner} has no attribute '{name.Value}'" : $"{owner} has no element {Printer.Brief(key)}");
    }

    public static object? Slice(object? target, object? start, object? stop, object? step, Meter meter)
    {
        if (target is Undefined undefined) throw undefined.Error();
        if (target is not (Str or List<object?> or object?[] or Range or Group)) throw Fail.Type($"'{Kind.Name(target)}' object is not subscriptable");
        long count = Count(target), by = Bound(step, 1);
        if (by == 0) throw Fail.Value("slice step cannot be zero");
        long from = Clamp(Bound(start, by > 0 ? 0 : long.MaxValue), count, by), to = stop is null ? (by > 0 ? count : -1) : Clamp(Bound(stop, 0), count, by);
        if (target is Range range)
            return new Range(range.Start + from * range.Step, range.Start + to * range.Step, range.Step * by);
        if (target is Str s && by == 1) return s.Slice((int)from, (int)Math.Max(from, to));
        List<object?> picked = [];
        for (long i = from; by > 0 ? i < to : i > to; i += by)
        {
            meter.Step();
            picked.Add(Item(target, i));
        }
        if (target is List<object?>) return picked;
        if (target is not Str) return picked.ToArray();
        var text = new StrBuilder(meter);
        foreach (object? c in picked) text.Append((Str)c!);
        return text.ToStr();
    }

    private static long Bound(object? value, long fallback) => value switch
    {
        null => fallback,
        bool b => b ? 1 : 0,
        long l => l,
        BigInteger big => big.Sign < 0 ? long.MinValue / 2 : long.MaxValue / 2,
        _ => throw Fail.Type("slice indices must be integers or None or have an __index__ method"),
    };

    private static long Clamp(long index, long count, long step)
    {
        if (index < 0) index = Math.Max(index + count, step > 0 ? 0 : -1);
        return Math.Min(index, step > 0 ? count : count - 1);
    }
}
