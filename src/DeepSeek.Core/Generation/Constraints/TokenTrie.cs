using DeepSeek.Text;

namespace DeepSeek.Generation.Constraints;

/// <summary>The bytes of a token; empty for a token without text.</summary>
internal delegate ReadOnlySpan<byte> TokenSpelling(int id);

/// <summary>
/// A vocabulary as a tree over bytes, laid out in preorder, so that a walk that leaves out subtrees reads memory forwards. Tokens that stand for
/// something else than their text (control tokens, added tokens) are spelled FF and their id in three bytes: FF occurs in no UTF-8, so that only a
/// grammar that names such a token lets it pass. Immutable.
/// </summary>
internal sealed class TokenTrie
{
    /// <summary>The first byte of a token that is named by its id.</summary>
    public const byte Marker = 0xFF;

    private readonly TokenSpelling spelling;
    private readonly Func<int, bool> isNamed;
    private readonly HashSet<int> ends;

    private TokenTrie(int tokenCount, int rows, TokenSpelling spelling, Func<int, bool> isNamed, IEnumerable<int> endTokens)
    {
        (TokenCount, Rows, this.spelling, this.isNamed) = (tokenCount, rows, spelling, isNamed);
        ends = [.. endTokens];
        var tokens = new List<(byte[] Bytes, int Id)>(tokenCount);
        var name = new byte[4];
        ByteSet single = ByteSet.Of(Marker);
        for (int id = 0; id < tokenCount; id++)
        {
            if (ends.Contains(id)) continue;
            byte[] bytes = Spell(id, name).ToArray();
            if (bytes.Length == 0) continue;
            if (bytes.Length == 1) single |= ByteSet.Of(bytes[0]);
            LongestToken = Math.Max(LongestToken, bytes.Length);
            tokens.Add((bytes, id));
        }
        Alphabet = single;
        tokens.Sort(static (x, y) => x.Bytes.AsSpan().SequenceCompareTo(y.Bytes));
        (Nodes, TokenIds) = LayOut(tokens);
    }

    public int TokenCount { get; }

    /// <summary>Rows of logits: the vocabulary, rounded up by some models.</summary>
    public int Rows { get; }

    /// <summary>Bytes of the longest token.</summary>
    public int LongestToken { get; }

    /// <summary>Bytes that are a token by themselves: whatever they spell can be written.</summary>
    public ByteSet Alphabet { get; }

    /// <summary>In preorder; node 0 is the root.</summary>
    public Node[] Nodes { get; }

    /// <summary>By node: those of node i lie from its <see cref="Node.Tokens"/> up to that of node i + 1.</summary>
    public int[] TokenIds { get; }

    public IReadOnlyCollection<int> EndTokens => ends;

    /// <summary>The vocabulary of a tokenizer.</summary>
    /// <param name="tokenizer">Whose end-of-turn tokens end a text.</param>
    /// <param name="rows">Rows of the model's logits.</param>
    /// <param name="moreEndTokens">Further tokens that end a text.</param>
    public static TokenTrie Of(Tokenizer tokenizer, int rows, params IEnumerable<int> moreEndTokens) =>
        new(Math.Min(tokenizer.VocabularySize, rows), rows, tokenizer.TokenBytes, id => tokenizer.IsControl(id) || tokenizer.IsAdded(id), [.. tokenizer.EndOfTurnIds, .. moreEndTokens]);

    /// <summary>A vocabulary from its parts.</summary>
    public static TokenTrie Of(int tokenCount, int rows, TokenSpelling spelling, Func<int, bool> isNamed, IEnumerable<int> endTokens) =>
        new(tokenCount, rows, spelling, isNamed, endTokens);

    public bool IsEnd(int token) => ends.Contains(token);

    /// <summary>What a grammar sees of a token; nothing where it would look like the name of another.</summary>
    /// <param name="token">The token.</param>
    /// <param name="name">Room for four bytes, used where the token is named by its id.</param>
    public ReadOnlySpan<byte> Spell(int token, Span<byte> name)
    {
        if (!isNamed(token)) return spelling(token) is var text && text.Contains(Marker) ? [] : text;
        (name[0], name[1], name[2], name[3]) = (Marker, (byte)(token >> 16), (byte)(token >> 8), (byte)token);
        return name;
    }

    /// <summary>How a grammar names a token that stands for something else than its text.</summary>
    public static byte[] Name(int token) => [Marker, (byte)(token >> 16), (byte)(token >> 8), (byte)token];

    private static (Node[] Nodes, int[] Ids) LayOut(List<(byte[] Bytes, int Id)> tokens)
    {
        var nodes = new List<Node> { new(0, 0) };
        var path = new List<int> { 0 };
        var ids = new int[tokens.Count];
        byte[] previous = [];
        for (int i = 0; i < tokens.Count; i++)
        {
            byte[] bytes = tokens[i].Bytes;
            int common = previous.AsSpan().CommonPrefixLength(bytes);
            Close(common);
            for (int d = common; d < bytes.Length; d++)
            {
                path.Add(nodes.Count);
                nodes.Add(new(bytes[d], (ushort)(d + 1)) { Tokens = i });
            }
            ids[i] = tokens[i].Id;
            previous = bytes;
        }
        Close(-1);
        nodes.Add(new(0, 0) { Tokens = tokens.Count });
        return ([.. nodes], ids);

        void Close(int depth)
        {
            while (path.Count > depth + 1)
            {
                nodes[path[^1]] = nodes[path[^1]] with { End = nodes.Count };
                path.RemoveAt(path.Count - 1);
            }
        }
    }

    /// <summary>A node of the tree.</summary>
    /// <param name="Label">The byte that leads here.</param>
    /// <param name="Depth">Bytes from the root.</param>
    public readonly record struct Node(byte Label, ushort Depth)
    {
        /// <summary>The node behind this one's subtree.</summary>
        public int End { get; init; }

        /// <summary>Where its tokens begin in <see cref="TokenIds"/>.</summary>
        public int Tokens { get; init; }
    }
}
