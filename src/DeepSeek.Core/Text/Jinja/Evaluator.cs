namespace DeepSeek.Text.Jinja;

/// <summary>Variables of a block; a name that is not here is looked for outside.</summary>
internal sealed class Scope(Scope? outer)
{
    private Dictionary<string, object?>? variables;

    public void Set(string name, object? value) => (variables ??= [])[name] = value;

    public bool TryGet(string name, out object? value)
    {
        for (Scope? s = this; s is not null; s = s.Outer)
            if (s.variables is not null && s.variables.TryGetValue(name, out value)) return true;
        value = null;
        return false;
    }

    private Scope? Outer { get; } = outer;
}

/// <summary>Runs the statements of a template. One instance renders once.</summary>
internal sealed partial class Evaluator(Program program, TimeProvider clock)
{
    private readonly Scope globals = new(null);
    private Scope root = new(null);
    private bool autoescape;
    private int line = 1;

    private enum Flow { Normal, Break, Continue }

    public Meter Meter { get; } = new();

    public TimeProvider Clock => clock;

    /// <summary>Writes the template with these variables.</summary>
    public Str Render(Dict variables)
    {
        var output = new StrBuilder(Meter);
        try
        {
            foreach (var (name, value) in Globals.All) globals.Set(name, value);
            root = new Scope(globals);
            foreach (var (name, value) in variables.Items)
                if (name is Str s) root.Set(s.Value, value);
            if (program.Blocks.Count > 0) root.Set("self", new SelfReference(this, program.Blocks));
            Run(program.Body, root, output);
            return output.ToStr();
        }
        catch (ChatTemplateException e)
        {
            throw new ChatTemplateException($"The chat template failed at line {line}. {e.Message}", e);
        }
    }

    private Flow Run(List<Node> body, Scope scope, StrBuilder output)
    {
        foreach (Node node in body)
        {
            Meter.Step();
            line = node.Line;
            Flow flow = Run(node, scope, output);
            if (flow != Flow.Normal) return flow;
        }
        return Flow.Normal;
    }

    private Flow Run(Node node, Scope scope, StrBuilder output)
    {
        switch (node)
        {
            case Text text:
                output.Append(text.Value);
                break;
            case Output print:
                foreach (Expression value in print.Values) output.Append(Shown(Evaluate(value, scope)));
                break;
            case If branch:
                foreach (var (test, then) in branch.Branches)
                    if (Operators.Truth(Evaluate(test, scope))) return Run(then, scope, output);
                return Run(branch.Else, scope, output);
            case For loop:
                return RunLoop(loop, scope, Evaluate(loop.Items, scope), 0, output);
            case Assign assign:
                Bind(assign.Target, Evaluate(assign.Value, scope), scope);
                break;
            case AssignBlock assign:
                Flow flow = Capture(assign.Body, new Scope(scope), out Str written);
                Bind(assign.Target, assign.Filter is null ? written : ApplyFilter(assign.Filter, written, scope), scope);
                return flow;
            case With with:
                var inner = new Scope(scope);
                foreach (var (target, value) in with.Variables) Bind(target, Evaluate(value, scope), inner);
                return Run(with.Body, inner, output);
            case Filtered filtered:
                flow = Capture(filtered.Body, new Scope(scope), out written);
                output.Append(Shown(ApplyFilter(filtered.Filter, written, scope)));
                return flow;
            case Scoped scoped:
                bool outer = autoescape;
                if (scoped.Autoescape is not null) autoescape = Operators.Truth(Evaluate(scoped.Autoescape, scope));
                flow = Run(scoped.Body, new Scope(scope), output);
                autoescape = outer;
                return flow;
            case Block block:
                Run(block.Body, new Scope(block.SeesScope ? scope : root), output);
                break;
            case MacroDefinition macro:
                scope.Set(macro.Id, new Macro(macro.Id, macro.Body, scope));
                break;
            case CallBlock call:
                CallArguments arguments = Evaluate(call.Call.Arguments, scope);
                arguments.Named.Add(new("caller", new Macro("caller", call.Body, scope)));
                output.Append(Shown(CallValue(Evaluate(call.Call.Target, scope), arguments)));
                break;
            case Jump jump:
                return jump.IsBreak ? Flow.Break : Flow.Continue;
            case Load load:
                throw Fail.Type($"'{load.Tag}' needs another template, and a chat template stands alone");
        }
        return Flow.Normal;
    }

    private Flow Capture(List<Node> body, Scope scope, out Str written)
    {
        var output = new StrBuilder(Meter);
        Flow flow = Run(body, scope, output);
        written = output.ToStr();
        if (autoescape) written = written.AsMarkup();
        return flow;
    }

    /// <summary>A value as {{ }} writes it.</summary>
    private Str Shown(object? value)
    {
        Str text = Printer.ToStr(value, Meter);
        return autoescape && !text.IsMarkup ? Html.Escape(text, Meter) : text;
    }

    private Flow RunLoop(For loop, Scope scope, object? iterable, int depth, StrBuilder output)
    {
        List<object?> items = [];
        foreach (object? item in Operators.Iterate(iterable, Meter))
        {
            Meter.Step();
            if (loop.Test is not null)
            {
                var testScope = new Scope(scope);
                testScope.Set("loop", new Undefined("'loop' is undefined. The condition of a loop cannot use the loop itself"));
                Bind(loop.Target, item, testScope);
                if (!Operators.Truth(Evaluate(loop.Test, testScope))) continue;
            }
            items.Add(item);
        }
        var context = new LoopContext(this, loop, scope, items, depth);
        // As in Jinja, `else` runs unless an iteration came to its end: a break or continue in every one of them counts as none.
        bool completed = false;
        for (; context.Index < items.Count; context.Index++)
        {
            Meter.Step();
            var inner = new Scope(scope);
            inner.Set("loop", context);
            Bind(loop.Target, items[context.Index], inner);
            Flow flow = Run(loop.Body, inner, output);
            if (flow == Flow.Break) break;
            completed |= flow == Flow.Normal;
        }
        return completed ? Flow.Normal : Run(loop.Else, new Scope(scope), output);
    }

    /// <summary>The body of a recursive loop over other items: what `loop(items)` gives.</summary>
    public Str Recurse(LoopContext loop, object? items)
    {
        Meter.Enter();
        var output = new StrBuilder(Meter);
        RunLoop(loop.Loop, loop.Scope, items, loop.Depth + 1, output);
        Meter.Leave();
        return autoescape ? output.ToStr().AsMarkup() : output.ToStr();
    }

    private void Bind(Expression target, object? value, Scope scope)
    {
        switch (target)
        {
            case Name name:
                scope.Set(name.Id, value);
                break;
            case NamespaceTarget to:
                if (!scope.TryGet(to.Namespace, out object? found) || found is not Namespace ns) throw Fail.Runtime("cannot assign attribute on non-namespace object");
                ns.Attributes[to.Attribute] = value;
                break;
            case TupleDisplay tuple:
                List<object?> values = [];
                foreach (object? item in Operators.Iterate(value, Meter))
                {
                    values.Add(item);
                    if (values.Count > tuple.Items.Count) throw Fail.Value($"too many values to unpack (expected {tuple.Items.Count})");
                }
                if (values.Count < tuple.Items.Count) throw Fail.Value($"not enough values to unpack (expected {tuple.Items.Count}, got {values.Count})");
                for (int i = 0; i < values.Count; i++) Bind(tuple.Items[i], values[i], scope);
                break;
        }
    }

    /// <summary>What a macro writes.</summary>
    public Str CallMacro(Macro macro, CallArguments arguments)
    {
        Meter.Enter();
        int callLine = line;
        var scope = new Scope(macro.Scope);
        var parameters = macro.Body.Parameters;
        Dictionary<string, object?> named = [];
        foreach (var (key, value) in arguments.Named)
            if (!named.TryAdd(key, value)) throw Fail.Type($"macro '{macro.Id}' got the keyword argument '{key}' twice");
        for (int i = 0; i < parameters.Count; i++)
        {
            var (id, fallback) = parameters[i];
            bool given = named.Remove(id, out object? value);
            if (i < arguments.Positional.Count)
            {
                if (given) throw Fail.Type($"macro '{macro.Id}' got multiple values for argument '{id}'");
                value = arguments.Positional[i];
            }
            else if (!given)
            {
                value = new Undefined($"parameter '{id}' was not provided");
                if (fallback is not null)
                {
                    scope.Set(id, value);
                    value = Evaluate(fallback, scope);
                }
            }
            scope.Set(id, value);
        }
        HashSet<string> uses = macro.Body.Uses;
        bool hasCaller = parameters.Any(p => p.Id == "caller");
        if (uses.Contains("caller") && !hasCaller) scope.Set("caller", named.Remove("caller", out object? caller) ? caller : new Undefined("No caller defined"));
        if (uses.Contains("kwargs"))
        {
            var more = new Dict();
            foreach (var (key, value) in named) more[key] = value;
            scope.Set("kwargs", more);
        }
        else if (named.Count > 0) throw Fail.Type($"macro '{macro.Id}' takes no keyword argument '{named.Keys.First()}'");
        if (uses.Contains("varargs")) scope.Set("varargs", arguments.Positional.Skip(parameters.Count).ToArray());
        else if (arguments.Positional.Count > parameters.Count) throw Fail.Type($"macro '{macro.Id}' takes not more than {parameters.Count} argument(s)");
        Capture(macro.Body.Body, scope, out Str written);
        line = callLine;
        Meter.Leave();
        return written;
    }

    private sealed class SelfReference(Evaluator evaluator, Dictionary<string, Block> blocks) : Callable
    {
        public override object? Call(Evaluator e, CallArguments arguments) => throw Fail.Type("'TemplateReference' object is not callable");

        public override object? Attribute(string name) => blocks.TryGetValue(name, out Block? block)
            ? new Function(name, (_, _) =>
            {
                evaluator.Meter.Enter();
                evaluator.Capture(block.Body, new Scope(evaluator.root), out Str written);
                evaluator.Meter.Leave();
                return written;
            })
            : Missing.Value;
    }
}

/// <summary>A macro, or the body of a call block, with the variables that it sees.</summary>
internal sealed class Macro(string id, MacroBody body, Scope scope) : Callable
{
    public string Id => id;

    public MacroBody Body => body;

    public Scope Scope => scope;

    public override object? Call(Evaluator evaluator, CallArguments arguments) => evaluator.CallMacro(this, arguments);

    public override object? Attribute(string name) => name switch
    {
        "name" => Str.Trusted(id),
        "arguments" => body.Parameters.Select(object? (p) => Str.Trusted(p.Id)).ToArray(),
        "catch_kwargs" => body.Uses.Contains("kwargs"),
        "catch_varargs" => body.Uses.Contains("varargs"),
        "caller" => body.Uses.Contains("caller"),
        _ => Missing.Value,
    };
}

/// <summary>The variable `loop`.</summary>
internal sealed class LoopContext(Evaluator evaluator, For loop, Scope scope, List<object?> items, int depth) : Callable
{
    private object?[]? last;

    public int Index { get; set; }

    public For Loop => loop;

    public Scope Scope => scope;

    public int Depth => depth;

    public int Count => items.Count;

    public override object? Call(Evaluator e, CallArguments arguments)
    {
        if (!loop.IsRecursive) throw Fail.Type("the loop must have the 'recursive' marker to be called");
        return evaluator.Recurse(this, arguments.Bind("loop", "iterable")[0]);
    }

    public override object? Attribute(string name) => name switch
    {
        "index" => Index + 1L,
        "index0" => (long)Index,
        "revindex" => (long)items.Count - Index,
        "revindex0" => items.Count - Index - 1L,
        "first" => Index == 0,
        "last" => Index == items.Count - 1,
        "length" => (long)items.Count,
        "depth" => depth + 1L,
        "depth0" => (long)depth,
        "previtem" => Index == 0 ? new Undefined("there is no previous item") : items[Index - 1],
        "nextitem" => Index >= items.Count - 1 ? new Undefined("there is no next item") : items[Index + 1],
        "cycle" => new Function(name, (_, a) => a.Positional.Count == 0 ? throw Fail.Type("no items for cycling given") : a.Positional[Index % a.Positional.Count]),
        "changed" => new Function(name, (_, a) =>
        {
            object?[] now = [.. a.Positional];
            if (last is not null && Comparison.AreEqual(last, now)) return false;
            last = now;
            return true;
        }),
        _ => Missing.Value,
    };
}
