using Microsoft.Extensions.AI;

namespace DeepSeek.Extensions;

/// <summary>Embeddings of a model, normalised to length 1. Thread-safe; disposing it leaves the model alone.</summary>
/// <param name="load">Gives the model: at once where it is loaded, or when it is.</param>
/// <param name="loaded">The model where it is loaded; null before.</param>
/// <param name="pooling">How the hidden states of a text become one vector.</param>
/// <param name="clock">The clock of time stamps and durations.</param>
internal sealed class DeepSeekEmbeddingGenerator(Func<CancellationToken, ValueTask<LanguageModel>> load, Func<LanguageModel?> loaded, EmbeddingPooling pooling, TimeProvider clock) : IEmbeddingGenerator<string, Embedding<float>>
{
    private volatile bool disposed;

    /// <inheritdoc/>
    public async Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(values);
        ObjectDisposedException.ThrowIf(disposed, this);
        using ModelOperation operation = ModelOperation.StartEmbeddings(options?.ModelId ?? loaded()?.Info.Name, clock);
        try
        {
            return await GenerateAsync([.. values], options, operation, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            operation.Failed(e);
            throw;
        }
    }

    private async Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(string[] texts, EmbeddingGenerationOptions? options, ModelOperation operation, CancellationToken cancellationToken)
    {
        LanguageModel model = await load(cancellationToken).ConfigureAwait(false);
        operation.Loaded(model.Info.Name);
        if (options?.Dimensions is { } wanted && wanted != model.Info.HiddenSize)
            throw new InvalidOptionException($"EmbeddingGenerationOptions.Dimensions is {wanted}; this model's vectors have {model.Info.HiddenSize} numbers and cannot be shortened. Leave it null.");
        float[][] vectors = texts.Length == 0 ? [] : await model.EmbedAsync(texts, pooling, normalise: true, cancellationToken).ConfigureAwait(false);
        int begin = model.Tokenizer is { AddBeginningOfSequence: true, BeginningOfSequenceId: not null } ? 1 : 0;
        int tokens = texts.Sum(t => model.Tokenizer.CountTokens(t, parseSpecialTokens: true) + begin);
        operation.Embedded(model.Info.HiddenSize, tokens);
        DateTimeOffset created = clock.GetUtcNow();
        return new GeneratedEmbeddings<Embedding<float>>(vectors.Select(v => new Embedding<float>(v) { ModelId = model.Info.Name, CreatedAt = created }))
        {
            Usage = new UsageDetails { InputTokenCount = tokens, TotalTokenCount = tokens },
        };
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        if (serviceKey is not null) return null;
        LanguageModel? model = loaded();
        if (serviceType == typeof(EmbeddingGeneratorMetadata)) return new EmbeddingGeneratorMetadata(ModelOperation.Provider, null, model?.Info.Name, model?.Info.HiddenSize);
        return serviceType.IsInstanceOfType(this) ? this : serviceType.IsInstanceOfType(model) ? model : null;
    }

    /// <inheritdoc/>
    public void Dispose() => disposed = true;
}
