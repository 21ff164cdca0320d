using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text;
using DeepSeek.Backends;
using DeepSeek.Generation;
using DeepSeek.Text.ToolCalls;

namespace DeepSeek;

/// <summary>
/// A loaded model with its engine. Thread-safe: any number of threads may call it at the same time; their requests share one engine and its steps.
/// Callers are stateless: every call hands over its whole prompt, and the engine finds what it has computed before.
/// Disposing it cancels running requests (their enumerations end with <see cref="OperationCanceledException"/>), waits for the step that runs, and frees memory,
/// threads and files; later calls throw <see cref="ObjectDisposedException"/>.
/// </summary>
public sealed partial class LanguageModel : IAsyncDisposable, IDisposable
{
    private readonly LoadedModel loaded;
    private int disposed;

    private LanguageModel(LoadedModel loaded, LanguageModelOptions options) => (this.loaded, Options) = (loaded, options);

    /// <summary>What was loaded and how it runs.</summary>
    public ModelInfo Info => loaded.Info;

    /// <summary>The model's tokenizer.</summary>
    public Tokenizer Tokenizer => loaded.Tokenizer;

    /// <summary>What the engine has done so far.</summary>
    public EngineStatistics Statistics => loaded.Engine.Statistics;

    /// <summary>What the conformance driver reaches through.</summary>
    internal LoadedModel Loaded => loaded;

    /// <summary>The options that it was loaded with.</summary>
    public LanguageModelOptions Options { get; }

    /// <summary>Loads a GGUF file (the first one of a split model) or a Hugging Face folder. Weights are mapped, so this takes moments, not memory.</summary>
    /// <param name="path">A file or folder.</param>
    /// <param name="options">How it is loaded; null for all defaults.</param>
    /// <param name="progress">Told how far loading has come; called on the loading thread.</param>
    /// <param name="cancellationToken">Gives up loading.</param>
    /// <exception cref="InvalidOptionException">Options are impossible; the message lists all of them.</exception>
    /// <exception cref="InvalidModelFileException">There is nothing at the path, or a file is broken or contradicts itself.</exception>
    /// <exception cref="UnsupportedModelException">The model is of a kind that this library does not run.</exception>
    /// <exception cref="ModelMemoryException">Weights and cache do not fit the memory that the process may use.</exception>
    public static Task<LanguageModel> LoadAsync(string path, LanguageModelOptions? options = null, IProgress<LoadProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(path);
        options ??= new LanguageModelOptions();
        OptionChecks.Check(options);
        return Task.Run(() => new LanguageModel(LoadedModel.Load(path, options, progress, MachineLimits.Here, cancellationToken), options), cancellationToken);
    }

    /// <summary>What is impossible about options, each as "X is Y, expected Z"; empty where nothing is. No file is looked at.</summary>
    /// <param name="options">The options.</param>
    public static IReadOnlyList<string> Validate(LanguageModelOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        return OptionChecks.Failures(options);
    }

    /// <summary>Says what loading would need and give, from the file's header and a measurement of a fraction of a second.</summary>
    /// <param name="path">A file or folder.</param>
    /// <param name="options">How it would be loaded; null for all defaults.</param>
    /// <exception cref="InvalidModelFileException">There is nothing at the path, or a file is broken or contradicts itself.</exception>
    /// <exception cref="UnsupportedModelException">The model is of a kind that this library does not run.</exception>
    public static ModelPlan Plan(string path, LanguageModelOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        options ??= new LanguageModelOptions();
        OptionChecks.Check(options);
        return ModelPlanner.Plan(path, options, MachineLimits.Here);
    }

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
    /// <remarks>Errors are thrown by the enumeration, not by this call.</remarks>
    public IAsyncEnumerable<GenerationUpdate> GenerateAsync(IReadOnlyList<Message> messages, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(messages);
        options ??= new GenerationOptions();
        return StreamAsync(() => Render(messages, options, true), options, isChat: true, cancellationToken);
    }

    /// <summary>Streams the continuation of a raw text, for base models. Control tokens in the text are recognised; a beginning-of-text token is added where the model wants one.</summary>
    /// <param name="prompt">The text to go on from.</param>
    /// <param name="options">How it is continued; null for the model's defaults.</param>
    /// <param name="cancellationToken">Ends the request within one step.</param>
    /// <exception cref="ContextLengthException">The prompt does not fit the context.</exception>
    /// <exception cref="InvalidOptionException">An option is impossible, or the prompt has no tokens.</exception>
    /// <exception cref="EngineBusyException">Too many requests wait already.</exception>
    public IAsyncEnumerable<GenerationUpdate> CompleteAsync(string prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return StreamAsync(() => new Prompt(prompt, EncodeRaw(prompt), false, null), options ?? new GenerationOptions(), isChat: false, cancellationToken);
    }

    /// <summary>Streams the continuation of token ids; nothing is added to them.</summary>
    /// <inheritdoc cref="CompleteAsync(string, GenerationOptions?, CancellationToken)"/>
    public IAsyncEnumerable<GenerationUpdate> CompleteAsync(IReadOnlyList<int> prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return StreamAsync(() => new Prompt("", [.. prompt], false, null), options ?? new GenerationOptions(), isChat: false, cancellationToken);
    }

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
    {
        ArgumentNullException.ThrowIfNull(messages);
        Prompt prompt = Render(messages, options ?? new GenerationOptions(), true);
        return new PromptPreview(prompt.Text, prompt.Tokens);
    }

    /// <summary>A vector for each text, from the model's last hidden states.</summary>
    /// <param name="texts">The texts; each must fit the context.</param>
    /// <param name="pooling">How the states of a text become one vector.</param>
    /// <param name="normalise">Whether vectors are scaled to length 1.</param>
    /// <param name="cancellationToken">Ends the requests within one step.</param>
    /// <returns>As many vectors as texts, of <see cref="ModelInfo.HiddenSize"/> numbers.</returns>
    /// <exception cref="ContextLengthException">A text does not fit the context.</exception>
    /// <exception cref="EngineBusyException">Too many requests wait already.</exception>
    public async Task<float[][]> EmbedAsync(IReadOnlyList<string> texts, EmbeddingPooling pooling = EmbeddingPooling.LastToken, bool normalise = true, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        if (!Enum.IsDefined(pooling)) throw new InvalidOptionException($"{nameof(pooling)} is {pooling}, expected one of EmbeddingPooling's values.");
        int[][] prompts = [.. texts.Select(EncodeRaw)];
        var vectors = new float[texts.Count][];
        for (int i = 0; i < prompts.Length; i++) // one after the other: a text fills steps by itself, and a long list does not fill the queue
        {
            vectors[i] = (await ComputeAsync(prompts[i], pooling, null, cancellationToken).ConfigureAwait(false)).Vector;
            if (normalise) Normalise(vectors[i]);
        }
        return vectors;
    }

    /// <summary>
    /// Writes the attention cache of a conversation to a file, computing what is not cached, so that a later process goes on without reading it again. The file is bound to the model,
    /// the cache's format and the numerics, and is replaced atomically.
    /// </summary>
    /// <param name="path">The file to write.</param>
    /// <param name="messages">The conversation.</param>
    /// <param name="options">Tools, thinking, template variables and tenant, as in later calls; null for none.</param>
    /// <param name="cancellationToken">Gives up; the file is then as before.</param>
    /// <returns>Tokens whose cache was written: whole blocks only.</returns>
    /// <exception cref="ContextLengthException">The conversation does not fit the context.</exception>
    /// <exception cref="IOException">The file cannot be written; what was there before is unharmed.</exception>
    /// <exception cref="InvalidOptionException">The model was loaded without <see cref="LanguageModelOptions.PrefixCaching"/>.</exception>
    public async Task<int> SaveSessionAsync(string path, IReadOnlyList<Message> messages, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(messages);
        options ??= new GenerationOptions();
        return await SaveSessionAsync(path, Render(messages, options, false).Tokens, options.Tenant, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The same for token ids.</summary>
    /// <param name="path">The file to write.</param>
    /// <param name="tokens">The conversation as token ids.</param>
    /// <param name="tenant">As in later calls.</param>
    /// <param name="cancellationToken">Gives up; the file is then as before.</param>
    /// <returns>Tokens whose cache was written: whole blocks only.</returns>
    public async Task<int> SaveSessionAsync(string path, IReadOnlyList<int> tokens, string? tenant = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(tokens);
        if (!Options.PrefixCaching) throw new InvalidOptionException("Sessions are saved from the cache of prefixes. Load the model with PrefixCaching.");
        int[] ids = [.. tokens];
        await ComputeAsync(ids, null, tenant, cancellationToken).ConfigureAwait(false);
        return await SessionFile.SaveAsync(path, loaded, ids, tenant, SessionFile.Create, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Reads a file of <see cref="SaveSessionAsync(string, IReadOnlyList{Message}, GenerationOptions?, CancellationToken)"/> into the cache of prefixes; the next request that begins with the same tokens finds it.</summary>
    /// <param name="path">The file.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>Tokens restored.</returns>
    /// <exception cref="SessionFileException">The file is corrupt, of another model or version, or of other numerics. Nothing was restored; requests compute their prompts as usual.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public Task<int> LoadSessionAsync(string path, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (!Options.PrefixCaching) throw new InvalidOptionException("Sessions are restored into the cache of prefixes. Load the model with PrefixCaching.");
        return SessionFile.LoadAsync(path, loaded, cancellationToken);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref disposed, 1) == 0) loaded.Dispose();
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => new(Task.Run(Dispose));

    /// <summary>A request for text, not yet submitted.</summary>
    internal GenerationRequest NewRequest(ReadOnlySpan<int> prompt, GenerationOptions options, OutputGuide? guide = null, bool keepLastLogits = false, IReadOnlyList<GenerationRequest>? followers = null)
    {
        CheckTokens(prompt);
        SamplingSettings sampling = loaded.Defaults.Resolve(options, BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(8)));
        int[] ends = [.. options.IgnoreEndOfTurn ? [] : loaded.EndTokens, .. options.StopTokens ?? []];
        var settings = new GenerationSettings(sampling, options.MaxTokens ?? loaded.Settings.ContextLength, ends, loaded.Settings.Entries, options.TopLogProbabilities, Options.Speculation)
        {
            Priority = options.Priority,
            Tenant = options.Tenant,
            KeepsLastLogits = keepLastLogits,
        };
        return new GenerationRequest(prompt, settings, guide, loaded.Settings, loaded.Engine.BlockTokens, loaded.Engine.DraftsByModule) { Followers = followers ?? [] };
    }

    private void CheckTokens(ReadOnlySpan<int> prompt)
    {
        foreach (int id in prompt)
            if ((uint)id >= (uint)loaded.Model.VocabularySize) throw new InvalidOptionException($"The prompt has the token id {id}; the vocabulary has {loaded.Model.VocabularySize} entries, from 0.");
    }

    private Prompt Render(IReadOnlyList<Message> messages, GenerationOptions options, bool addGenerationPrompt)
        => (loaded.Prompter ?? throw new ModelException($"The model '{Info.Name}' has no chat template: it continues texts. Use {nameof(CompleteAsync)}, or a model that was trained to chat."))
            .Render(messages, options, addGenerationPrompt);

    /// <summary>A raw text, with the beginning-of-text token where the model wants one.</summary>
    private int[] EncodeRaw(string text)
    {
        var ids = new List<int>();
        if (Tokenizer.AddBeginningOfSequence && Tokenizer.BeginningOfSequenceId is { } bos) ids.Add(bos);
        Tokenizer.Encode(text, ids, parseSpecialTokens: true);
        return [.. ids];
    }

    private async Task<HiddenRequest> ComputeAsync(int[] tokens, EmbeddingPooling? pooling, string? tenant, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        CheckTokens(tokens);
        var request = new HiddenRequest(tokens, pooling, Info.HiddenSize, tenant, loaded.Settings, loaded.Engine.BlockTokens, loaded.Engine.DraftsByModule);
        loaded.Engine.Submit(request);
        await using CancellationTokenRegistration registration = cancellationToken.UnsafeRegister(_ => loaded.Engine.Cancel(request), null);
        await request.Completion.ConfigureAwait(false);
        return request;
    }

    private static void Normalise(float[] vector)
    {
        double squares = 0;
        foreach (float x in vector) squares += (double)x * x;
        if (squares == 0) return;
        float scale = (float)(1 / Math.Sqrt(squares));
        for (int i = 0; i < vector.Length; i++) vector[i] *= scale;
    }

    /// <summary>The one generation loop: submits, turns tokens into updates, and cancels where the enumeration is left.</summary>
    private async IAsyncEnumerable<GenerationUpdate> StreamAsync(Func<Prompt> render, GenerationOptions options, bool isChat, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        ObjectDisposedException.ThrowIf(disposed != 0, this);
        Prompt prompt = render();
        var answer = new AnswerStream(NewRequest(prompt.Tokens, options, OutputGuide.For(loaded, prompt, options, isChat)), NewReader(prompt, options, isChat), loaded.Engine, loaded.Prompter?.Calls, prompt.Text);
        var updates = new List<GenerationUpdate>();
        loaded.Engine.Submit(answer.Request);
        await using CancellationTokenRegistration registration = cancellationToken.UnsafeRegister(_ => loaded.Engine.Cancel(answer.Request), null);
        try
        {
            while (!answer.IsOver)
            {
                await answer.WaitAsync().ConfigureAwait(false);
                answer.Drain(updates, cancellationToken);
                foreach (GenerationUpdate update in updates) yield return update;
                updates.Clear();
            }
        }
        finally
        {
            answer.Leave();
        }
    }

    private AnswerReader NewReader(Prompt prompt, GenerationOptions options, bool isChat)
        => new(Tokenizer, loaded.EndTokens, isChat ? new OutputParser(prompt.Dialect, prompt.StartsInThought, options.AllowParallelToolCalls == false) : null, options.StopSequences, options.AllowParallelToolCalls != false);
}
