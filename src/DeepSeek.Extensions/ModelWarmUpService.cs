using Microsoft.Extensions.Hosting;

namespace DeepSeek.Extensions;

/// <summary>Loads a registered model when the host starts.</summary>
internal sealed class ModelWarmUpService(LanguageModelLoader loader, ModelWarmUp warmUp) : IHostedService
{
    /// <inheritdoc/>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        if (warmUp == ModelWarmUp.None) return;
        Task loading = loader.GetAsync(cancellationToken).AsTask();
        if (warmUp == ModelWarmUp.BeforeStart) await loading.ConfigureAwait(false);
        else _ = loading.ContinueWith(static t => _ = t.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default); // the loader has logged it, and the next caller tries again
    }

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
