using DeepSeek;
using DeepSeek.Extensions;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers a model of this process as an <see cref="IChatClient"/>.</summary>
/// <remarks>
/// Each form registers singletons: <see cref="IChatClient"/>, <see cref="LanguageModelLoader"/> (which loads the model once, asynchronously, and owns it) and <see cref="LanguageModel"/>
/// (available once it is loaded: with <see cref="ModelWarmUp.BeforeStart"/> always). Options are validated when the host starts, all failures at once; a second call for the same key
/// configures the same registration further. A pipeline of Microsoft.Extensions.AI goes around it with
/// <c>services.AddChatClient(sp =&gt; sp.GetRequiredKeyedService&lt;IChatClient&gt;("inner")).UseFunctionInvocation()</c> over the keyed form, and embeddings come from
/// <c>services.AddEmbeddingGenerator(sp =&gt; sp.GetRequiredService&lt;LanguageModelLoader&gt;().AsIEmbeddingGenerator())</c>.
/// </remarks>
public static class DeepSeekServiceCollectionExtensions
{
    /// <summary>Registers a model.</summary>
    /// <param name="services">The services.</param>
    /// <param name="configure">Sets at least <see cref="DeepSeekChatClientOptions.Path"/>.</param>
    /// <returns>The services.</returns>
    public static IServiceCollection AddDeepSeekChatClient(this IServiceCollection services, Action<DeepSeekChatClientOptions> configure)
        => Add(services, null, o => o.Configure(configure ?? throw new ArgumentNullException(nameof(configure))));

    /// <summary>Registers a model that a section of the configuration describes, with the names of <see cref="DeepSeekChatClientOptions"/>.</summary>
    /// <param name="services">The services.</param>
    /// <param name="section">The section.</param>
    /// <returns>The services.</returns>
    public static IServiceCollection AddDeepSeekChatClient(this IServiceCollection services, IConfiguration section)
        => Add(services, null, o => o.Bind(section ?? throw new ArgumentNullException(nameof(section))));

    /// <summary>Registers a model under a key; several models live side by side.</summary>
    /// <param name="services">The services.</param>
    /// <param name="serviceKey">The key of its <see cref="IChatClient"/>, <see cref="LanguageModelLoader"/> and <see cref="LanguageModel"/>; also the name of its options.</param>
    /// <param name="configure">Sets at least <see cref="DeepSeekChatClientOptions.Path"/>.</param>
    /// <returns>The services.</returns>
    public static IServiceCollection AddKeyedDeepSeekChatClient(this IServiceCollection services, string serviceKey, Action<DeepSeekChatClientOptions> configure)
        => Add(services, serviceKey ?? throw new ArgumentNullException(nameof(serviceKey)), o => o.Configure(configure ?? throw new ArgumentNullException(nameof(configure))));

    /// <summary>Registers a model under a key, described by a section of the configuration.</summary>
    /// <param name="services">The services.</param>
    /// <param name="serviceKey">The key.</param>
    /// <param name="section">The section.</param>
    /// <returns>The services.</returns>
    public static IServiceCollection AddKeyedDeepSeekChatClient(this IServiceCollection services, string serviceKey, IConfiguration section)
        => Add(services, serviceKey ?? throw new ArgumentNullException(nameof(serviceKey)), o => o.Bind(section ?? throw new ArgumentNullException(nameof(section))));

    private static IServiceCollection Add(IServiceCollection services, string? key, Action<OptionsBuilder<DeepSeekChatClientOptions>> configure)
    {
        ArgumentNullException.ThrowIfNull(services);
        string name = key ?? Options.Options.DefaultName;
        configure(services.AddOptionsWithValidateOnStart<DeepSeekChatClientOptions>(name));
        if (services.Any(d => d.ServiceType == typeof(LanguageModelLoader) && Equals(d.ServiceKey, key))) return services;
        services.AddSingleton<IValidateOptions<DeepSeekChatClientOptions>>(new Validation(name));
        services.AddKeyedSingleton(key, (sp, _) => new LanguageModelLoader(sp.GetRequiredService<IOptionsMonitor<DeepSeekChatClientOptions>>().Get(name), sp.GetService<TimeProvider>(),
            (sp.GetService<ILoggerFactory>() ?? NullLoggerFactory.Instance).CreateLogger<LanguageModelLoader>()));
        services.AddKeyedSingleton<IChatClient>(key, (sp, _) =>
        {
            LanguageModelLoader loader = sp.GetRequiredKeyedService<LanguageModelLoader>(key);
            return new DeepSeekChatClient(loader.GetAsync, loader.Clock, (sp.GetService<ILoggerFactory>() ?? NullLoggerFactory.Instance).CreateLogger<DeepSeekChatClient>());
        });
        // A singleton: the container disposes what transient factories return at the end of each scope.
        services.AddKeyedSingleton(key, (sp, _) => sp.GetRequiredKeyedService<LanguageModelLoader>(key).Model
            ?? throw new InvalidOperationException("The model is not loaded yet, and a factory must not wait for it. Set DeepSeekChatClientOptions.WarmUp to BeforeStart, or await LanguageModelLoader.GetAsync() instead of injecting LanguageModel."));
        services.AddSingleton<IHostedService>(sp => new ModelWarmUpService(sp.GetRequiredKeyedService<LanguageModelLoader>(key), sp.GetRequiredService<IOptionsMonitor<DeepSeekChatClientOptions>>().Get(name).WarmUp));
        return services;
    }

    private sealed class Validation(string name) : IValidateOptions<DeepSeekChatClientOptions>
    {
        public ValidateOptionsResult Validate(string? optionsName, DeepSeekChatClientOptions options)
            => optionsName != name ? ValidateOptionsResult.Skip : options.Failures().ToArray() is { Length: > 0 } failures ? ValidateOptionsResult.Fail(failures) : ValidateOptionsResult.Success;
    }
}
