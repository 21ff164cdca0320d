namespace DeepSeek.Text.Jinja;

/// <summary>Statements, as https://jinja.palletsprojects.com/en/stable/templates/ describes them, with break and continue, and transformers' {% generation %}.</summary>
internal sealed class Parser : ExpressionParser
{
    private readonly Dictionary<string, Block> blocks = [];
    private int loops;

    private Parser(List<Token> tokens) : base(tokens) { }

    public static Program Parse(string template)
    {
        var parser = new Parser(Lexer.Tokenize(template));
        List<Node> body = parser.Body(null, []);
        parser.CheckNames();
        return new(body, parser.blocks);
    }

    /// <summary>Statements up to one of the closing tags (whose name is the current token then), or to the end of the template.</summary>
    private List<Node> Body(string? tag, string[] ends)
    {
        Nest();
        var body = new List<Node>();
        while (true)
        {
            Token token = Current;
            switch (token.Kind)
            {
                case TokenKind.End:
                    if (tag is not null) throw Error($"the template ends inside a '{tag}' block; expected {string.Join(" or ", ends.Select(e => $"'{e}'"))}");
                    Unnest();
                    return body;
                case TokenKind.Data:
                    Take();
                    body.Add(new Text(token.Line, Str.Trusted(token.Text)));
                    break;
                case TokenKind.VariableBegin:
                    Take();
                    body.Add(new Output(token.Line, [ParseTuple()]));
                    Expect(TokenKind.VariableEnd, "'}}'");
                    break;
                default:
                    Take();
                    if (Current.Kind == TokenKind.Name && ends.Contains(Current.Text))
                    {
                        Unnest();
                        return body;
                    }
                    body.Add(Statement());
                    Expect(TokenKind.BlockEnd, "'%}'");
                    break;
            }
        }
    }

    /// <summary>The body of a tag that is being read, and its end tag but for '%}'.</summary>
    private List<Node> BodyOf(string tag)
    {
        Expect(TokenKind.BlockEnd, "'%}'");
        int outer = Soft;
        if (tag != "if") Soft = 0;
        List<Node> body = Body(tag, ["end" + tag]);
        Soft = outer;
        Take();
        return body;
    }

    private Node Statement()
    {
        Token tag = Expect(TokenKind.Name, "the name of a tag");
        switch (tag.Text)
        {
            case "if": return ParseIf(tag.Line);
            case "for": return ParseFor(tag.Line);
            case "set": return ParseSet(tag.Line);
            case "macro": return ParseMacro(tag.Line);
            case "call": return ParseCallBlock(tag.Line);
            case "with": return ParseWith(tag.Line);
            case "block": return ParseBlock(tag.Line);
            case "filter": return new Filtered(tag.Line, (FilterCall)Filters(null, startsInline: true), BodyOf("filter"));
            case "autoescape": return new Scoped(tag.Line, ParseExpression(), BodyOf("autoescape"));
            case "generation": return new Scoped(tag.Line, null, BodyOf("generation"));
            case "print":
                var values = new List<Expression>();
                while (Current.Kind != TokenKind.BlockEnd)
                {
                    if (values.Count > 0) Expect(",");
                    values.Add(ParseExpression());
                }
                return new Output(tag.Line, values);
            case "break" or "continue":
                if (loops == 0) throw Fail.Syntax(tag.Line, $"'{tag.Text}' outside a loop");
                return new Jump(tag.Line, tag.Text == "break");
            case "include" or "import" or "from" or "extends":
                ParseExpression();
                while (Current.Kind is not (TokenKind.BlockEnd or TokenKind.End)) Take();
                return new Load(tag.Line, tag.Text);
            default:
                throw Fail.Syntax(tag.Line, $"unknown tag '{tag.Text}'");
        }
    }

    private If ParseIf(int line)
    {
        Soft++;
        var branches = new List<(Expression, List<Node>)>();
        List<Node> otherwise = [];
        do
        {
            Expression test = ParseTuple(withCondition: false);
            Expect(TokenKind.BlockEnd, "'%}'");
            branches.Add((test, Body("if", ["elif", "else", "endif"])));
        }
        while (Take().Text is string end && (end == "elif" || end == "else" && Else()));
        Soft--;
        return new(line, branches, otherwise);

        bool Else()
        {
            otherwise = BodyOf("if");
            return false;
        }
    }

    private For ParseFor(int line)
    {
        Expression target = Target(t => t.Is("in"));
        if (target is Name { Id: "loop" }) throw Fail.Syntax(line, "'loop' cannot be the variable of a loop");
        Expect("in");
        Expression items = ParseTuple(withCondition: false, isEnd: t => t.Is("recursive"));
        Expression? test = Skip("if") ? ParseExpression() : null;
        bool recursive = Skip("recursive");
        Expect(TokenKind.BlockEnd, "'%}'");
        int outer = Soft;
        Soft = 0;
        loops++;
        List<Node> body = Body("for", ["endfor", "else"]);
        loops--;
        Soft = outer;
        List<Node> otherwise = Take().Text == "else" ? BodyOf("for") : [];
        return new(line, target, items, test, recursive, body, otherwise);
    }

    private Node ParseSet(int line)
    {
        Expression target = Target(t => t.Is("="), withNamespace: true);
        if (Skip("=")) return new Assign(line, target, ParseTuple());
        FilterCall? filter = Current.Is("|") ? (FilterCall)Filters(null) : null;
        return new AssignBlock(line, target, filter, BodyOf("set"));
    }

    /// <summary>What is assigned to: a name, an attribute of a namespace, or a tuple of targets.</summary>
    private Expression Target(Func<Token, bool> isEnd, bool withNamespace = false)
    {
        int line = Current.Line;
        var targets = new List<Expression>();
        bool isTuple = false;
        do
        {
            if (targets.Count > 0) isTuple = true;
            if (isEnd(Current) || Current.Kind == TokenKind.BlockEnd || Current.Is(")")) break;
            targets.Add(OneTarget(withNamespace));
        }
        while (Skip(","));
        if (targets.Count == 0) throw Error($"expected a variable, found {Current}");
        return isTuple ? new TupleDisplay(line, targets) : targets[0];
    }

    private Expression OneTarget(bool withNamespace)
    {
        if (Current.Is("(") || Current.Is("["))
        {
            string close = Take().Text == "(" ? ")" : "]";
            Nest();
            Expression inner = Target(t => t.Is(close), withNamespace);
            Unnest();
            Expect(close);
            return inner;
        }
        Token name = Expect(TokenKind.Name, "a variable");
        if (name.Text is "true" or "false" or "none" or "True" or "False" or "None") throw Fail.Syntax(name.Line, $"cannot assign to '{name.Text}'");
        if (!withNamespace || !Skip(".")) return new Name(name.Line, name.Text);
        return new NamespaceTarget(name.Line, name.Text, Expect(TokenKind.Name, "an attribute").Text);
    }

    private MacroDefinition ParseMacro(int line)
    {
        string name = Expect(TokenKind.Name, "a macro's name").Text;
        return new(line, name, MacroOf("macro", Parameters()));
    }

    private CallBlock ParseCallBlock(int line)
    {
        var parameters = Current.Is("(") ? Parameters() : [];
        if (ParseExpression() is not Call call) throw Error("expected a call");
        return new(line, call, MacroOf("call", parameters));
    }

    private MacroBody MacroOf(string tag, List<(string, Expression?)> parameters)
    {
        int outer = loops;
        loops = 0;
        Mentioned.Push([]);
        List<Node> body = BodyOf(tag);
        loops = outer;
        HashSet<string> uses = Mentioned.Pop();
        uses.IntersectWith(["varargs", "kwargs", "caller"]);
        return new(parameters, body, uses);
    }

    private List<(string Id, Expression? Default)> Parameters()
    {
        Expect("(");
        var parameters = new List<(string, Expression?)>();
        while (!Current.Is(")"))
        {
            if (parameters.Count > 0) Expect(",");
            string name = Expect(TokenKind.Name, "a parameter").Text;
            Expression? value = Skip("=") ? ParseExpression() : null;
            if (value is null && parameters is [.., (_, not null)]) throw Error("a parameter without a default follows one with a default");
            parameters.Add((name, value));
        }
        Expect(")");
        return parameters;
    }

    private With ParseWith(int line)
    {
        var variables = new List<(Expression, Expression)>();
        while (Current.Kind != TokenKind.BlockEnd)
        {
            if (variables.Count > 0) Expect(",");
            Expression target = OneTarget(false);
            Expect("=");
            variables.Add((target, ParseExpression()));
        }
        return new(line, variables, BodyOf("with"));
    }

    private Block ParseBlock(int line)
    {
        string name = Expect(TokenKind.Name, "a block's name").Text;
        bool scoped = false;
        for (bool more = true; more;)
        {
            if (Skip("scoped")) scoped = true;
            else if (!Skip("required")) more = false;
        }
        int outer = loops;
        loops = 0;
        var block = new Block(line, name, scoped, BodyOf("block"));
        loops = outer;
        if (Current.Is(name)) Take();
        if (!blocks.TryAdd(name, block)) throw Fail.Syntax(line, $"block '{name}' is defined twice");
        return block;
    }
}
