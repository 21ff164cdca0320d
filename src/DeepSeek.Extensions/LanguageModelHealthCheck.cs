using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace DeepSeek.Extensions;

/// <summary>A registered model's state: healthy once it is loaded, degraded before, the registration's failure status where loading failed.</summary>
/// <param name="loader">The loader of the registration.</param>
public sealed class LanguageModelHealthCheck(LanguageModelLoader loader) : IHealthCheck
{
    /// <summary>For <c>services.AddHealthChecks().Add(LanguageModelHealthCheck.Registration())</c>.</summary>
    /// <param name="serviceKey">The key that the model was registered under; null for the form without a key.</param>
    /// <param name="name">The check's name.</param>
    public static HealthCheckRegistration Registration(string? serviceKey = null, string name = "deepseek")
        => new(name, services => new LanguageModelHealthCheck(services.GetRequiredKeyedService<LanguageModelLoader>(serviceKey)), HealthStatus.Unhealthy, null);

    /// <inheritdoc/>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(context);
        return Task.FromResult(loader.Model is { } model ? HealthCheckResult.Healthy(model.Info.ToString())
            : loader.Failure is { } e ? new HealthCheckResult(context.Registration.FailureStatus, "The model could not be loaded; the next request tries again.", e)
            : HealthCheckResult.Degraded("The model is not loaded yet."));
    }
}
