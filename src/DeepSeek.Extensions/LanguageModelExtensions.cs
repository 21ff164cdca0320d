using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace DeepSeek.Extensions;

/// <summary>A model behind the interfaces of Microsoft.Extensions.AI.</summary>
/// <remarks>
/// <para><b>Options.</b> What <see cref="ChatOptions"/> lacks (min-p, a thinking budget, log-probabilities, a regular expression, …) comes from <see cref="ChatOptions.RawRepresentationFactory"/>,
/// which may return <see cref="GenerationOptions"/>; settings of <see cref="ChatOptions"/> itself win. What it returns for other clients is ignored.</para>
/// <para><b>Reasoning.</b> <see cref="ReasoningEffort.None"/> turns thinking off; every other effort turns it on, is shown to templates that know <c>reasoning_effort</c>, and allows 1,024 (low),
/// 8,192 (medium) or any number of tokens of thought. <see cref="ReasoningOutput.None"/> keeps thoughts back; both other values stream them as they are.</para>
/// <para><b>Tools and a format.</b> Where <see cref="ChatOptions.Tools"/> and <see cref="ChatOptions.ResponseFormat"/> meet, an answer is either calls that fit their tools or text that fits the
/// format; with a required mode it is calls, and the format waits for the turn that answers.</para>
/// <para><b>History.</b> A call that comes back with its id, name and arguments unchanged stands in the prompt in the very tokens that the model wrote, so that the cached prefix holds; where
/// that is gone, or something was changed, the chat template writes it.</para>
/// <para><b>Responses.</b> <c>RawRepresentation</c> of an update is the <see cref="GenerationUpdate"/> (with tokens and log-probabilities), of a response the list of them.
/// Calls that the model wrote wrongly, and calls where no tools were given, stay text. A name that was never offered comes as the model wrote it.</para>
/// </remarks>
public static class LanguageModelExtensions
{
    /// <summary>The model as a chat client. Thread-safe and stateless; disposing the client leaves the model alone.</summary>
    /// <param name="model">The model; the caller owns it and disposes it after the last use of the client.</param>
    /// <param name="loggerFactory">Where the client logs; null for nowhere.</param>
    public static IChatClient AsIChatClient(this LanguageModel model, ILoggerFactory? loggerFactory = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        return new DeepSeekChatClient(model, (loggerFactory ?? NullLoggerFactory.Instance).CreateLogger<DeepSeekChatClient>());
    }

    /// <summary>The model as a generator of embeddings. Thread-safe; disposing it leaves the model alone.</summary>
    /// <param name="model">The model; the caller owns it and disposes it after the last use of the generator.</param>
    /// <param name="pooling">How the hidden states of a text become one vector.</param>
    public static IEmbeddingGenerator<string, Embedding<float>> AsIEmbeddingGenerator(this LanguageModel model, EmbeddingPooling pooling = EmbeddingPooling.LastToken)
    {
        ArgumentNullException.ThrowIfNull(model);
        return new DeepSeekEmbeddingGenerator(_ => new ValueTask<LanguageModel>(model), () => model, pooling, model.Options.TimeProvider ?? TimeProvider.System);
    }

    /// <summary>A registered model as a generator of embeddings; it is loaded when the first one is asked for. Thread-safe; disposing the generator leaves the model alone.</summary>
    /// <param name="loader">The registration's loader: <c>services.AddEmbeddingGenerator(sp =&gt; sp.GetRequiredService&lt;LanguageModelLoader&gt;().AsIEmbeddingGenerator())</c>.</param>
    /// <param name="pooling">How the hidden states of a text become one vector.</param>
    public static IEmbeddingGenerator<string, Embedding<float>> AsIEmbeddingGenerator(this LanguageModelLoader loader, EmbeddingPooling pooling = EmbeddingPooling.LastToken)
    {
        ArgumentNullException.ThrowIfNull(loader);
        return new DeepSeekEmbeddingGenerator(loader.GetAsync, () => loader.Model, pooling, loader.Clock);
    }
}
