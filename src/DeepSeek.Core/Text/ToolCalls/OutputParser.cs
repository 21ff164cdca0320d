using System.Text;

namespace DeepSeek.Text.ToolCalls;

/// <summary>
/// Splits a model's output into reasoning, content and tool calls while it streams. However the text is cut, the events add up to the same.
/// Nothing is lost but the markup of well-formed parts and the blank lines around it; what is malformed comes out as content, verbatim.
/// </summary>
/// <param name="dialect">How the model writes calls; null where tools are off: then nothing is a call.</param>
/// <param name="startsInReasoning">The prompt ended inside an open &lt;think&gt;.</param>
/// <param name="onlyFirst">One call is wanted; what comes behind a second one is lost.</param>
internal sealed class OutputParser(ToolCallDialect? dialect, bool startsInReasoning, bool onlyFirst = false)
{
    private readonly ReasoningSplitter splitter = new(startsInReasoning);
    private readonly ToolCallParser? calls = dialect?.CreateParser(onlyFirst);
    private readonly StringBuilder reasoning = new();
    private readonly StringBuilder answer = new();
    private int taken, passed;

    /// <summary>How the model writes calls; null where tools are off.</summary>
    public ToolCallDialect? Dialect => dialect;

    /// <summary>The text so far ends inside the reasoning.</summary>
    public bool IsReasoning => splitter.IsReasoning;

    /// <summary>There was a reasoning part, be it empty.</summary>
    public bool HasReasoning => splitter.HasReasoning;

    /// <summary>Takes the next piece of text and gives what it decides.</summary>
    public IReadOnlyList<OutputEvent> Feed(string text)
    {
        taken += text.Length;
        splitter.Feed(text, reasoning, answer);
        return Collect(isFinal: false);
    }

    /// <summary>The output is over.</summary>
    public IReadOnlyList<OutputEvent> Finish()
    {
        splitter.Finish(reasoning, answer);
        return Collect(isFinal: true);
    }

    private List<OutputEvent> Collect(bool isFinal)
    {
        List<OutputEvent> events = [];
        if (reasoning.Length > 0) events.Add(new(OutputKind.Reasoning, reasoning.ToString()));
        passed += answer.Length;
        // Behind the thought and the blank lines after it the output is passed on as it is: what is missing of it stands in front.
        if (calls is not null) calls.Feed(answer.ToString(), taken - passed, events, isFinal);
        else if (answer.Length > 0) events.Add(new(OutputKind.Content, answer.ToString()));
        reasoning.Clear();
        answer.Clear();
        return events;
    }
}
