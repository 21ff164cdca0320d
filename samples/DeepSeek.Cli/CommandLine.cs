using System.CommandLine;
using System.Text.RegularExpressions;

namespace DeepSeek.Cli;

/// <summary>What people get wrong on the command line, in words for people.</summary>
internal static partial class CommandLine
{
    /// <summary>An argument that takes free text, but no mistyped option: that would be answered as a question.</summary>
    public static Argument<string?> Text(string name, string description)
    {
        var argument = new Argument<string?>(name) { Description = description, Arity = ArgumentArity.ZeroOrOne };
        argument.Validators.Add(result =>
        {
            foreach (var token in result.Tokens)
                if (Option().IsMatch(token.Value)) result.AddError($"There is no option '{token.Value}' here.");
        });
        return argument;
    }

    /// <summary>A parser's message without the runtime's names of types.</summary>
    public static string Plain(string message) => Kind().Replace(message, m => m.Value.Contains("Int", StringComparison.Ordinal) ? "a whole number" : m.Value.Contains("Bool", StringComparison.Ordinal) ? "true or false" : "a number");

    [GeneratedRegex(@"^--?[a-zA-Z][\w-]*(=.*)?$")]
    private static partial Regex Option();

    [GeneratedRegex(@"expected type '[^']*'")]
    private static partial Regex Kind();
}
