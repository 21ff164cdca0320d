using System.Runtime.CompilerServices;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace DeepSeek.Extensions;

/// <summary>
/// A model behind <see cref="IChatClient"/>. Stateless: every call carries its whole conversation, and the engine finds what it has computed before. Thread-safe.
/// Disposing it leaves the model alone; calls after that throw <see cref="ObjectDisposedException"/>.
/// </summary>
/// <param name="load">Gives the model: at once where it is loaded, or when it is.</param>
internal sealed class DeepSeekChatClient(Func<CancellationToken, ValueTask<LanguageModel>> load) : IChatClient
{
    private static readonly ChatClientMetadata Metadata = new("deepseek");
    private volatile LanguageModel? model;
    private volatile bool disposed;

    /// <inheritdoc/>
    public async Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
        => await GetStreamingResponseAsync(messages, options, cancellationToken).ToChatResponseAsync(cancellationToken).ConfigureAwait(false);

    /// <inheritdoc/>
    public IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(messages);
        ObjectDisposedException.ThrowIf(disposed, this);
        return StreamAsync(messages, options, cancellationToken);
    }

    private async IAsyncEnumerable<ChatResponseUpdate> StreamAsync(IEnumerable<ChatMessage> messages, ChatOptions? options, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        // Mapped first: what cannot be asked for is refused before a model is loaded for it.
        GenerationOptions generation = RequestMapper.Options(options, this);
        IReadOnlyList<Message> conversation = RequestMapper.Conversation(messages, options);
        LanguageModel loaded = model ??= await load(cancellationToken).ConfigureAwait(false);

        string response = $"chatcmpl-{Guid.NewGuid():N}", message = $"msg-{Guid.NewGuid():N}";
        DateTimeOffset created = (loaded.Options.TimeProvider ?? TimeProvider.System).GetUtcNow();
        bool showReasoning = options?.Reasoning?.Output is not ReasoningOutput.None;
        await foreach (GenerationUpdate update in RequestMapper.Generate(loaded, conversation, generation, cancellationToken).ConfigureAwait(false))
        {
            ObjectDisposedException.ThrowIf(disposed, this);
            List<AIContent> contents = [];
            switch (update.Kind)
            {
                case UpdateKind.Answer when update.Text.Length > 0:
                    contents.Add(new TextContent(update.Text));
                    break;
                case UpdateKind.Reasoning when showReasoning && update.Text.Length > 0:
                    contents.Add(new TextReasoningContent(update.Text));
                    break;
                case UpdateKind.ToolCall when update.ToolCall is { } call:
                    contents.Add(new FunctionCallContent(call.Id, call.Name, Arguments(call.Arguments)) { RawRepresentation = call });
                    break;
                case UpdateKind.End when update.Usage is { } usage:
                    contents.Add(new UsageContent(Usage(usage)));
                    break;
                case UpdateKind.Answer or UpdateKind.Reasoning when update.Tokens.Count == 0:
                    continue;
            }
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

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        if (serviceKey is not null) return null;
        if (serviceType == typeof(ChatClientMetadata)) return model is { } m ? new ChatClientMetadata("deepseek", null, m.Info.Name) : Metadata;
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
}
