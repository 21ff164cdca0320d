using System.Numerics;

namespace DeepSeek.Text.Jinja;

// Values of the language: null is None; bool, long, BigInteger (beyond long only), double, Str, List<object?> (list), object?[] (tuple), Dict, and the classes below.

/// <summary>A name, attribute or item that is not there. Printing gives nothing; almost anything else is an error with this message.</summary>
internal sealed class Undefined(string message, bool isUnsafe = false)
{
    public ChatTemplateException Error() => isUnsafe ? Fail.Security(message) : Fail.Undefined(message);
}

/// <summary>A dict: keys in the order of insertion, equal as in Python (1 == 1.0 == true).</summary>
internal sealed class Dict
{
    private readonly OrderedDictionary<object, object?> items = new(KeyComparer.Instance);

    /// <summary>Keys that may not be null: None has a stand-in.</summary>
    private static readonly object NoneKey = new Undefined("None");

    public int Count => items.Count;

    public IEnumerable<object?> Keys => items.Keys.Select(Open);

    public IEnumerable<object?> Values => items.Values;

    public IEnumerable<KeyValuePair<object?, object?>> Items => items.Select(p => KeyValuePair.Create(Open(p.Key), p.Value));

    public object? this[object? key] { set => items[key ?? NoneKey] = value; }

    public object? this[string key] { set => items[Str.Trusted(key)] = value; }

    public bool TryGet(object? key, out object? value) => items.TryGetValue(key ?? NoneKey, out value);

    public object? At(string key) => items.TryGetValue(Str.Trusted(key), out object? value) ? value : null;

    public bool Contains(object? key) => items.ContainsKey(key ?? NoneKey);

    public Dict Copy()
    {
        var copy = new Dict();
        foreach (var (key, value) in items) copy.items[key] = value;
        return copy;
    }

    private static object? Open(object key) => ReferenceEquals(key, NoneKey) ? null : key;

    private sealed class KeyComparer : IEqualityComparer<object>
    {
        public static readonly KeyComparer Instance = new();

        public new bool Equals(object? x, object? y) => ReferenceEquals(x, y) || Comparison.AreEqual(x, y);

        public int GetHashCode(object key) => Comparison.Hash(key);
    }
}

/// <summary>What a dict's keys(), values() and items() give.</summary>
internal sealed class DictView(Dict dict, string kind)
{
    public Dict Dict => dict;

    /// <summary>keys, values or items.</summary>
    public string Of => kind;

    public IEnumerable<object?> Items() => kind switch
    {
        "keys" => dict.Keys,
        "values" => dict.Values,
        _ => dict.Items.Select(object? (p) => new[] { p.Key, p.Value }),
    };
}

/// <summary>range(start, stop, step).</summary>
internal sealed record Range(long Start, long Stop, long Step)
{
    public long Count => Step > 0 ? Math.Max(0, (Stop - Start + Step - 1) / Step) : Math.Max(0, (Start - Stop - Step - 1) / -Step);

    public long At(long index) => Start + index * Step;

    public IEnumerable<object?> Items()
    {
        for (long i = 0, n = Count; i < n; i++) yield return At(i);
    }
}

/// <summary>What filters such as map and select give: items that are computed when they are asked for, once.</summary>
internal sealed class Lazy(IEnumerable<object?> items)
{
    private readonly IEnumerator<object?> rest = items.GetEnumerator();

    public IEnumerable<object?> Rest()
    {
        while (rest.MoveNext()) yield return rest.Current;
    }
}

/// <summary>namespace(): the one thing whose attributes a template may set.</summary>
internal sealed class Namespace
{
    public Dict Attributes { get; } = new();
}

/// <summary>A group of groupby: a tuple with names.</summary>
internal sealed record Group(object? Grouper, List<object?> Items);

/// <summary>Something that can be called.</summary>
internal abstract class Callable
{
    public abstract object? Call(Evaluator evaluator, CallArguments arguments);

    public virtual object? Attribute(string name) => Missing.Value;
}

/// <summary>A function of the environment.</summary>
internal sealed class Function(string name, Func<Evaluator, CallArguments, object?> body) : Callable
{
    public string Name => name;

    public override object? Call(Evaluator evaluator, CallArguments arguments) => body(evaluator, arguments);
}

/// <summary>A method of a built-in type, bound to its object.</summary>
internal sealed class BoundMethod(object target, string name) : Callable
{
    public override object? Call(Evaluator evaluator, CallArguments arguments) => Methods.Call(evaluator, target, name, arguments);
}

/// <summary>cycler(...): goes round its items.</summary>
internal sealed class Cycler(List<object?> items) : Callable
{
    private int position;

    public override object? Attribute(string name) => name switch
    {
        "current" => items[position],
        "pos" => (long)position,
        "items" => items.ToArray(),
        "next" => new Function(name, (_, _) => Next()),
        "reset" => new Function(name, (_, _) => { position = 0; return null; }),
        _ => Missing.Value,
    };

    public override object? Call(Evaluator evaluator, CallArguments arguments) => throw Fail.Type("'Cycler' object is not callable");

    private object? Next()
    {
        object? current = items[position];
        position = (position + 1) % items.Count;
        return current;
    }
}

/// <summary>joiner(sep): nothing at the first call, the separator afterwards.</summary>
internal sealed class Joiner(object? separator) : Callable
{
    private bool used;

    public override object? Call(Evaluator evaluator, CallArguments arguments)
    {
        if (used) return separator;
        used = true;
        return Str.Empty;
    }
}

/// <summary>An argument that was not given, or an attribute that a type lacks.</summary>
internal sealed class Missing
{
    public static readonly Missing Value = new();
}

/// <summary>Arguments of a call.</summary>
internal sealed class CallArguments(List<object?> positional, List<KeyValuePair<string, object?>> named)
{
    public List<object?> Positional => positional;

    public List<KeyValuePair<string, object?>> Named => named;

    /// <summary>Puts arguments in the order of parameters; those whose name ends in '?' may be left out (<see cref="Missing"/>).</summary>
    public object?[] Bind(string function, params ReadOnlySpan<string> parameters)
    {
        if (positional.Count > parameters.Length) throw Fail.Type($"{function}() takes at most {parameters.Length} arguments ({positional.Count} given)");
        var bound = new object?[parameters.Length];
        Array.Fill(bound, Missing.Value);
        positional.CopyTo(bound);
        foreach (var (name, value) in named)
        {
            int at = -1;
            for (int i = 0; i < parameters.Length; i++)
                if (parameters[i].AsSpan().TrimEnd('?').SequenceEqual(name)) at = i;
            if (at < 0) throw Fail.Type($"{function}() got an unexpected keyword argument '{name}'");
            if (bound[at] is not Missing) throw Fail.Type($"{function}() got multiple values for argument '{name}'");
            bound[at] = value;
        }
        for (int i = 0; i < parameters.Length; i++)
            if (bound[i] is Missing && !parameters[i].EndsWith('?')) throw Fail.Type($"{function}() missing required argument: '{parameters[i]}'");
        return bound;
    }
}

/// <summary>What Python calls the types.</summary>
internal static class Kind
{
    public static string Name(object? value) => value switch
    {
        null => "NoneType",
        bool => "bool",
        long or BigInteger => "int",
        double => "float",
        Str { IsMarkup: true } => "Markup",
        Str => "str",
        List<object?> => "list",
        object?[] => "tuple",
        Group => "_GroupTuple",
        Dict => "dict",
        DictView v => "dict_" + v.Of,
        Range => "range",
        Lazy => "generator",
        Undefined => "Undefined",
        Macro => "Macro",
        BoundMethod => "builtin_function_or_method",
        Function => "function",
        _ => value.GetType().Name,
    };
}
