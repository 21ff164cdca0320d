using System.Text;

namespace DeepSeek;

/// <summary>
/// A loaded model with its engine. Thread-safe: any number of threads may call it at the same time; their requests share one engine and its steps.
/// Callers are stateless: every call hands over its whole prompt, and the engine finds what it has computed before.
/// Disposing it cancels running requests (their enumerations end with <see cref="OperationCanceledException"/>), waits for the step that runs, and frees memory,
/// threads and files; later calls throw <see cref="ObjectDisposedException"/>.
/// </summary>
public sealed partial class LanguageModel : IAsyncDisposable, IDisposable
{
    private LanguageModel(LanguageModelOptions options, ModelInfo info) => (Options, Info) = (options, info);

    /// <summary>What was loaded and how it runs.</summary>
    public ModelInfo Info { get; }

    /// <summary>The options that it was loaded with.</summary>
    public LanguageModelOptions Options { get; }

    /// <summary>Loads a GGUF file (the first one of a split model) or a Hugging Face folder. Weights are mapped, so this takes moments, not memory.</summary>
    /// <param name="path">A file or folder.</param>
    /// <param name="options">How it is loaded; null for all defaults.</param>
    /// <param name="progress">Told how far loading has come; called on the loading thread.</param>
    /// <param name="cancellationToken">Gives up loading.</param>
    /// <exception cref="InvalidOptionException">Options are impossible; the message lists all of them.</exception>
    /// <exception cref="InvalidModelFileException">A file is broken or contradicts itself.</exception>
    /// <exception cref="UnsupportedModelException">The model is of a kind that this library does not run.</exception>
    /// <exception cref="ModelMemoryException">Weights and cache do not fit the memory that the process may use.</exception>
    /// <exception cref="FileNotFoundException">There is nothing at the path.</exception>
    public static Task<LanguageModel> LoadAsync(string path, LanguageModelOptions? options = null, IProgress<LoadProgress>? progress = null, CancellationToken cancellationToken = default)
        => throw new UnsupportedModelException($"'{path}' cannot be loaded: this build has no engine.");

    /// <summary>Says what loading would need and give, from the file's header and a measurement of a fraction of a second.</summary>
    /// <param name="path">A file or folder.</param>
    /// <param name="options">How it would be loaded; null for all defaults.</param>
    /// <exception cref="InvalidModelFileException">A file is broken or contradicts itself.</exception>
    /// <exception cref="UnsupportedModelException">The model is of a kind that this library does not run.</exception>
    /// <exception cref="FileNotFoundException">There is nothing at the path.</exception>
    public static ModelPlan Plan(string path, LanguageModelOptions? options = null)
        => throw new UnsupportedModelException($"'{path}' cannot be planned: this build has no engine.");

    /// <summary>Streams the answer to a conversation: reasoning, answer and tool calls as they come, and one last update with finish reason and usage.</summary>
    /// <param name="messages">The whole conversation so far.</param>
    /// <param name="options">How the answer is generated; null for the model's defaults.</param>
    /// <param name="cancellationToken">Ends the request within one step. Leaving the enumeration does the same.</param>
    /// <exception cref="ChatTemplateException">The template refused the conversation.</exception>
    /// <exception cref="ContextLengthException">The prompt does not fit the context.</exception>
    /// <exception cref="InvalidOptionException">An option is impossible.</exception>
    /// <exception cref="UnsupportedModelException">A schema has a keyword that cannot be enforced.</exception>
    /// <exception cref="EngineBusyException">Too many requests wait already.</exception>
    /// <exception cref="ModelException">The model has no chat template (use <see cref="CompleteAsync(string, GenerationOptions?, CancellationToken)"/>), or a step failed.</exception>
    public IAsyncEnumerable<GenerationUpdate> GenerateAsync(IReadOnlyList<Message> messages, GenerationOptions? options = null, CancellationToken cancellationToken = default)
        => throw new UnsupportedModelException("This build has no engine.");

    /// <summary>Streams the continuation of a raw text, for base models. Control tokens in the text are recognised; a beginning-of-text token is added where the model wants one.</summary>
    /// <param name="prompt">The text to go on from.</param>
    /// <param name="options">How it is continued; null for the model's defaults.</param>
    /// <param name="cancellationToken">Ends the request within one step.</param>
    /// <exception cref="ContextLengthException">The prompt does not fit the context.</exception>
    /// <exception cref="InvalidOptionException">An option is impossible, or the prompt has no tokens.</exception>
    /// <exception cref="EngineBusyException">Too many requests wait already.</exception>
    public IAsyncEnumerable<GenerationUpdate> CompleteAsync(string prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default)
        => throw new UnsupportedModelException("This build has no engine.");

    /// <summary>Streams the continuation of token ids; nothing is added to them.</summary>
    /// <inheritdoc cref="CompleteAsync(string, GenerationOptions?, CancellationToken)"/>
    public IAsyncEnumerable<GenerationUpdate> CompleteAsync(IReadOnlyList<int> prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default)
        => throw new UnsupportedModelException("This build has no engine.");

    /// <summary>Answers one message: the answer's text, without the reasoning.</summary>
    /// <param name="message">What the user says.</param>
    /// <param name="options">How the answer is generated; null for the model's defaults.</param>
    /// <param name="cancellationToken">Ends the request within one step.</param>
    public Task<string> ChatAsync(string message, GenerationOptions? options = null, CancellationToken cancellationToken = default)
        => ChatAsync([Message.User(message)], options, cancellationToken);

    /// <summary>Answers a conversation: the answer's text, without the reasoning. Tool calls are not returned: use <see cref="GenerateAsync"/> for them.</summary>
    /// <param name="messages">The whole conversation so far.</param>
    /// <param name="options">How the answer is generated; null for the model's defaults.</param>
    /// <param name="cancellationToken">Ends the request within one step.</param>
    public async Task<string> ChatAsync(IReadOnlyList<Message> messages, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        var answer = new StringBuilder();
        await foreach (GenerationUpdate update in GenerateAsync(messages, options, cancellationToken).ConfigureAwait(false))
            if (update.Kind == UpdateKind.Answer) answer.Append(update.Text);
        return answer.ToString();
    }

    /// <summary>The prompt as the model would see it, for looking and counting; nothing is generated.</summary>
    /// <param name="messages">The whole conversation so far.</param>
    /// <param name="options">Tools, thinking and template variables that the template is given; null for none.</param>
    /// <exception cref="ChatTemplateException">The template refused the conversation.</exception>
    /// <exception cref="ModelException">The model has no chat template.</exception>
    public PromptPreview RenderPrompt(IReadOnlyList<Message> messages, GenerationOptions? options = null)
        => throw new UnsupportedModelException("This build has no engine.");

    /// <summary>A vector for each text, from the model's last hidden states.</summary>
    /// <param name="texts">The texts; each must fit the context.</param>
    /// <param name="pooling">How the states of a text become one vector.</param>
    /// <param name="normalise">Whether vectors are scaled to length 1.</param>
    /// <param name="cancellationToken">Ends the requests within one step.</param>
    /// <returns>As many vectors as texts, of <see cref="ModelInfo.HiddenSize"/> numbers.</returns>
    /// <exception cref="ContextLengthException">A text does not fit the context.</exception>
    /// <exception cref="EngineBusyException">Too many requests wait already.</exception>
    public Task<float[][]> EmbedAsync(IReadOnlyList<string> texts, EmbeddingPooling pooling = EmbeddingPooling.LastToken, bool normalise = true, CancellationToken cancellationToken = default)
        => throw new UnsupportedModelException("This build has no engine.");

    /// <summary>
    /// Writes the attention cache of a conversation to a file, computing what is not cached, so that a later process goes on without reading it again. The file is bound to the model,
    /// the cache's format and the numerics, and is replaced atomically.
    /// </summary>
    /// <param name="path">The file to write.</param>
    /// <param name="messages">The conversation.</param>
    /// <param name="options">Tools, thinking, template variables and tenant, as in later calls; null for none.</param>
    /// <param name="cancellationToken">Gives up; the file is then as before.</param>
    /// <returns>Tokens whose cache was written: whole blocks only.</returns>
    public Task<int> SaveSessionAsync(string path, IReadOnlyList<Message> messages, GenerationOptions? options = null, CancellationToken cancellationToken = default)
        => throw new UnsupportedModelException("This build has no engine.");

    /// <summary>Reads a file of <see cref="SaveSessionAsync"/> into the cache of prefixes; the next request that begins with the same tokens finds it.</summary>
    /// <param name="path">The file.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>Tokens restored.</returns>
    /// <exception cref="SessionFileException">The file is corrupt, of another model or version, or of other numerics. Nothing was restored; requests compute their prompts as usual.</exception>
    public Task<int> LoadSessionAsync(string path, CancellationToken cancellationToken = default)
        => throw new UnsupportedModelException("This build has no engine.");

    /// <inheritdoc/>
    public void Dispose() { }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        Dispose();
        return ValueTask.CompletedTask;
    }
}
