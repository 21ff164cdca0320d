namespace DeepSeek.Generation.Constraints;

/// <summary>
/// How far one sequence has come in a grammar. Goes back by any number of tokens (drafts that were refused), and is cheap to clone (forks). One thread
/// at a time.
/// </summary>
internal sealed class GrammarMatcher
{
    /// <summary>Bytes that are looked ahead for where the grammar leaves no choice.</summary>
    private const int ForcedLimit = 512;

    private readonly TokenMasks masks;
    private readonly List<Term> history;
    private Term state;

    public GrammarMatcher(TokenMasks masks) : this(masks, masks.Grammar.Start, []) { }

    private GrammarMatcher(TokenMasks masks, Term state, IEnumerable<Term> history) => (this.masks, this.state, this.history) = (masks, state, [.. history]);

    /// <summary>Whether the text may end here.</summary>
    public bool CanEnd => state.Nullable;

    /// <summary>Whether the text has to end here.</summary>
    public bool MustEnd => state.Kind == TermKind.Epsilon;

    /// <summary>The tokens that may come next; the end-of-turn tokens among them exactly where <see cref="CanEnd"/>.</summary>
    public TokenMask Mask => masks.Of(state);

    /// <summary>Tokens (and pieces of text) accepted so far.</summary>
    public int Length => history.Count;

    /// <summary>Goes on by a token; where it is not allowed, nothing changes and the answer is false. An end token is a step that leads nowhere further.</summary>
    public bool TryAccept(int token)
    {
        if ((uint)token >= (uint)masks.Trie.TokenCount) return false;
        if (!masks.Trie.IsEnd(token)) return TryAccept(masks.Trie.Spell(token, stackalloc byte[4]));
        if (!CanEnd) return false;
        history.Add(state);
        state = masks.Grammar.Factory.Epsilon;
        return true;
    }

    /// <summary>Goes on by some text; where it is not allowed, nothing changes and the answer is false.</summary>
    public bool TryAccept(ReadOnlySpan<byte> text)
    {
        Term next = masks.Grammar.Factory.Next(state, text);
        if (text.IsEmpty || next.IsEmpty) return false;
        history.Add(state);
        state = next;
        return true;
    }

    /// <summary>Takes back the last steps.</summary>
    public void Rollback(int steps)
    {
        if (steps == 0) return;
        state = history[^steps];
        history.RemoveRange(history.Count - steps, steps);
    }

    public GrammarMatcher Clone() => new(masks, state, history);

    /// <summary>The bytes that have to come next, as far as the grammar leaves no choice; empty where it does, or where the text may end.</summary>
    public byte[] ForcedText()
    {
        var text = new List<byte>();
        for (Term t = state; text.Count < ForcedLimit && !t.Nullable;)
        {
            TransitionTable table = t.Table ?? masks.Grammar.Factory.Expand(t);
            int only = -1;
            for (int b = 0; b < 256 && only != 256; b++)
                if (!table[(byte)b].IsEmpty) only = only < 0 ? b : 256;
            // A token that is named by its id is no text.
            if (only is 256 or TokenTrie.Marker or < 0) break;
            text.Add((byte)only);
            t = table[(byte)only];
        }
        return [.. text];
    }
}
