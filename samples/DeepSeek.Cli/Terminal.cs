namespace DeepSeek.Cli;

/// <summary>Colours where the output is a terminal, plain text where it is a file or a pipe. Notices go to standard error, so that answers can be piped.</summary>
internal static class Terminal
{
    private static readonly bool Colours = !Console.IsOutputRedirected && Environment.GetEnvironmentVariable("NO_COLOR") is null or "";

    /// <summary>Text of an answer.</summary>
    public static void Write(string text) => Console.Out.Write(text);

    /// <summary>The model's reasoning: another colour, or marked lines where there are no colours.</summary>
    public static void WriteReasoning(string text) => Console.Out.Write(Colours ? $"\e[36m{text}\e[0m" : text);

    /// <summary>A notice in grey.</summary>
    public static void Notice(string text) => Console.Error.WriteLine(Console.IsErrorRedirected ? text : $"\e[90m{text}\e[0m");

    /// <summary>An error in red.</summary>
    public static void Error(string text) => Console.Error.WriteLine(Console.IsErrorRedirected ? $"error: {text}" : $"\e[31merror:\e[0m {text}");

    /// <summary>A line that the next one replaces; only where standard error is a terminal.</summary>
    public static void Status(string text)
    {
        if (!Console.IsErrorRedirected) Console.Error.Write($"\r\e[K\e[90m{text}\e[0m");
    }

    /// <summary>Clears the status line.</summary>
    public static void EndStatus() => Status("");
}
