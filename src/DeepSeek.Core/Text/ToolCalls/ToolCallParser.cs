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
internal sealed class ToolCallParser(ToolCallDialect dialect)
{
    private readonly StringBuilder pending = new();
    private bool inBlock;
    private bool isFirst = true;
    private bool followsCall;
    private int nextAttempt;

    /// <summary>Takes the next piece; <paramref name="isFinal"/>: it is the last.</summary>
    public void Feed(string text, List<OutputEvent> events, bool isFinal)
    {
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
                inBlock = false;
                return;
            }
            int textLength = rest.AsSpan(0, marker).TrimEnd().Length;
            Content(rest[..textLength], events, isFinal: false);
            List<ParsedCall> calls = [];
            switch (dialect.Read(rest.AsSpan(marker), isFinal, calls, out int length))
            {
                case Outcome.Incomplete when !isFinal:
                    pending.Append(rest.AsSpan(textLength));
                    inBlock = true;
                    nextAttempt = pending.Length < 256 ? 0 : pending.Length / 4 * 5;
                    return;
                case Outcome.Complete:
                    foreach (ParsedCall call in calls) events.Add(new(OutputKind.ToolCall, "", call));
                    followsCall = true;
                    isFirst = false;
                    rest = rest[(marker + length)..];
                    break;
                default:
                    Content(rest[textLength..(marker + markerLength)], events, isFinal: false);
                    isFirst = false;
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
