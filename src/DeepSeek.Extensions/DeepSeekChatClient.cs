using System.Runtime.CompilerServices;
using System.Text.Json;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;

namespace DeepSeek.Extensions;

/// <summary>
/// A model behind <see cref="IChatClient"/>. Stateless: every call carries its whole conversation, and the engine finds what it has computed before. Thread-safe.
/// Disposing it leaves the model alone; calls after that, and streams that are under way, throw <see cref="ObjectDisposedException"/>.
/// </summary>
/// <param name="load">Gives the model: at once where it is loaded, or when it is.</param>
/// <param name="clock">The clock of time stamps and durations.</param>
/// <param name="logger">Told what deserves attention.</param>
internal sealed partial class DeepSeekChatClient(Func<CancellationToken, ValueTask<LanguageModel>> load, TimeProvider clock, ILogger logger) : IChatClient
{
    private static readonly ChatClientMetadata Metadata = new(ModelOperation.Provider);
    private volatile LanguageModel? model;
    private volatile string? foreign;
    private volatile bool disposed;

    /// <summary>A client of a model that is loaded.</summary>
    public DeepSeekChatClient(LanguageModel model, ILogger logger) : this(_ => new ValueTask<LanguageModel>(model), model.Options.TimeProvider ?? TimeProvider.System, logger) => this.model = model;

    /// <inheritdoc/>
    public async Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        var updates = new List<ChatResponseUpdate>();
        await foreach (ChatResponseUpdate update in Updates(messages, options, streams: false, cancellationToken).ConfigureAwait(false)) updates.Add(update);
        ChatResponse response = updates.ToChatResponse();
        response.RawRepresentation = updates.ConvertAll(u => (GenerationUpdate)u.RawRepresentation!);
        return response;
    }

    /// <inheritdoc/>
    public IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
        => Updates(messages, options, streams: true, cancellationToken);

    private IAsyncEnumerable<ChatResponseUpdate> Updates(IEnumerable<ChatMessage> messages, ChatOptions? options, bool streams, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(messages);
        ObjectDisposedException.ThrowIf(disposed, this);
        return StreamAsync(messages, options, streams, cancellationToken);
    }

    private async IAsyncEnumerable<ChatResponseUpdate> StreamAsync(IEnumerable<ChatMessage> messages, ChatOptions? options, bool streams, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        string response = $"chatcmpl-{Guid.NewGuid():N}", message = $"msg-{Guid.NewGuid():N}";
        DateTimeOffset created = clock.GetUtcNow();
        bool showReasoning = options?.Reasoning?.Output is not ReasoningOutput.None;
        using ModelOperation operation = ModelOperation.StartChat(options?.ModelId ?? model?.Info.Name, options, streams, clock);
        IAsyncEnumerator<GenerationUpdate>? updates = null;
        try
        {
            LanguageModel loaded;
            try
            {
                // Mapped first: what cannot be asked for is refused before a model is loaded for it.
                GenerationOptions generation = RequestMapper.Options(options, this);
                List<Message> conversation = ConversationMapper.Map(messages, options?.Instructions);
                loaded = model ??= await load(cancellationToken).ConfigureAwait(false);
                if (options?.ModelId is { } asked && asked != loaded.Info.Name && asked != Interlocked.Exchange(ref foreign, asked)) Foreign(asked, loaded.Info.Name);
                operation.Loaded(loaded.Info.Name, response);
                updates = loaded.GenerateAsync(conversation, generation, cancellationToken).GetAsyncEnumerator(cancellationToken);
            }
            catch (Exception e)
            {
                operation.Failed(e);
                throw;
            }
            while (true)
            {
                GenerationUpdate update;
                try
                {
                    if (!await updates.MoveNextAsync().ConfigureAwait(false)) break;
                    ObjectDisposedException.ThrowIf(disposed, this);
                    update = updates.Current;
                }
                catch (Exception e)
                {
                    operation.Failed(e);
                    throw;
                }
                if (update is { Kind: UpdateKind.End, Usage: { } usage }) operation.Finished(update.FinishReason, usage);
                if (update.Kind == UpdateKind.Reasoning && !showReasoning) continue;
                if (Contents(update) is not { } contents) continue;
                operation.Chunk();
                yield return new ChatResponseUpdate(ChatRole.Assistant, contents)
                {
                    ResponseId = response,
                    MessageId = message,
                    CreatedAt = created,
                    ModelId = loaded.Info.Name,
                    FinishReason = update.FinishReason switch
                    {
                        null => null,
                        FinishReason.Length => ChatFinishReason.Length,
                        FinishReason.ToolCalls => ChatFinishReason.ToolCalls,
                        _ => ChatFinishReason.Stop,
                    },
                    RawRepresentation = update,
                };
            }
        }
        finally
        {
            if (updates is not null) await updates.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>What an update carries; null where it says nothing. Tokens without text are passed on, because their log-probabilities may be wanted.</summary>
    private static List<AIContent>? Contents(GenerationUpdate update) => update switch
    {
        { Kind: UpdateKind.ToolCall, ToolCall: { } call } => [new FunctionCallContent(call.Id, call.Name, Arguments(call.Arguments)) { RawRepresentation = call }],
        { Kind: UpdateKind.End } => update.Usage is { } usage ? [new UsageContent(Usage(usage))] : [],
        { Text.Length: > 0 } => [update.Kind == UpdateKind.Reasoning ? new TextReasoningContent(update.Text) : new TextContent(update.Text)],
        { Tokens.Count: > 0 } => [],
        _ => null,
    };

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        if (serviceKey is not null) return null;
        if (serviceType == typeof(ChatClientMetadata)) return model is { } m ? new ChatClientMetadata(ModelOperation.Provider, null, m.Info.Name) : Metadata;
        return serviceType.IsInstanceOfType(this) ? this : model is { } loaded && serviceType.IsInstanceOfType(loaded) ? loaded : null;
    }

    /// <inheritdoc/>
    public void Dispose() => disposed = true;

    private static Dictionary<string, object?> Arguments(JsonElement arguments)
    {
        var values = new Dictionary<string, object?>();
        if (arguments.ValueKind == JsonValueKind.Object)
            foreach (JsonProperty p in arguments.EnumerateObject()) values[p.Name] = p.Value.Clone();
        return values;
    }

    private static UsageDetails Usage(GenerationUsage usage) => new()
    {
        InputTokenCount = usage.PromptTokens,
        OutputTokenCount = usage.GeneratedTokens,
        TotalTokenCount = (long)usage.PromptTokens + usage.GeneratedTokens,
        CachedInputTokenCount = usage.CachedTokens,
        ReasoningTokenCount = usage.ReasoningTokens,
        AdditionalCounts = usage.DraftedTokens == 0 ? null : new() { ["DraftedTokenCount"] = usage.DraftedTokens, ["AcceptedTokenCount"] = usage.AcceptedTokens },
    };

    [LoggerMessage(1, LogLevel.Warning, "ChatOptions.ModelId asks for '{Asked}', this client runs '{Model}' and answers with it.")]
    private partial void Foreign(string asked, string model);
}
