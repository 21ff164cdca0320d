using System.Text;

namespace DeepSeek.Text.ToolCalls;

/// <summary>What a text that begins with a dialect's marker turns out to be.</summary>
internal enum Outcome
{
    /// <summary>More text decides.</summary>
    Incomplete,
    /// <summary>Not calls, whatever follows.</summary>
    Malformed,
    /// <summary>Calls.</summary>
    Complete,
}

/// <summary>Finds blocks of calls in text that arrives in pieces.</summary>
/// <param name="dialect">Whose blocks.</param>
/// <param name="onlyFirst">One call is wanted: a list that goes on behind a second one is not waited for.</param>
internal sealed class ToolCallParser(ToolCallDialect dialect, bool onlyFirst)
{
    private readonly StringBuilder pending = new();
    private bool inBlock;
    private bool isFirst = true;
    private bool followsCall;
    private bool isOver;
    private int nextAttempt;

    /// <summary>Where <see cref="pending"/> begins in all of the text.</summary>
    private int start;

    /// <summary>Takes the next piece.</summary>
    /// <param name="text">The piece.</param>
    /// <param name="offset">Characters of the output that this parser was not given; they stand in front of all blocks.</param>
    /// <param name="events">Where what it decides is added.</param>
    /// <param name="isFinal">It is the last.</param>
    public void Feed(string text, int offset, List<OutputEvent> events, bool isFinal)
    {
        if (isOver) return;
        pending.Append(text);
        // A block is looked at when it may have ended, and otherwise ever more rarely: the work stays linear in its length.
        if (inBlock && !isFinal && !text.Contains('>', StringComparison.Ordinal) && pending.Length < nextAttempt) return;
        string rest = pending.ToString();
        pending.Clear();
        while (rest.Length > 0)
        {
            int marker = dialect.FindBlock(rest, isFirst, out int markerLength);
            if (marker < 0)
            {
                int keep = isFinal ? 0 : dialect.HeldLength(rest, isFirst);
                Content(rest[..^keep], events, isFinal);
                pending.Append(rest.AsSpan(rest.Length - keep));
                start += rest.Length - keep;
                inBlock = false;
                return;
            }
            int textLength = rest.AsSpan(0, marker).TrimEnd().Length;
            Content(rest[..textLength], events, isFinal: false);
            List<ParsedCall> calls = [];
            switch (dialect.Read(rest.AsSpan(marker), isFinal, calls, out int length))
            {
                case Outcome.Incomplete when onlyFirst && calls.Count > 1 && dialect.Closing.Length > 0:
                    events.Add(new(OutputKind.ToolCall, "", calls[0], new TextRange(offset + start + marker, offset + start + marker)));
                    isOver = true;
                    return;
                case Outcome.Incomplete when !isFinal:
                    pending.Append(rest.AsSpan(textLength));
                    start += textLength;
                    inBlock = true;
                    nextAttempt = pending.Length < 256 ? 0 : pending.Length / 4 * 5;
                    return;
                case Outcome.Complete:
                    var block = new TextRange(offset + start + marker, offset + start + marker + length);
                    foreach (ParsedCall call in calls) events.Add(new(OutputKind.ToolCall, "", call, block));
                    followsCall = true;
                    isFirst = false;
                    start += marker + length;
                    rest = rest[(marker + length)..];
                    break;
                default:
                    Content(rest[textLength..(marker + markerLength)], events, isFinal: false);
                    isFirst = false;
                    start += marker + markerLength;
                    rest = rest[(marker + markerLength)..];
                    break;
            }
        }
        inBlock = false;
    }

    private void Content(string text, List<OutputEvent> events, bool isFinal)
    {
        if (text.Length == 0 || isFinal && followsCall && string.IsNullOrWhiteSpace(text)) return;
        if (!string.IsNullOrWhiteSpace(text)) isFirst = false;
        followsCall = false;
        events.Add(new(OutputKind.Content, text));
    }
}
