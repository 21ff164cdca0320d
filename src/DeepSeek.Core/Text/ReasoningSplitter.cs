using System.Text;

namespace DeepSeek.Text;

/// <summary>
/// Tells a model's reasoning from its answer while the text streams: reasoning runs from a leading &lt;think&gt; (or from the start, where the prompt opened it) to the first &lt;/think&gt;.
/// Only those exact tags count; all later ones are text. Text is held back only while it may be part of a tag or of the blank lines around it, which are dropped.
/// </summary>
internal sealed class ReasoningSplitter(bool startsInReasoning)
{
    public const string Open = "<think>";
    public const string Close = "</think>";

    private readonly StringBuilder held = new();
    private State state = State.Start;
    private bool skipsNewlines;
    private bool hasOpened;

    private enum State { Start, Reasoning, Answer }

    /// <summary>The text so far ends inside the reasoning.</summary>
    public bool IsReasoning => state == State.Reasoning || state == State.Start && startsInReasoning;

    /// <summary>A reasoning part was opened, by the prompt or by the model; it may be empty.</summary>
    public bool HasReasoning => startsInReasoning || hasOpened;

    /// <summary>A prompt ends inside an open &lt;think&gt;.</summary>
    public static bool IsOpenedBy(string prompt) => prompt.AsSpan().TrimEnd().EndsWith(Open);

    /// <summary>Takes a piece of the output; <paramref name="answer"/> and <paramref name="reasoning"/> are appended to.</summary>
    public void Feed(string text, StringBuilder reasoning, StringBuilder answer)
    {
        held.Append(text);
        Drain(reasoning, answer, isFinal: false);
    }

    /// <summary>The output is over: what was held back is released.</summary>
    public void Finish(StringBuilder reasoning, StringBuilder answer) => Drain(reasoning, answer, isFinal: true);

    private void Drain(StringBuilder reasoning, StringBuilder answer, bool isFinal)
    {
        string text = held.ToString();
        held.Clear();
        if (state == State.Start)
        {
            string begun = text.TrimStart();
            if (begun.StartsWith(Open, StringComparison.Ordinal))
            {
                (state, hasOpened, skipsNewlines) = (State.Reasoning, true, true);
                text = begun[Open.Length..];
            }
            else if (!isFinal && Open.StartsWith(begun, StringComparison.Ordinal))
            {
                held.Append(text);
                return;
            }
            else
            {
                state = startsInReasoning ? State.Reasoning : State.Answer;
                skipsNewlines = startsInReasoning;
            }
        }
        if (state == State.Reasoning)
        {
            int close = text.IndexOf(Close, StringComparison.Ordinal);
            if (close >= 0)
            {
                Release(text.AsSpan(0, close).TrimEnd(), reasoning);
                (state, skipsNewlines) = (State.Answer, true);
                text = text[(close + Close.Length)..];
            }
            else
            {
                int keep = isFinal ? 0 : Markers.HeldLength(text, Close);
                Release(text.AsSpan(0, text.Length - keep), reasoning);
                held.Append(text.AsSpan(text.Length - keep));
                return;
            }
        }
        Release(text, answer);
    }

    private void Release(ReadOnlySpan<char> text, StringBuilder to)
    {
        if (skipsNewlines) text = text.TrimStart("\r\n");
        if (text.Length == 0) return;
        skipsNewlines = false;
        to.Append(text);
    }
}

/// <summary>Literals that may be cut anywhere in a stream.</summary>
internal static class Markers
{
    /// <summary>Length of the tail that may still become white space and then the marker.</summary>
    public static int HeldLength(ReadOnlySpan<char> text, string marker)
    {
        int length = Math.Min(text.Length, marker.Length - 1);
        while (length > 0 && !text.EndsWith(marker.AsSpan(0, length))) length--;
        return text.Length - text[..^length].TrimEnd().Length;
    }
}
