using System.Numerics;

namespace DeepSeek.Text.Jinja;

/// <summary>Methods of the built-in types, by name. Those that change a list or dict exist, and may not be called: chat templates run in Jinja's immutable sandbox.</summary>
internal static class Methods
{
    private static readonly HashSet<string> OfDict = ["get", "items", "keys", "values", "copy", "fromkeys", "clear", "pop", "popitem", "setdefault", "update"];
    private static readonly HashSet<string> OfList = ["count", "index", "copy", "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"];
    private static readonly HashSet<string> OfInteger = ["bit_length", "bit_count", "conjugate", "is_integer", "as_integer_ratio"];
    private static readonly HashSet<string> OfReal = ["is_integer", "conjugate", "hex", "as_integer_ratio"];

    public static bool Has(object? target, string name) => target switch
    {
        Str => StringMethods.Names.Contains(name),
        Dict => OfDict.Contains(name),
        List<object?> => OfList.Contains(name),
        object?[] or Range or Group => name is "count" or "index",
        DictView { Of: "keys" or "items" } => name is "isdisjoint",
        bool or long or BigInteger => OfInteger.Contains(name),
        double => OfReal.Contains(name),
        _ => false,
    };

    public static bool Changes(object? target, string name) => target switch
    {
        Dict => name is "clear" or "pop" or "popitem" or "setdefault" or "update",
        List<object?> => name is "append" or "clear" or "extend" or "insert" or "pop" or "remove" or "reverse" or "sort",
        _ => false,
    };

    public static object? Call(Evaluator e, object target, string name, CallArguments arguments)
    {
        switch (target)
        {
            case Str s: return StringMethods.Call(e, s, name, arguments);
            case Dict dict: return CallDict(e, dict, name, arguments);
            case List<object?> list when name == "copy":
                arguments.Bind(name);
                return new List<object?>(list);
            case List<object?> or object?[] or Range or Group: return Search(e, target, name, arguments);
            case DictView view:
                object? other = arguments.Bind(name, "other")[0];
                return !Operators.Iterate(other, e.Meter).Any(i => Comparison.Contains(view, i, e.Meter));
            default: return CallNumber(target, name, arguments);
        }
    }

    private static object? CallDict(Evaluator e, Dict dict, string name, CallArguments arguments)
    {
        switch (name)
        {
            case "get":
                object?[] a = arguments.Bind(name, "key", "default?");
                return dict.TryGet(a[0], out object? value) ? value : a[1] is Missing ? null : a[1];
            case "copy":
                arguments.Bind(name);
                return dict.Copy();
            case "fromkeys":
                a = arguments.Bind(name, "iterable", "value?");
                var made = new Dict();
                foreach (object? key in Operators.Iterate(a[0], e.Meter)) made[key] = a[1] is Missing ? null : a[1];
                return made;
            default:
                arguments.Bind(name);
                return new DictView(dict, name);
        }
    }

    private static object? Search(Evaluator e, object target, string name, CallArguments arguments)
    {
        object?[] a = name == "count" ? arguments.Bind(name, "value") : arguments.Bind(name, "value", "start?", "stop?");
        List<object?> items = Operators.ToList(target, e.Meter);
        if (name == "count") return (long)items.Count(i => Comparison.AreEqual(i, a[0]));
        int start = a[1] is Missing ? 0 : Numbers.Int(a[1]), stop = a[2] is Missing ? items.Count : Numbers.Int(a[2]);
        if (start < 0) start = Math.Max(0, start + items.Count);
        if (stop < 0) stop += items.Count;
        for (int i = start; i < Math.Min(stop, items.Count); i++)
            if (Comparison.AreEqual(items[i], a[0])) return (long)i;
        throw Fail.Value($"{Printer.Brief(a[0])} is not in {Kind.Name(target)}");
    }

    private static object? CallNumber(object number, string name, CallArguments arguments)
    {
        arguments.Bind(name);
        switch (name)
        {
            case "is_integer": return number is not double d || double.IsFinite(d) && Math.Floor(d) == d;
            case "conjugate": return number is bool b ? (b ? 1L : 0L) : number;
            case "bit_length": return BigInteger.Abs(Numbers.Big(number)).GetBitLength();
            case "bit_count": return (long)FormatSpec.Radix(BigInteger.Abs(Numbers.Big(number)), 'b').Count(c => c == '1');
            case "as_integer_ratio" when number is not double: return new object?[] { Numbers.Shrink(Numbers.Big(number)), 1L };
            default: throw Fail.Type($"{Kind.Name(number)}.{name}() is not available in chat templates");
        }
    }
}
