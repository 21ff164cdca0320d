namespace DeepSeek.Text.Jinja;

/// <summary>
/// What one rendering may use. A template comes from a file that nobody vetted: a loop without end or a string of a billion letters ends in an error after a bounded time, not in a hang.
/// Counts, no clock: the same template and conversation always end the same way.
/// </summary>
internal sealed class Meter
{
    /// <summary>Evaluated nodes and visited items: a second or two.</summary>
    public const long MaxSteps = 20_000_000;

    /// <summary>Characters written, intermediate strings included (a conversation of a million tokens is about four million).</summary>
    public const long MaxCharacters = 128L << 20;

    /// <summary>Nested calls of macros and recursive loops.</summary>
    public const int MaxDepth = 400;

    private long steps;
    private long characters;
    private int depth;

    public void Step(long count = 1)
    {
        if ((steps += count) > MaxSteps || count < 0) throw new ChatTemplateException($"The chat template takes more than {MaxSteps:N0} steps. It probably loops without end; use another template.");
    }

    public void Write(long count)
    {
        if ((characters += count) > MaxCharacters || count < 0)
            throw new ChatTemplateException($"The chat template builds more than {MaxCharacters:N0} characters of text. Shorten the conversation, or use another template.");
    }

    public void Enter()
    {
        if (++depth > MaxDepth) throw new ChatTemplateException($"The chat template calls itself more than {MaxDepth} levels deep.");
        CheckStack();
    }

    public void Leave() => depth--;

    /// <summary>Turns what would be a stack overflow into an error.</summary>
    public static void CheckStack()
    {
        if (!System.Runtime.CompilerServices.RuntimeHelpers.TryEnsureSufficientExecutionStack())
            throw new ChatTemplateException("The chat template, or a value in it, is nested too deeply.");
    }
}
