using Microsoft.Extensions.Logging;

namespace DeepSeek.Extensions;

/// <summary>
/// Loads the model of a registration once, when it is first asked for. Thread-safe. A caller that gives up does not stop the loading for the others; a loading that
/// failed is tried again by the next caller. Owned by the service provider; disposing it disposes the model.
/// </summary>
public sealed partial class LanguageModelLoader : IAsyncDisposable, IDisposable
{
    private readonly DeepSeekChatClientOptions options;
    private readonly TimeProvider? time;
    private readonly ILogger logger;
    private readonly CancellationTokenSource disposing = new();
    private readonly Lock gate = new();
    private volatile Task<LanguageModel>? loading;
    private volatile Exception? failure;

    internal LanguageModelLoader(DeepSeekChatClientOptions options, TimeProvider? time, ILogger logger) => (this.options, this.time, this.logger) = (options, time, logger);

    internal TimeProvider Clock => time ?? TimeProvider.System;

    /// <summary>The model where it is loaded; null before.</summary>
    public LanguageModel? Model => loading is { IsCompletedSuccessfully: true } done ? done.Result : null;

    /// <summary>What the last loading failed with; null where none failed, or the model was loaded since.</summary>
    public Exception? Failure => failure;

    /// <summary>The model; loads it where it is not loaded yet.</summary>
    /// <param name="cancellationToken">Gives up waiting; the loading goes on.</param>
    /// <exception cref="ModelException">It cannot be loaded; the next call tries again.</exception>
    /// <exception cref="IOException">A file cannot be read, or is not there; the next call tries again.</exception>
    /// <exception cref="ObjectDisposedException">The service provider is disposed.</exception>
    public async ValueTask<LanguageModel> GetAsync(CancellationToken cancellationToken = default)
    {
        Task<LanguageModel> task;
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(disposing.IsCancellationRequested, this);
            task = loading is null || loading.IsFaulted || loading.IsCanceled ? loading = Start() : loading;
        }
        return await task.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Begins loading for everybody: the span, the log scopes and the request of whoever comes first are not the loading's.</summary>
    private Task<LanguageModel> Start()
    {
        if (ExecutionContext.IsFlowSuppressed()) return Task.Run(LoadAsync);
        using (ExecutionContext.SuppressFlow()) return Task.Run(LoadAsync);
    }

    private async Task<LanguageModel> LoadAsync()
    {
        long start = Clock.GetTimestamp();
        try
        {
            Loading(options.Path);
            LanguageModel model = await LanguageModel.LoadAsync(options.Path, options.ToModelOptions(time), new LogProgress(this), disposing.Token).ConfigureAwait(false);
            failure = null;
            Loaded(model.Info.ToString(), Clock.GetElapsedTime(start).TotalMilliseconds);
            foreach (string warning in model.Info.Warnings) Warning(warning);
            return model;
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            failure = e;
            Failed(e, options.Path);
            throw;
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        Task<LanguageModel>? task;
        lock (gate)
        {
            if (disposing.IsCancellationRequested) return;
            disposing.Cancel();
            task = loading;
        }
        if (task is null) return;
        await ((Task)task).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (task.IsCompletedSuccessfully) await (await task.ConfigureAwait(false)).DisposeAsync().ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Dispose() => DisposeAsync().AsTask().GetAwaiter().GetResult();

    [LoggerMessage(1, LogLevel.Information, "Loading the model '{Path}'.")]
    private partial void Loading(string path);

    [LoggerMessage(2, LogLevel.Debug, "{Stage}: {Percent} %.")]
    private partial void Progressed(string stage, int percent);

    [LoggerMessage(3, LogLevel.Information, "Loaded in {Milliseconds:0} ms: {Info}")]
    private partial void Loaded(string info, double milliseconds);

    [LoggerMessage(4, LogLevel.Warning, "{Warning}")]
    private partial void Warning(string warning);

    [LoggerMessage(5, LogLevel.Error, "The model '{Path}' could not be loaded.")]
    private partial void Failed(Exception exception, string path);

    private sealed class LogProgress(LanguageModelLoader loader) : IProgress<LoadProgress>
    {
        public void Report(LoadProgress value) => loader.Progressed(value.Stage, (int)(value.Fraction * 100));
    }
}
