namespace DeepSeek.Generation.Constraints;

/// <summary>
/// The masks of one grammar over one vocabulary, worked out when a state is first met and kept (a bounded number). A state is a set of stacks; where a
/// stack's top is a lexeme (a string, a number), the tokens that stay inside it and the places in the tree where it can end do not depend on what lies
/// below, and are worked out once for all places where it occurs. Safe for concurrent use.
/// </summary>
internal sealed class TokenMasks
{
    /// <summary>Masks kept for each grammar: at 129,280 rows 16 KiB each.</summary>
    public const int MaskLimit = 512;

    /// <summary>Lexeme states kept for each grammar.</summary>
    public const int LexemeLimit = 256;

    /// <summary>Places behind a lexeme for which the tokens that lead out of it are kept.</summary>
    public const int PlaceLimit = 4;

    private readonly Lock gate = new();
    private readonly TermFactory factory;
    private readonly Dictionary<Term, TokenMask> masks = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<Term, LexemeMask> lexemes = new(ReferenceEqualityComparer.Instance);
    private readonly TransitionTable[] path;

    /// <exception cref="InvalidOptionException">The vocabulary lacks bytes without which the grammar has no text.</exception>
    public TokenMasks(Grammar grammar, TokenTrie trie)
    {
        Trie = trie;
        Grammar = IsComplete(trie.Alphabet) ? grammar : grammar.Restrict(trie.Alphabet);
        if (Grammar.IsEmpty && !grammar.IsEmpty)
            throw new InvalidOptionException("No sequence of this model's tokens spells a text that satisfies the output constraint: its vocabulary lacks some bytes. Use characters that the model knows.");
        factory = Grammar.Factory;
        path = new TransitionTable[trie.LongestToken + 1];
    }

    public Grammar Grammar { get; }

    public TokenTrie Trie { get; }

    /// <summary>The tokens that may follow in a state; the end tokens where the text may end.</summary>
    public TokenMask Of(Term state)
    {
        lock (gate)
        {
            if (masks.TryGetValue(state, out TokenMask? mask)) return mask;
            mask = Make(state);
            if (masks.Count >= MaskLimit) masks.Clear();
            return masks[state] = mask;
        }
    }

    /// <summary>Whether every byte that UTF-8 uses is a token by itself.</summary>
    private static bool IsComplete(ByteSet alphabet) => Enumerable.Range(0, 256).All(b => alphabet[(byte)b] || b is 0xC0 or 0xC1 or >= 0xF5);

    private TokenMask Make(Term state)
    {
        var mask = new TokenMask(Trie.Rows);
        var others = new List<Term>();
        var stacks = new List<Term>();
        factory.Stacks(state, stacks);
        foreach (Term stack in stacks)
        {
            Term top = stack.Kind == TermKind.Concat ? stack.First! : stack;
            if (top.Kind is not (TermKind.Lexeme or TermKind.Automaton))
            {
                others.Add(stack);
                continue;
            }
            LexemeMask lexeme = OfLexeme(top);
            mask.Add(lexeme.Inside);
            if (stack.Kind != TermKind.Concat) continue;
            if (top.Nullable) others.Add(stack.Second!);
            if (lexeme.Exits.Length > 0) mask.Add(Leaving(lexeme, stack.Second!));
        }
        if (others.Count > 0) Walk(factory.Alternatives([.. others]), 0, mask, null);
        if (state.Nullable)
            foreach (int end in Trie.EndTokens)
                if (end < Trie.Rows) mask.Add(end);
        return mask;
    }

    /// <summary>Tokens that begin inside a lexeme and end behind it. A long string has as many states as it may have characters: from all of them the same ones lead out.</summary>
    private TokenMask Leaving(LexemeMask lexeme, Term behind)
    {
        if (lexeme.Leaving.TryGetValue(behind, out TokenMask? mask)) return mask;
        mask = new TokenMask(Trie.Rows);
        foreach (int node in lexeme.Exits) Walk(behind, node, mask, null);
        if (lexeme.Leaving.Count >= PlaceLimit) lexeme.Leaving.Clear();
        return lexeme.Leaving[behind] = mask;
    }

    private LexemeMask OfLexeme(Term lexeme)
    {
        lexeme = lexeme.Kind == TermKind.Lexeme ? Saturate(lexeme) : lexeme;
        if (lexemes.TryGetValue(lexeme, out LexemeMask? known)) return known;
        var inside = new TokenMask(Trie.Rows);
        var exits = new List<int>();
        Walk(lexeme, 0, inside, exits);
        if (lexemes.Count >= LexemeLimit) lexemes.Clear();
        return lexemes[lexeme] = new(inside, [.. exits]);
    }

    /// <summary>Adds the tokens below a node that the state lets pass; collects the nodes at which it may end and tokens go on.</summary>
    private void Walk(Term state, int root, TokenMask mask, List<int>? exits)
    {
        TokenTrie.Node[] nodes = Trie.Nodes;
        int[] ids = Trie.TokenIds;
        int end = nodes[root].End;
        path[nodes[root].Depth] = state.Table ?? factory.Expand(state);
        for (int i = root + 1; i < end;)
        {
            ref readonly TokenTrie.Node node = ref nodes[i];
            Term next = path[node.Depth - 1][node.Label];
            if (next.IsEmpty)
            {
                i = node.End;
                continue;
            }
            for (int t = node.Tokens; t < nodes[i + 1].Tokens; t++) mask.Add(ids[t]);
            if (node.End > i + 1)
            {
                path[node.Depth] = next.Table ?? factory.Expand(next);
                if (next.Nullable) exits?.Add(i);
            }
            i++;
        }
    }

    /// <summary>Counts beyond the longest token make no difference to the next one: a string of up to 10,000 characters begins like any other.</summary>
    private Term Saturate(Term t)
    {
        int enough = Trie.LongestToken + 1;
        switch (t.Kind)
        {
            case TermKind.Lexeme: return factory.Lexeme(Saturate(t.First!));
            case TermKind.Concat: return factory.Concat(Saturate(t.First!), Saturate(t.Second!));
            case TermKind.Alternatives: return factory.Alternatives(Array.ConvertAll(t.Items, Saturate));
            case TermKind.Repeat when t.Low > enough || t.High > enough && t.High != Term.Unbounded:
                return factory.Repeat(t.First!, Math.Min(t.Low, enough), t.High > enough ? Term.Unbounded : t.High);
            default: return t;
        }
    }

    /// <summary>A lexeme by itself.</summary>
    /// <param name="Inside">Tokens that end inside it.</param>
    /// <param name="Exits">Nodes at which it may end and something else begin.</param>
    private sealed record LexemeMask(TokenMask Inside, int[] Exits)
    {
        /// <summary>By what is behind it: tokens that lead out of it.</summary>
        public Dictionary<Term, TokenMask> Leaving { get; } = new(ReferenceEqualityComparer.Instance);
    }
}
