using System.Buffers;
using DeepSeek.Text.Unicode;

namespace DeepSeek.Text;

/// <summary>A token that is recognised in the text as it stands, before byte-pair encoding; the flags are those of tokenizer.json.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Content">Its text.</param>
/// <param name="IsSpecial">Whether it controls the model and is left out of text for people.</param>
/// <param name="IsNormalized">Whether it is looked for in the normalised text.</param>
/// <param name="SingleWord">Whether it must not touch other word characters.</param>
/// <param name="StripLeft">Whether it takes the white space in front of it.</param>
/// <param name="StripRight">Whether it takes the white space behind it.</param>
internal sealed record AddedToken(int Id, string Content, bool IsSpecial, bool IsNormalized = false,
    bool SingleWord = false, bool StripLeft = false, bool StripRight = false);

/// <summary>Finds added tokens in a text: leftmost, then longest. Immutable, thread-safe.</summary>
internal sealed class AddedTokens
{
    private readonly Dictionary<(int Node, char Next), int> edges = [];
    private readonly List<AddedToken?> tokenAt = [null];
    private readonly SearchValues<char> firstCharacters;

    public AddedTokens(IEnumerable<AddedToken> tokens)
    {
        var first = new HashSet<char>();
        foreach (AddedToken token in tokens)
        {
            int node = 0;
            first.Add(token.Content[0]);
            foreach (char c in token.Content)
            {
                if (!edges.TryGetValue((node, c), out int child))
                {
                    child = edges[(node, c)] = tokenAt.Count;
                    tokenAt.Add(null);
                }
                node = child;
            }
            tokenAt[node] = token;
        }
        firstCharacters = SearchValues.Create([.. first]);
    }

    public bool IsEmpty => edges.Count == 0;

    /// <summary>The first token at or behind <paramref name="from"/>, and [start, end) that it takes from the text.</summary>
    /// <param name="text">The text.</param>
    /// <param name="untrusted">True where a character must not be part of a token; empty = all may.</param>
    /// <param name="from">Where to begin; text before it is taken already.</param>
    /// <param name="start">Where it starts.</param>
    /// <param name="end">Where it ends.</param>
    public AddedToken? Find(ReadOnlySpan<char> text, ReadOnlySpan<bool> untrusted, int from, out int start, out int end)
    {
        for (int at = from; at < text.Length;)
        {
            int candidate = text[at..].IndexOfAny(firstCharacters);
            if (candidate < 0) break;
            at += candidate;
            AddedToken? token = Longest(text, untrusted, at);
            if (token is null) { at++; continue; }
            (start, end) = (at, at + token.Content.Length);
            if (token.SingleWord && (IsWordBefore(text, start) || IsWordAt(text, end))) { at = end; continue; }
            while (token.StripLeft && start > from && (CharacterTables.Of(text[start - 1]) & CharacterClass.Space) != 0) start--;
            while (token.StripRight && end < text.Length && (CharacterTables.Of(text[end]) & CharacterClass.Space) != 0) end++;
            return token;
        }
        start = end = text.Length;
        return null;
    }

    private AddedToken? Longest(ReadOnlySpan<char> text, ReadOnlySpan<bool> untrusted, int start)
    {
        AddedToken? longest = null;
        int node = 0;
        for (int i = start; i < text.Length && (untrusted.IsEmpty || !untrusted[i]) && edges.TryGetValue((node, text[i]), out node); i++)
            longest = tokenAt[node] ?? longest;
        return longest;
    }

    private static bool IsWordBefore(ReadOnlySpan<char> text, int index)
        => index > 0 && IsWordAt(text, index - (index > 1 && char.IsLowSurrogate(text[index - 1]) ? 2 : 1));

    private static bool IsWordAt(ReadOnlySpan<char> text, int index)
        => index < text.Length && (text[index] == '_' || (CharacterTables.At(text, index, out _) & (CharacterClass.Letter | CharacterClass.Mark | CharacterClass.Number)) != 0);
}
