namespace DeepSeek;

/// <summary>Base of all errors that this library reports about models, prompts and resources. The message says what was seen, what was expected, and what to try.</summary>
public class ModelException : Exception
{
    /// <summary>Creates an error.</summary>
    public ModelException() { }

    /// <summary>Creates an error with a message.</summary>
    public ModelException(string message) : base(message) { }

    /// <summary>Creates an error with a message and its cause.</summary>
    public ModelException(string message, Exception? innerException) : base(message, innerException) { }
}

/// <summary>A model's file is broken or contradicts itself: truncated, wrong magic, a tensor outside the file, a shape that the configuration does not allow.</summary>
public sealed class InvalidModelFileException : ModelException
{
    /// <summary>Creates an error.</summary>
    public InvalidModelFileException() { }

    /// <summary>Creates an error with a message.</summary>
    public InvalidModelFileException(string message) : base(message) { }

    /// <summary>Creates an error with a message and its cause.</summary>
    public InvalidModelFileException(string message, Exception? innerException) : base(message, innerException) { }
}

/// <summary>A model's file is well-formed, but asks for something that this library does not implement: an architecture, a tokenizer, a number format, a schema keyword.</summary>
public sealed class UnsupportedModelException : ModelException
{
    /// <summary>Creates an error.</summary>
    public UnsupportedModelException() { }

    /// <summary>Creates an error with a message.</summary>
    public UnsupportedModelException(string message) : base(message) { }

    /// <summary>Creates an error with a message and its cause.</summary>
    public UnsupportedModelException(string message, Exception? innerException) : base(message, innerException) { }
}

/// <summary>A chat template could not be parsed or rendered, or refused the conversation (<c>raise_exception</c>).</summary>
public sealed class ChatTemplateException : ModelException
{
    /// <summary>Creates an error.</summary>
    public ChatTemplateException() { }

    /// <summary>Creates an error with a message.</summary>
    public ChatTemplateException(string message) : base(message) { }

    /// <summary>Creates an error with a message and its cause.</summary>
    public ChatTemplateException(string message, Exception? innerException) : base(message, innerException) { }
}

/// <summary>A prompt does not fit the context.</summary>
public sealed class ContextLengthException : ModelException
{
    /// <summary>Creates an error.</summary>
    public ContextLengthException() { }

    /// <summary>Creates an error with a message.</summary>
    public ContextLengthException(string message) : base(message) { }

    /// <summary>Creates an error with a message and its cause.</summary>
    public ContextLengthException(string message, Exception? innerException) : base(message, innerException) { }

    /// <summary>Creates an error with both numbers.</summary>
    /// <param name="promptTokens">Length of the prompt.</param>
    /// <param name="contextLength">Tokens that the context holds.</param>
    public ContextLengthException(int promptTokens, int contextLength)
        : base($"The prompt has {promptTokens} tokens, the context holds {contextLength} and needs room for at least one more. Shorten the prompt, or load the model with a larger LanguageModelOptions.ContextLength.")
        => (PromptTokens, ContextLength) = (promptTokens, contextLength);

    /// <summary>Length of the prompt in tokens.</summary>
    public int PromptTokens { get; }

    /// <summary>Tokens that the context holds.</summary>
    public int ContextLength { get; }
}

/// <summary>A model, its cache or a request needs more memory than there is or than the options allow.</summary>
public sealed class ModelMemoryException : ModelException
{
    /// <summary>Creates an error.</summary>
    public ModelMemoryException() { }

    /// <summary>Creates an error with a message.</summary>
    public ModelMemoryException(string message) : base(message) { }

    /// <summary>Creates an error with a message and its cause.</summary>
    public ModelMemoryException(string message, Exception? innerException) : base(message, innerException) { }

    /// <summary>Creates an error with both numbers.</summary>
    /// <param name="message">What needs the memory and what to try.</param>
    /// <param name="requiredBytes">Bytes needed.</param>
    /// <param name="availableBytes">Bytes available.</param>
    public ModelMemoryException(string message, long requiredBytes, long availableBytes) : base(message) => (RequiredBytes, AvailableBytes) = (requiredBytes, availableBytes);

    /// <summary>Bytes needed.</summary>
    public long RequiredBytes { get; }

    /// <summary>Bytes available.</summary>
    public long AvailableBytes { get; }
}

/// <summary>
/// A device cannot be used: there is none of that kind, its driver refuses, or it was lost while a model ran on it (unplugged, reset, a failed kernel). After a loss every
/// request of the model fails with this error; dispose the model and load it again, on this device or another. Too little of a device's memory is a <see cref="ModelMemoryException"/>.
/// </summary>
public sealed class DeviceException : ModelException
{
    /// <summary>Creates an error.</summary>
    public DeviceException() { }

    /// <summary>Creates an error with a message.</summary>
    public DeviceException(string message) : base(message) { }

    /// <summary>Creates an error with a message and its cause.</summary>
    public DeviceException(string message, Exception? innerException) : base(message, innerException) { }
}

/// <summary>The engine's queue is full; try again later, or load the model with a longer queue.</summary>
public sealed class EngineBusyException : ModelException
{
    /// <summary>Creates an error.</summary>
    public EngineBusyException() { }

    /// <summary>Creates an error with a message.</summary>
    public EngineBusyException(string message) : base(message) { }

    /// <summary>Creates an error with a message and its cause.</summary>
    public EngineBusyException(string message, Exception? innerException) : base(message, innerException) { }
}

/// <summary>An option has a value that is impossible, or two options contradict each other.</summary>
public sealed class InvalidOptionException : ModelException
{
    /// <summary>Creates an error.</summary>
    public InvalidOptionException() { }

    /// <summary>Creates an error with a message.</summary>
    public InvalidOptionException(string message) : base(message) { }

    /// <summary>Creates an error with a message and its cause.</summary>
    public InvalidOptionException(string message, Exception? innerException) : base(message, innerException) { }
}

/// <summary>A saved session cannot be used: the file is corrupt, of another model, of another version, or of other numerics. The text has to be computed again.</summary>
public sealed class SessionFileException : ModelException
{
    /// <summary>Creates an error.</summary>
    public SessionFileException() { }

    /// <summary>Creates an error with a message.</summary>
    public SessionFileException(string message) : base(message) { }

    /// <summary>Creates an error with a message and its cause.</summary>
    public SessionFileException(string message, Exception? innerException) : base(message, innerException) { }
}
