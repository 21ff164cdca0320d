using System.Text;
using System.Text.Json;
using DeepSeek.Text;
using DeepSeek.Text.ToolCalls;

namespace DeepSeek.Generation;

/// <summary>The calls of one answer as the model wrote them: its tokens up to the last call's end. Immutable.</summary>
/// <param name="Calls">What they were read as.</param>
/// <param name="Context">The end of the prompt that they answer.</param>
/// <param name="Text">The text of <paramref name="Tokens"/>.</param>
/// <param name="Block">Where the calls' markup stands in it; what is behind belongs to the last token.</param>
/// <param name="Tokens">From the answer's first token to the one with the markup's end.</param>
/// <param name="BlockToken">The token that the markup begins with; −1 where it begins inside one.</param>
internal sealed record WrittenCalls(IReadOnlyList<ToolCall> Calls, string Context, string Text, TextRange Block, int[] Tokens, int BlockToken)
{
    /// <summary>Characters of the prompt that tell whether a call is written at the same place again.</summary>
    private const int ContextLength = 32;

    /// <summary>Arguments with which all of a dialect's markup is written.</summary>
    private static readonly JsonElement Arguments = JsonElement.Parse("""{"a": "b", "c": 1}""");

    /// <summary>What it takes, about.</summary>
    public long Bytes { get; } = 256 + 2L * Text.Length + 4L * Tokens.Length + Calls.Sum(c => 256L + 2L * c.Name.Length + c.Arguments.GetRawText().Length);

    /// <summary>What is behind the markup in the last token.</summary>
    public ReadOnlySpan<char> Tail => Text.AsSpan(Block.End);

    /// <summary>
    /// What an answer's tokens say about its calls; null where the calls are not one stretch of whole markup, or where there are control tokens that do not belong to it: once more in
    /// a prompt, they could open a turn of somebody else.
    /// </summary>
    /// <param name="tokenizer">Whose tokens they are.</param>
    /// <param name="dialect">How calls are written.</param>
    /// <param name="hidden">Tokens that are no text.</param>
    /// <param name="prompt">The text that was answered.</param>
    /// <param name="answer">The answer.</param>
    /// <param name="calls">The calls that were given out.</param>
    /// <param name="blocks">Where the markup of each stands in the answer's text.</param>
    public static WrittenCalls? From(Tokenizer tokenizer, ToolCallDialect dialect, ReadOnlySpan<int> hidden, string prompt, ReadOnlySpan<int> answer, IReadOnlyList<ToolCall> calls, IReadOnlyList<TextRange> blocks)
    {
        var stream = new TokenStream(tokenizer);
        var text = new StringBuilder();
        int start = blocks[0].Start, end = blocks[^1].End, count = 0, blockToken = -1;
        for (; count < answer.Length && text.Length < end; count++)
        {
            int before = text.Length;
            if (!hidden.Contains(answer[count])) text.Append(stream.Add(answer[count]));
            if (before == start && text.Length > start) blockToken = count;
        }
        if (text.Length < end) return null;
        int[] known = tokenizer.Encode(ReasoningSplitter.Open + ReasoningSplitter.Close + dialect.Write([("f", Arguments), ("f", Arguments)]), parseSpecialTokens: true);
        foreach (int id in answer[..count])
            if ((tokenizer.IsControl(id) || tokenizer.IsAdded(id)) && !known.Contains(id)) return null;
        string written = text.ToString();
        for (int i = 1; i < blocks.Count; i++)
            if (blocks[i] != blocks[i - 1] && !string.IsNullOrWhiteSpace(written[blocks[i - 1].End..blocks[i].Start])) return null; // templates write text in front of calls
        end = start + written.AsSpan(start, end - start).TrimEnd().Length;
        if (!written.AsSpan(start, end - start).EndsWith(dialect.Closing)) return null;
        return new WrittenCalls([.. calls], prompt[Math.Max(0, prompt.Length - ContextLength)..], written, new TextRange(start, end), answer[..count].ToArray(), blockToken);
    }

    /// <summary>The caller hands back these calls and no others, unchanged.</summary>
    public bool Are(IReadOnlyList<ToolCall> calls) => calls.Count == Calls.Count && calls.Zip(Calls).All(c => c.First.Id == c.Second.Id && c.First.Name == c.Second.Name && JsonElement.DeepEquals(c.First.Arguments, c.Second.Arguments));
}

/// <summary>The calls that a model wrote lately, by the id of the first of an answer. The longest unused go where there are too many. Thread-safe.</summary>
/// <param name="maxCount">Most answers.</param>
/// <param name="maxBytes">Most memory, about.</param>
internal sealed class WrittenCallStore(int maxCount = WrittenCallStore.DefaultMaxCount, long maxBytes = WrittenCallStore.DefaultMaxBytes)
{
    /// <summary>Answers that are remembered at most.</summary>
    public const int DefaultMaxCount = 4096;

    /// <summary>Memory that they take at most: 16 MiB.</summary>
    public const long DefaultMaxBytes = 16 << 20;

    private readonly Lock gate = new();
    private readonly Dictionary<string, LinkedListNode<WrittenCalls>> byId = [];
    private readonly LinkedList<WrittenCalls> byUse = [];

    /// <summary>Answers that are remembered.</summary>
    public int Count
    {
        get { lock (gate) return byUse.Count; }
    }

    /// <summary>Memory that they take, about.</summary>
    public long Bytes { get; private set; }

    public void Add(WrittenCalls written)
    {
        if (written.Bytes > maxBytes) return;
        lock (gate)
        {
            byId.Add(written.Calls[0].Id, byUse.AddFirst(written));
            Bytes += written.Bytes;
            while (byUse.Count > maxCount || Bytes > maxBytes)
            {
                WrittenCalls oldest = byUse.Last!.Value;
                byUse.RemoveLast();
                byId.Remove(oldest.Calls[0].Id);
                Bytes -= oldest.Bytes;
            }
        }
    }

    /// <summary>How the model wrote these calls; null where that is gone, or they were changed since.</summary>
    public WrittenCalls? Find(IReadOnlyList<ToolCall> calls)
    {
        LinkedListNode<WrittenCalls>? node;
        lock (gate)
        {
            if (!byId.TryGetValue(calls[0].Id, out node)) return null;
            byUse.Remove(node);
            byUse.AddFirst(node);
        }
        return node.Value.Are(calls) ? node.Value : null;
    }
}
