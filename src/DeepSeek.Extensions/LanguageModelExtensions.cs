using Microsoft.Extensions.AI;

namespace DeepSeek.Extensions;

/// <summary>A loaded model behind the interfaces of Microsoft.Extensions.AI.</summary>
public static class LanguageModelExtensions
{
    /// <summary>The model as a chat client. Thread-safe and stateless; disposing the client leaves the model alone.</summary>
    /// <param name="model">The model; the caller owns it and disposes it after the last use of the client.</param>
    public static IChatClient AsIChatClient(this LanguageModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        return new DeepSeekChatClient(_ => new ValueTask<LanguageModel>(model));
    }

    /// <summary>The model as a generator of embeddings. Thread-safe; disposing it leaves the model alone.</summary>
    /// <param name="model">The model; the caller owns it and disposes it after the last use of the generator.</param>
    /// <param name="pooling">How the hidden states of a text become one vector.</param>
    public static IEmbeddingGenerator<string, Embedding<float>> AsIEmbeddingGenerator(this LanguageModel model, EmbeddingPooling pooling = EmbeddingPooling.LastToken)
    {
        ArgumentNullException.ThrowIfNull(model);
        return new DeepSeekEmbeddingGenerator(model, pooling);
    }
}
