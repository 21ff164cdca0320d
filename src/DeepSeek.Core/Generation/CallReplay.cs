using System.Text;
using System.Text.Json;
using DeepSeek.Text;
using DeepSeek.Text.ToolCalls;

namespace DeepSeek.Generation;

/// <summary>
/// Exchanges the calls that a template wrote for the tokens that the model wrote them with, so that what was computed for them is found in the cache: other blanks, another order of
/// members or other token borders would be another prompt. The template decides what stands where; only what reads as the very same calls is exchanged.
/// </summary>
internal static class CallReplay
{
    /// <summary>The prompt's tokens, and the text that they stand for.</summary>
    /// <param name="prompt">What the template wrote.</param>
    /// <param name="messages">The conversation.</param>
    /// <param name="dialect">How the model writes calls; null where it writes none.</param>
    /// <param name="store">What it wrote lately.</param>
    /// <param name="tokenizer">The model's.</param>
    /// <param name="parseUntrusted">Whether the caller's words may become control tokens too.</param>
    public static (string Text, int[] Tokens) Encode(RenderedPrompt prompt, IReadOnlyList<Message> messages, ToolCallDialect? dialect, WrittenCallStore store, Tokenizer tokenizer, bool parseUntrusted)
    {
        var text = new StringBuilder();
        var tokens = new List<int>();
        int from = 0, done = 0;
        foreach (Message message in messages)
        {
            if (dialect is null || message.ToolCalls.Count == 0 || Find(prompt, from, dialect, message.ToolCalls) is not { } place) continue;
            from = place.End;
            if (store.Find(message.ToolCalls) is not { } written || Exchange(prompt.Text, done, place, written) is not { } exchange) continue;
            Append(exchange.Place.Start);
            text.Append(written.Text.AsSpan(exchange.FirstToken == 0 ? 0 : written.Block.Start));
            tokens.AddRange(written.Tokens.AsSpan(exchange.FirstToken));
            done = from = exchange.Place.End;
        }
        if (done == 0) return (prompt.Text, tokenizer.Encode(prompt, parseUntrusted));
        Append(prompt.Text.Length);
        return (text.ToString(), [.. tokens]);

        void Append(int end)
        {
            RenderedPrompt part = prompt.Slice(done, end);
            text.Append(part.Text);
            tokens.AddRange(tokenizer.Encode(part, parseUntrusted));
        }
    }

    /// <summary>Where a template wrote these calls; null where it did not, or otherwise.</summary>
    private static TextRange? Find(RenderedPrompt prompt, int from, ToolCallDialect dialect, IReadOnlyList<ToolCall> calls)
    {
        var read = new List<ParsedCall>();
        for (int at = dialect.FindWritten(prompt.Text, from); at >= 0; at = dialect.FindWritten(prompt.Text, at + 1))
        {
            if (prompt.IsUntrusted(at)) continue;
            read.Clear();
            int end = at;
            while (read.Count < calls.Count)
            {
                int next = read.Count == 0 ? at : prompt.Text.Length - prompt.Text.AsSpan(end).TrimStart().Length;
                if (!dialect.ReadWritten(prompt.Text.AsSpan(next), read, out int length)) break;
                end = next + length;
            }
            if (read.Count == calls.Count && read.Zip(calls).All(c => c.First.Name == c.Second.Name && JsonElement.DeepEquals(c.First.Arguments, c.Second.Arguments))) return new TextRange(at, end);
        }
        return null;
    }

    /// <summary>What is exchanged for which of the tokens; null where token borders forbid it.</summary>
    private static (TextRange Place, int FirstToken)? Exchange(string text, int done, TextRange place, WrittenCalls written)
    {
        if (!text.AsSpan(place.End).StartsWith(written.Tail)) return null;
        int end = place.End + written.Tail.Length;
        // Where the whole turn stands as it was written, all of its tokens are the model's, and so are the blanks in front of the call.
        ReadOnlySpan<char> inFront = text.AsSpan(0, place.Start).TrimEnd();
        string original = written.Context + written.Text[..written.Block.Start];
        ReadOnlySpan<char> trimmed = original.AsSpan().TrimEnd();
        if (inFront.EndsWith(trimmed))
        {
            int start = inFront.Length - trimmed.Length + written.Context.Length;
            ReadOnlySpan<char> blanks = trimmed.Length < written.Context.Length ? written.Context.AsSpan(trimmed.Length) : [];
            if (start >= done && start <= place.Start && text.AsSpan(inFront.Length).StartsWith(blanks)) return (new TextRange(start, end), 0);
        }
        // Elsewhere (the template has dropped the thought) the call alone is.
        return written.BlockToken >= 0 ? (new TextRange(place.Start, end), written.BlockToken) : null;
    }
}
