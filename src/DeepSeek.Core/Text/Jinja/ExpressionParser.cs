namespace DeepSeek.Text.Jinja;

/// <summary>Expressions, with the precedence of https://jinja.palletsprojects.com/en/stable/templates/#expressions (powers and comparisons included, which differ from Python's).</summary>
internal class ExpressionParser(List<Token> tokens)
{
    private const int MaxNesting = 200;
    private readonly List<(int Line, string Message)> unknown = [];
    private int position;
    private int nesting;

    /// <summary>Above zero inside {% if %}: an unknown filter there is an error only when it is reached.</summary>
    protected int Soft { get; set; }

    /// <summary>Names that bodies of macros mention, for each macro that is being read.</summary>
    protected Stack<HashSet<string>> Mentioned { get; } = new();

    protected Token Current => tokens[position];

    protected Token Next => tokens[Math.Min(position + 1, tokens.Count - 1)];

    protected Token Take()
    {
        Token token = Current;
        if (position < tokens.Count - 1) position++;
        return token;
    }

    protected bool Skip(string text)
    {
        if (!Current.Is(text)) return false;
        Take();
        return true;
    }

    protected Token Expect(TokenKind kind, string what) => Current.Kind == kind ? Take() : throw Error($"expected {what}, found {Current}");

    protected void Expect(string text)
    {
        if (!Skip(text)) throw Error($"expected '{text}', found {Current}");
    }

    protected ChatTemplateException Error(string message) => Fail.Syntax(Current.Line, message);

    protected void Nest()
    {
        if (++nesting > MaxNesting) throw Error($"nested more than {MaxNesting} levels deep");
        Meter.CheckStack();
    }

    protected void Unnest() => nesting--;

    /// <summary>Unknown filters and tests outside conditions are errors of the template, reached or not.</summary>
    protected void CheckNames()
    {
        if (unknown.Count > 0) throw Fail.Syntax(unknown[0].Line, unknown[0].Message);
    }

    public Expression ParseExpression(bool withCondition = true)
    {
        Nest();
        int known = unknown.Count;
        Expression expression = Or();
        while (withCondition && Current.Is("if"))
        {
            int line = Take().Line;
            Expression test = Or();
            Expression? otherwise = Skip("else") ? ParseExpression() : null;
            expression = new Conditional(line, test, expression, otherwise);
            unknown.RemoveRange(known, unknown.Count - known);
        }
        Unnest();
        return expression;
    }

    /// <summary>One expression, or several with commas: a tuple.</summary>
    public Expression ParseTuple(bool withCondition = true, bool explicitParentheses = false, Func<Token, bool>? isEnd = null)
    {
        int line = Current.Line;
        var items = new List<Expression>();
        bool isTuple = false;
        while (true)
        {
            if (items.Count > 0 && !isTuple) { Expect(","); isTuple = true; }
            else if (items.Count > 0 && !Skip(",")) break;
            if (Current.Kind is TokenKind.VariableEnd or TokenKind.BlockEnd or TokenKind.End || Current.Is(")") || isEnd?.Invoke(Current) == true) break;
            items.Add(ParseExpression(withCondition));
            if (!Current.Is(",")) break;
        }
        if (items.Count == 1 && !isTuple) return items[0];
        if (items.Count == 0 && !explicitParentheses) throw Error($"expected an expression, found {Current}");
        return new TupleDisplay(line, items);
    }

    private Expression Or()
    {
        Expression left = And();
        while (Current.Is("or")) left = new Or(Take().Line, left, And());
        return left;
    }

    private Expression And()
    {
        Expression left = Not();
        while (Current.Is("and")) left = new And(Take().Line, left, Not());
        return left;
    }

    private Expression Not()
    {
        if (!Current.Is("not")) return Comparison();
        int line = Take().Line;
        Nest();
        Expression operand = Not();
        Unnest();
        return new Not(line, operand);
    }

    private Expression Comparison()
    {
        int line = Current.Line;
        Expression first = Sum();
        var rest = new List<(string, Expression)>();
        while (true)
        {
            if (Current is { Kind: TokenKind.Operator, Text: "==" or "!=" or "<" or "<=" or ">" or ">=" }) rest.Add((Take().Text, Sum()));
            else if (Skip("in")) rest.Add(("in", Sum()));
            else if (Current.Is("not") && Next.Is("in"))
            {
                Take();
                Take();
                rest.Add(("not in", Sum()));
            }
            else break;
        }
        return rest.Count == 0 ? first : new Compare(line, first, rest);
    }

    private Expression Sum()
    {
        Expression left = Concat();
        while (Current is { Kind: TokenKind.Operator, Text: "+" or "-" }) left = new Binary(Current.Line, Take().Text, left, Concat());
        return left;
    }

    private Expression Concat()
    {
        Expression first = Product();
        if (!Current.Is("~")) return first;
        var parts = new List<Expression> { first };
        int line = Current.Line;
        while (Skip("~")) parts.Add(Product());
        return new Concatenation(line, parts);
    }

    private Expression Product()
    {
        Expression left = Power();
        while (Current is { Kind: TokenKind.Operator, Text: "*" or "/" or "//" or "%" }) left = new Binary(Current.Line, Take().Text, left, Power());
        return left;
    }

    private Expression Power()
    {
        Expression left = Unary();
        while (Current.Is("**")) left = new Binary(Take().Line, "**", left, Unary());
        return left;
    }

    private Expression Unary(bool withFilters = true)
    {
        Expression node;
        if (Current is { Kind: TokenKind.Operator, Text: "-" or "+" })
        {
            Token sign = Take();
            Nest();
            node = new Unary(sign.Line, sign.Text, Unary(false));
            Unnest();
        }
        else node = Primary();
        node = Postfix(node);
        return withFilters ? FiltersAndTests(node) : node;
    }

    private Expression Primary()
    {
        Token token = Current;
        switch (token.Kind)
        {
            case TokenKind.Name:
                Take();
                switch (token.Text)
                {
                    case "true" or "True": return new Constant(token.Line, true);
                    case "false" or "False": return new Constant(token.Line, false);
                    case "none" or "None": return new Constant(token.Line, null);
                }
                foreach (HashSet<string> names in Mentioned) names.Add(token.Text);
                return new Name(token.Line, token.Text);
            case TokenKind.String:
                string text = Take().Text;
                while (Current.Kind == TokenKind.String) text += Take().Text;
                return new Constant(token.Line, Str.Trusted(text));
            case TokenKind.Integer or TokenKind.Float:
                return new Constant(token.Line, Take().Number);
            case TokenKind.Operator when token.Text == "(":
                Take();
                Expression inner = ParseTuple(explicitParentheses: true);
                Expect(")");
                return inner;
            case TokenKind.Operator when token.Text == "[":
                return new ListDisplay(token.Line, Items("[", "]"));
            case TokenKind.Operator when token.Text == "{":
                Take();
                var pairs = new List<(Expression, Expression)>();
                while (!Current.Is("}"))
                {
                    if (pairs.Count > 0) Expect(",");
                    if (Current.Is("}")) break;
                    Expression key = ParseExpression();
                    Expect(":");
                    pairs.Add((key, ParseExpression()));
                }
                Expect("}");
                return new DictDisplay(token.Line, pairs);
            default:
                throw Error($"expected an expression, found {token}");
        }
    }

    private List<Expression> Items(string open, string close)
    {
        Expect(open);
        var items = new List<Expression>();
        while (!Current.Is(close))
        {
            if (items.Count > 0) Expect(",");
            if (Current.Is(close)) break;
            items.Add(ParseExpression());
        }
        Expect(close);
        return items;
    }

    private Expression Postfix(Expression node)
    {
        while (Current.Kind == TokenKind.Operator)
        {
            if (Current.Text is "." or "[") node = Subscript(node);
            else if (Current.Text == "(") node = ParseCall(node);
            else break;
        }
        return node;
    }

    private Expression FiltersAndTests(Expression node)
    {
        while (true)
        {
            if (Current.Is("|")) node = Filters(node);
            else if (Current.Is("is")) node = Test(node);
            else if (Current.Is("(")) node = ParseCall(node);
            else return node;
        }
    }

    private Expression Subscript(Expression target)
    {
        int line = Current.Line;
        if (Skip("."))
        {
            Token token = Take();
            return token.Kind switch
            {
                TokenKind.Name => new Attribute(token.Line, target, Str.Trusted(token.Text)),
                TokenKind.Integer => new Item(token.Line, target, new Constant(token.Line, token.Number)),
                _ => throw Fail.Syntax(token.Line, "expected a name or number after '.'"),
            };
        }
        Expect("[");
        var indices = new List<Expression>();
        while (!Current.Is("]"))
        {
            if (indices.Count > 0) Expect(",");
            indices.Add(Index());
        }
        Expect("]");
        if (indices.Count == 0) throw Fail.Syntax(line, "expected an index between '[' and ']'");
        return new Item(line, target, indices.Count == 1 ? indices[0] : new TupleDisplay(line, indices));
    }

    private Expression Index()
    {
        int line = Current.Line;
        Expression? start = null;
        if (!Current.Is(":"))
        {
            start = ParseExpression();
            if (!Current.Is(":")) return start;
        }
        Expect(":");
        Expression? stop = Current.Is("]") || Current.Is(",") || Current.Is(":") ? null : ParseExpression();
        Expression? step = Skip(":") && !Current.Is("]") && !Current.Is(",") ? ParseExpression() : null;
        return new Slice(line, start, stop, step);
    }

    protected Call ParseCall(Expression target) => new(Current.Line, target, CallArguments());

    private Arguments CallArguments()
    {
        Expect("(");
        List<Expression> positional = [];
        List<KeyValuePair<string, Expression>> named = [];
        Expression? morePositional = null, moreNamed = null;
        bool first = true;
        while (!Current.Is(")"))
        {
            if (!first) Expect(",");
            first = false;
            if (Current.Is(")")) break;
            if (Current.Is("*") && morePositional is null && moreNamed is null) { Take(); morePositional = ParseExpression(); }
            else if (Current.Is("**") && moreNamed is null) { Take(); moreNamed = ParseExpression(); }
            else if (Current.Kind == TokenKind.Name && Next.Is("=") && moreNamed is null)
            {
                string key = Take().Text;
                Take();
                named.Add(new(key, ParseExpression()));
            }
            else if (named.Count == 0 && morePositional is null && moreNamed is null) positional.Add(ParseExpression());
            else throw Error("invalid order of arguments in a call");
        }
        Expect(")");
        return new(positional, named, morePositional, moreNamed);
    }

    private string DottedName(string what)
    {
        string name = Expect(TokenKind.Name, what).Text;
        while (Current.Is(".") && Next.Kind == TokenKind.Name)
        {
            Take();
            name += "." + Take().Text;
        }
        return name;
    }

    /// <summary>|name(…)|name…; without an operand the first bar is not there: the form of {% filter %} and {% set x | … %}.</summary>
    protected Expression Filters(Expression? node, bool startsInline = false)
    {
        while (Current.Is("|") || startsInline)
        {
            if (!startsInline) Take();
            startsInline = false;
            int line = Current.Line;
            string name = DottedName("a filter's name");
            if (Soft == 0 && !Jinja.Filters.All.ContainsKey(name)) unknown.Add((line, $"no filter named '{name}'"));
            node = new FilterCall(line, node, name, Current.Is("(") ? CallArguments() : Arguments.None);
        }
        return node!;
    }

    private TestCall Test(Expression node)
    {
        int line = Take().Line;
        bool negated = Skip("not");
        string name = DottedName("a test's name");
        if (Soft == 0 && !Tests.All.ContainsKey(name)) unknown.Add((line, $"no test named '{name}'"));
        Arguments arguments = Arguments.None;
        if (Current.Is("(")) arguments = CallArguments();
        else if (Current.Kind is TokenKind.String or TokenKind.Integer or TokenKind.Float || Current.Kind == TokenKind.Name && Current.Text is not ("else" or "or" or "and")
            || Current.Kind == TokenKind.Operator && Current.Text is "[" or "{")
        {
            if (Current.Is("is")) throw Error("tests cannot be chained with 'is'");
            arguments = new([Postfix(Primary())], [], null, null);
        }
        return new TestCall(line, node, name, arguments, negated);
    }
}
