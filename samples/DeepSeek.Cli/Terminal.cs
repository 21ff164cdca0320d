namespace DeepSeek.Cli;

/// <summary>Colours where the output is a terminal, plain text where it is a file or a pipe. Notices go to standard error, thoughts too where the output is no terminal, so that answers can be piped.</summary>
internal static class Terminal
{
    private static readonly bool Colours = !Console.IsOutputRedirected && Environment.GetEnvironmentVariable("NO_COLOR") is null or "";

    /// <summary>Text of an answer.</summary>
    public static void Write(string text) => Console.Out.Write(text);

    /// <summary>The model's reasoning: in another colour; on standard error where answers go to a file or a pipe.</summary>
    public static void WriteReasoning(string text)
    {
        if (Console.IsOutputRedirected) Console.Error.Write(text);
        else Console.Out.Write(Colours ? $"\e[36m{text}\e[0m" : text);
    }

    /// <summary>The answer begins behind it.</summary>
    public static void EndReasoning() => (Console.IsOutputRedirected ? Console.Error : Console.Out).Write("\n");

    /// <summary>Standard input to its end; says so where somebody sits at a keyboard.</summary>
    public static Task<string> ReadInputAsync(CancellationToken cancellationToken)
    {
        if (!Console.IsInputRedirected) Notice("Type the text; Ctrl-D (Ctrl-Z and Enter on Windows) ends it.");
        return Console.In.ReadToEndAsync(cancellationToken);
    }

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
