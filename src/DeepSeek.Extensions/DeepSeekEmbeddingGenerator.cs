using Microsoft.Extensions.AI;

namespace DeepSeek.Extensions;

/// <summary>Embeddings of a loaded model, normalised to length 1. Thread-safe; disposing it leaves the model alone.</summary>
internal sealed class DeepSeekEmbeddingGenerator(LanguageModel model, EmbeddingPooling pooling) : IEmbeddingGenerator<string, Embedding<float>>
{
    private readonly EmbeddingGeneratorMetadata metadata = new("deepseek", null, model.Info.Name, model.Info.HiddenSize);

    /// <inheritdoc/>
    public async Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(values);
        if (options?.Dimensions is { } wanted && wanted != model.Info.HiddenSize)
            throw new InvalidOptionException($"EmbeddingGenerationOptions.Dimensions is {wanted}; this model's vectors have {model.Info.HiddenSize} numbers and cannot be shortened. Leave it null.");
        string[] texts = [.. values];
        float[][] vectors = await model.EmbedAsync(texts, pooling, normalise: true, cancellationToken).ConfigureAwait(false);
        int tokens = texts.Sum(t => model.Tokenizer.CountTokens(t));
        return new GeneratedEmbeddings<Embedding<float>>(vectors.Select(v => new Embedding<float>(v) { ModelId = model.Info.Name }))
        {
            Usage = new UsageDetails { InputTokenCount = tokens, TotalTokenCount = tokens },
        };
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        if (serviceKey is not null) return null;
        return serviceType == typeof(EmbeddingGeneratorMetadata) ? metadata : serviceType.IsInstanceOfType(model) ? model : serviceType.IsInstanceOfType(this) ? this : null;
    }

    /// <inheritdoc/>
    public void Dispose() { }
}
