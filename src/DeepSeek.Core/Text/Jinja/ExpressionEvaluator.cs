namespace DeepSeek.Text.Jinja;

/// <summary>Values of expressions.</summary>
internal sealed partial class Evaluator
{
    public object? Evaluate(Expression expression, Scope scope)
    {
        Meter.Step();
        Meter.CheckStack();
        switch (expression)
        {
            case Constant constant:
                return constant.Value;
            case Name name:
                return scope.TryGet(name.Id, out object? found) ? found : new Undefined($"'{name.Id}' is undefined");
            case Attribute attribute:
                return Lookup.Attribute(Evaluate(attribute.Target, scope), attribute.Id);
            case Item { Index: Slice slice } item:
                object? whole = Evaluate(item.Target, scope);
                return Lookup.Slice(whole, Optional(slice.Start, scope), Optional(slice.Stop, scope), Optional(slice.Step, scope), Meter);
            case Item item:
                object? target = Evaluate(item.Target, scope);
                return Lookup.Item(target, Evaluate(item.Index, scope));
            case Binary binary:
                object? left = Evaluate(binary.Left, scope);
                return Operators.Binary(binary.Operator, left, Evaluate(binary.Right, scope), Meter);
            case Compare compare:
                return Chain(compare, scope);
            case Conditional conditional:
                if (Operators.Truth(Evaluate(conditional.Test, scope))) return Evaluate(conditional.Then, scope);
                return conditional.Else is null ? new Undefined("the inline if-expression evaluated to false and no else section was defined") : Evaluate(conditional.Else, scope);
            case And and:
                left = Evaluate(and.Left, scope);
                return Operators.Truth(left) ? Evaluate(and.Right, scope) : left;
            case Or or:
                left = Evaluate(or.Left, scope);
                return Operators.Truth(left) ? left : Evaluate(or.Right, scope);
            case Not not:
                return !Operators.Truth(Evaluate(not.Operand, scope));
            case FilterCall filter:
                return ApplyFilter(filter, Evaluate(filter.Operand!, scope), scope);
            case TestCall test:
                object? operand = Evaluate(test.Operand, scope);
                return Tests.Run(this, test.Id, operand, Evaluate(test.Arguments, scope)) != test.Negated;
            case Call call:
                target = Evaluate(call.Target, scope);
                return CallValue(target, Evaluate(call.Arguments, scope));
            case Concatenation concatenation:
                return Concatenate(concatenation, scope);
            case Unary unary:
                return Operators.Unary(unary.Operator, Evaluate(unary.Operand, scope));
            case ListDisplay list:
                return Each(list.Items, scope);
            case TupleDisplay tuple:
                return Each(tuple.Items, scope).ToArray();
            case DictDisplay display:
                var dict = new Dict();
                foreach (var (key, value) in display.Items) dict[Evaluate(key, scope)] = Evaluate(value, scope);
                return dict;
            default:
                throw Fail.Type("a slice is not a value");
        }
    }

    private object? Optional(Expression? expression, Scope scope) => expression is null ? null : Evaluate(expression, scope);

    private List<object?> Each(List<Expression> expressions, Scope scope)
    {
        var values = new List<object?>(expressions.Count);
        foreach (Expression e in expressions) values.Add(Evaluate(e, scope));
        return values;
    }

    private bool Chain(Compare compare, Scope scope)
    {
        object? left = Evaluate(compare.First, scope);
        foreach (var (op, operand) in compare.Rest)
        {
            object? right = Evaluate(operand, scope);
            if (!Comparison.Compare(op, left, right, Meter)) return false;
            left = right;
        }
        return true;
    }

    private Str Concatenate(Concatenation concatenation, Scope scope)
    {
        Str[] parts = [.. concatenation.Parts.Select(p => Printer.ToStr(Evaluate(p, scope), Meter))];
        bool escape = autoescape && parts.Any(p => p.IsMarkup);
        var text = new StrBuilder(Meter);
        foreach (Str part in parts) text.Append(escape && !part.IsMarkup ? Html.Escape(part, Meter) : part);
        return escape ? text.ToStr().AsMarkup() : text.ToStr();
    }

    private CallArguments Evaluate(Arguments arguments, Scope scope)
    {
        List<object?> positional = Each(arguments.Positional, scope);
        List<KeyValuePair<string, object?>> named = [];
        if (arguments.MorePositional is not null) positional.AddRange(Operators.Iterate(Evaluate(arguments.MorePositional, scope), Meter));
        foreach (var (name, value) in arguments.Named) named.Add(new(name, Evaluate(value, scope)));
        if (arguments.MoreNamed is not null)
        {
            if (Evaluate(arguments.MoreNamed, scope) is not Dict more) throw Fail.Type("the argument after ** must be a mapping");
            foreach (var (name, value) in more.Items) named.Add(new(name is Str s ? s.Value : throw Fail.Type("keywords must be strings"), value));
        }
        return new(positional, named);
    }

    private object? ApplyFilter(FilterCall filter, object? operand, Scope scope)
    {
        // {% filter a|b %}: the innermost filter of the chain has no operand of its own.
        object? value = filter.Operand is FilterCall inner && IsBlockChain(inner) ? ApplyFilter(inner, operand, scope) : operand;
        return Filters.Run(this, filter.Id, value, Evaluate(filter.Arguments, scope));
    }

    private static bool IsBlockChain(FilterCall filter) => filter.Operand is null || filter.Operand is FilterCall inner && IsBlockChain(inner);

    public object? CallValue(object? target, CallArguments arguments) => target switch
    {
        Callable callable => callable.Call(this, arguments),
        Undefined undefined => throw undefined.Error(),
        _ => throw Fail.Type($"'{Kind.Name(target)}' object is not callable"),
    };

    public bool Autoescape => autoescape;
}
