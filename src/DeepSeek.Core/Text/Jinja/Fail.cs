namespace DeepSeek.Text.Jinja;

/// <summary>Errors of the template language, under the names that Python's exceptions have, since that is what template authors know.</summary>
internal static class Fail
{
    public static ChatTemplateException Syntax(int line, string message) => new($"The chat template is malformed at line {line}: {message}.");

    public static ChatTemplateException Type(string message) => new($"TypeError: {message}");

    public static ChatTemplateException Value(string message) => new($"ValueError: {message}");

    public static ChatTemplateException Undefined(string message) => new($"UndefinedError: {message}");

    public static ChatTemplateException Runtime(string message) => new($"TemplateRuntimeError: {message}");

    public static ChatTemplateException Overflow(string message) => new($"OverflowError: {message}");

    public static ChatTemplateException Security(string message) => new($"SecurityError: {message}");

    public static ChatTemplateException DivisionByZero() => new("ZeroDivisionError: division by zero");

    public static ChatTemplateException Unhashable(object? value) => Type($"unhashable type: '{Kind.Name(value)}'");
}
