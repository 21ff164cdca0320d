using System.Collections.Frozen;
using System.Numerics;
using System.Text;

namespace DeepSeek.Text.Jinja;

/// <summary>The built-in tests, https://jinja.palletsprojects.com/en/stable/templates/#list-of-builtin-tests.</summary>
internal static class Tests
{
    public static readonly FrozenDictionary<string, Func<Evaluator, object?, object?[], bool>> All = new Dictionary<string, Func<Evaluator, object?, object?[], bool>>
    {
        ["odd"] = (e, v, _) => Comparison.AreEqual(Operators.Binary("%", v, 2L, e.Meter), 1L),
        ["even"] = (e, v, _) => Comparison.AreEqual(Operators.Binary("%", v, 2L, e.Meter), 0L),
        ["divisibleby"] = (e, v, a) => Comparison.AreEqual(Operators.Binary("%", v, One(a), e.Meter), 0L),
        ["defined"] = (_, v, _) => v is not Undefined,
        ["undefined"] = (_, v, _) => v is Undefined,
        ["filter"] = (_, v, _) => v is Str s && Filters.All.ContainsKey(s.Value),
        ["test"] = (_, v, _) => v is Str s && All!.ContainsKey(s.Value),
        ["none"] = (_, v, _) => v is null,
        ["boolean"] = (_, v, _) => v is bool,
        ["false"] = (_, v, _) => v is false,
        ["true"] = (_, v, _) => v is true,
        ["integer"] = (_, v, _) => v is long or BigInteger,
        ["float"] = (_, v, _) => v is double,
        ["lower"] = (e, v, _) => IsCase("islower", v, e),
        ["upper"] = (e, v, _) => IsCase("isupper", v, e),
        ["string"] = (_, v, _) => v is Str,
        ["mapping"] = (_, v, _) => v is Dict,
        ["number"] = (_, v, _) => Numbers.IsNumber(v),
        ["sequence"] = (_, v, _) => v is Str or List<object?> or object?[] or Dict or Range or Group or Undefined,
        ["iterable"] = (_, v, _) => v is Str or List<object?> or object?[] or Dict or DictView or Range or Group or Lazy or Undefined or LoopContext,
        ["callable"] = (_, v, _) => v is Callable and not Cycler || v is Undefined,
        ["sameas"] = (_, v, a) => Same(v, One(a)),
        ["escaped"] = (_, v, _) => v is Str { IsMarkup: true },
        ["in"] = (e, v, a) => Comparison.Contains(One(a), v, e.Meter),
        ["=="] = Equal, ["eq"] = Equal, ["equalto"] = Equal,
        ["!="] = (e, v, a) => !Equal(e, v, a), ["ne"] = (e, v, a) => !Equal(e, v, a),
        [">"] = Ordered(">"), ["gt"] = Ordered(">"), ["greaterthan"] = Ordered(">"),
        [">="] = Ordered(">="), ["ge"] = Ordered(">="),
        ["<"] = Ordered("<"), ["lt"] = Ordered("<"), ["lessthan"] = Ordered("<"),
        ["<="] = Ordered("<="), ["le"] = Ordered("<="),
    }.ToFrozenDictionary();

    public static bool Run(Evaluator evaluator, string name, object? value, CallArguments arguments)
    {
        evaluator.Meter.Step();
        if (!All.TryGetValue(name, out var test)) throw Fail.Runtime($"No test named '{name}' found.");
        return test(evaluator, value, [.. arguments.Positional, .. arguments.Named.Select(p => p.Value)]);
    }

    private static object? One(object?[] arguments) => arguments is [var one] ? one : throw Fail.Type("a test takes one argument here");

    private static bool Equal(Evaluator e, object? value, object?[] arguments) => Comparison.AreEqual(value, One(arguments));

    private static Func<Evaluator, object?, object?[], bool> Ordered(string op) => (e, value, arguments) => Comparison.Compare(op, value, One(arguments), e.Meter);

    private static bool IsCase(string method, object? value, Evaluator e) => (bool)StringMethods.Call(e, Printer.ToStr(value, e.Meter), method, new([], []))!;

    private static bool Same(object? left, object? right) => (left, right) switch
    {
        (bool a, bool b) => a == b,
        (long a, long b) => a == b,
        (Str a, Str b) => a.Value == b.Value,
        _ => ReferenceEquals(left, right),
    };
}
