using System.Security.Cryptography;
using DeepSeek.Text;
using DeepSeek.Text.ToolCalls;

namespace DeepSeek.Generation;

/// <summary>Turns a request's tokens into updates, on the consumer's side: characters, reasoning, calls, stop strings. For one answer and one thread.</summary>
/// <param name="tokenizer">Whose tokens they are.</param>
/// <param name="hidden">Tokens that end turns: they are no text.</param>
/// <param name="parser">Tells reasoning and calls from text; null: all is text.</param>
/// <param name="stops">Strings that end the answer.</param>
/// <param name="allowsSeveralCalls">Whether more than one call is wanted.</param>
internal sealed class AnswerReader(Tokenizer tokenizer, int[] hidden, OutputParser? parser, IReadOnlyList<string>? stops, bool allowsSeveralCalls)
{
    private readonly TokenStream stream = new(tokenizer, skipSpecialTokens: parser is null);
    private readonly StopDetector? stop = stops is { Count: > 0 } ? new StopDetector(stops) : null;
    private readonly List<GeneratedToken> pending = [];
    private readonly List<ToolCall> calls = [];
    private readonly List<TextRange> blocks = [];
    private bool isCallLeftOut;

    /// <summary>A stop string has come, or the only call that is allowed: the rest is not wanted.</summary>
    public bool Stopped { get; private set; }

    /// <summary>Whether tools were called.</summary>
    public bool HasCalls => calls.Count > 0;

    /// <summary>Tokens whose text has not come out yet.</summary>
    public IReadOnlyList<GeneratedToken> Pending => pending;

    /// <summary>Takes a token; adds what it decides.</summary>
    public void Add(GeneratedToken token, List<GenerationUpdate> updates)
    {
        pending.Add(token);
        if (!hidden.AsSpan().Contains(token.Id)) Feed(new string(stream.Add(token.Id)), updates);
    }

    /// <summary>The answer is over: what was held back comes out.</summary>
    public void Finish(List<GenerationUpdate> updates)
    {
        if (Stopped) return;
        Feed(new string(stream.Flush()), updates);
        if (parser is not null && !Stopped) Emit(parser.Finish(), updates);
        if (!Stopped && stop?.Flush() is { Length: > 0 } rest) Update(UpdateKind.Answer, rest, updates);
    }

    /// <summary>The calls as the model wrote them, for the next prompt; null where there are none, or where the prompt cannot hold them as they are.</summary>
    /// <param name="prompt">The prompt's text.</param>
    /// <param name="answer">All tokens of the answer.</param>
    public WrittenCalls? Written(string prompt, ReadOnlySpan<int> answer)
        => HasCalls && !isCallLeftOut ? WrittenCalls.From(tokenizer, parser!.Dialect!, hidden, prompt, answer, calls, blocks) : null;

    private void Feed(string text, List<GenerationUpdate> updates)
    {
        if (text.Length == 0) return;
        if (parser is not null) Emit(parser.Feed(text), updates);
        else Answer(text, updates);
    }

    private void Emit(IReadOnlyList<OutputEvent> events, List<GenerationUpdate> updates)
    {
        foreach (OutputEvent e in events)
        {
            if (Stopped)
            {
                isCallLeftOut |= HasCalls && e.Block == blocks[^1];
                return;
            }
            switch (e.Kind)
            {
                case OutputKind.Reasoning:
                    Update(UpdateKind.Reasoning, e.Text, updates);
                    break;
                case OutputKind.Content:
                    Answer(e.Text, updates);
                    break;
                default:
                    if (stop?.Flush() is { Length: > 0 } held) Update(UpdateKind.Answer, held, updates);
                    var call = new ToolCall(NewId(), e.Call!.Name, e.Call.Arguments);
                    calls.Add(call);
                    blocks.Add(e.Block);
                    updates.Add(new GenerationUpdate(UpdateKind.ToolCall, "") { ToolCall = call, Tokens = Released() });
                    Stopped = !allowsSeveralCalls;
                    break;
            }
        }
    }

    private void Answer(string text, List<GenerationUpdate> updates)
    {
        if (stop is not null) text = stop.Add(text);
        if (text.Length > 0) Update(UpdateKind.Answer, text, updates);
        if (stop?.Stopped == true) Stopped = true;
    }

    private void Update(UpdateKind kind, string text, List<GenerationUpdate> updates) => updates.Add(new GenerationUpdate(kind, text) { Tokens = Released() });

    private GeneratedToken[] Released()
    {
        GeneratedToken[] tokens = [.. pending];
        pending.Clear();
        return tokens;
    }

    /// <summary>Ids of calls are made here, because models do not write them: 96 random bits.</summary>
    private static string NewId() => "call_" + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(12));
}
