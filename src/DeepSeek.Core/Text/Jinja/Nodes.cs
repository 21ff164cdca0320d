namespace DeepSeek.Text.Jinja;

/// <summary>A piece of a parsed template.</summary>
internal abstract record Node(int Line);

// Expressions

internal abstract record Expression(int Line) : Node(Line);

internal sealed record Constant(int Line, object? Value) : Expression(Line);

internal sealed record Name(int Line, string Id) : Expression(Line);

internal sealed record ListDisplay(int Line, List<Expression> Items) : Expression(Line);

internal sealed record TupleDisplay(int Line, List<Expression> Items) : Expression(Line);

internal sealed record DictDisplay(int Line, List<(Expression Key, Expression Value)> Items) : Expression(Line);

internal sealed record Conditional(int Line, Expression Test, Expression Then, Expression? Else) : Expression(Line);

internal sealed record Or(int Line, Expression Left, Expression Right) : Expression(Line);

internal sealed record And(int Line, Expression Left, Expression Right) : Expression(Line);

internal sealed record Not(int Line, Expression Operand) : Expression(Line);

/// <summary>A chain: a &lt; b &lt;= c.</summary>
internal sealed record Compare(int Line, Expression First, List<(string Operator, Expression Operand)> Rest) : Expression(Line);

internal sealed record Binary(int Line, string Operator, Expression Left, Expression Right) : Expression(Line);

internal sealed record Unary(int Line, string Operator, Expression Operand) : Expression(Line);

internal sealed record Concatenation(int Line, List<Expression> Parts) : Expression(Line);

/// <summary>target.name</summary>
internal sealed record Attribute(int Line, Expression Target, Str Id) : Expression(Line);

/// <summary>target[index]</summary>
internal sealed record Item(int Line, Expression Target, Expression Index) : Expression(Line);

/// <summary>target[start:stop:step]</summary>
internal sealed record Slice(int Line, Expression? Start, Expression? Stop, Expression? Step) : Expression(Line);

internal sealed record Call(int Line, Expression Target, Arguments Arguments) : Expression(Line);

/// <summary>operand|name(…); no operand: the body of a block.</summary>
internal sealed record FilterCall(int Line, Expression? Operand, string Id, Arguments Arguments) : Expression(Line);

internal sealed record TestCall(int Line, Expression Operand, string Id, Arguments Arguments, bool Negated) : Expression(Line);

internal sealed record Arguments(List<Expression> Positional, List<KeyValuePair<string, Expression>> Named, Expression? MorePositional, Expression? MoreNamed)
{
    public static readonly Arguments None = new([], [], null, null);
}

/// <summary>namespace.attribute as the target of an assignment.</summary>
internal sealed record NamespaceTarget(int Line, string Namespace, string Attribute) : Expression(Line);

// Statements

internal sealed record Output(int Line, List<Expression> Values) : Node(Line);

internal sealed record Text(int Line, Str Value) : Node(Line);

internal sealed record If(int Line, List<(Expression Test, List<Node> Body)> Branches, List<Node> Else) : Node(Line);

internal sealed record For(int Line, Expression Target, Expression Items, Expression? Test, bool IsRecursive, List<Node> Body, List<Node> Else) : Node(Line);

internal sealed record Assign(int Line, Expression Target, Expression Value) : Node(Line);

internal sealed record AssignBlock(int Line, Expression Target, FilterCall? Filter, List<Node> Body) : Node(Line);

internal sealed record With(int Line, List<(Expression Target, Expression Value)> Variables, List<Node> Body) : Node(Line);

internal sealed record Filtered(int Line, FilterCall Filter, List<Node> Body) : Node(Line);

/// <summary>A body with variables of its own and nothing else: generation, autoescape.</summary>
internal sealed record Scoped(int Line, Expression? Autoescape, List<Node> Body) : Node(Line);

internal sealed record Block(int Line, string Id, bool SeesScope, List<Node> Body) : Node(Line);

internal sealed record MacroDefinition(int Line, string Id, MacroBody Body) : Node(Line);

/// <summary>{% call(…) f() %}: the body becomes f's `caller`.</summary>
internal sealed record CallBlock(int Line, Call Call, MacroBody Body) : Node(Line);

internal sealed record Jump(int Line, bool IsBreak) : Node(Line);

/// <summary>include, import, extends: there is nothing to load from.</summary>
internal sealed record Load(int Line, string Tag) : Node(Line);

/// <param name="Parameters">Names, with defaults for the last ones.</param>
/// <param name="Body">What a call writes.</param>
/// <param name="Uses">Which of varargs, kwargs, caller the body names: only those are accepted.</param>
internal sealed record MacroBody(List<(string Id, Expression? Default)> Parameters, List<Node> Body, HashSet<string> Uses);

/// <summary>A template, ready to be rendered any number of times.</summary>
/// <param name="Body">Its statements.</param>
/// <param name="Blocks">Its {% block %} parts, by name.</param>
internal sealed record Program(List<Node> Body, Dictionary<string, Block> Blocks);
