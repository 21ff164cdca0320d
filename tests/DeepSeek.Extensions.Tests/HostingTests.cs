using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace DeepSeek.Extensions.Tests;

/// <summary>Registrations in a real container and a real host.</summary>
public class HostingTests
{
    private static readonly ChatOptions Short = new() { MaxOutputTokens = 2 };

    [Fact]
    public async Task AModelIsLoadedOnceByTheFirstRequestsAndDisposedByTheProvider()
    {
        var log = new LogLines();
        LanguageModel model;
        await using (ServiceProvider services = Services(s => s.AddDeepSeekChatClient(Tiny), log))
        {
            LanguageModelLoader loader = services.GetRequiredService<LanguageModelLoader>();
            IChatClient client = services.GetRequiredService<IChatClient>();
            Assert.Same(client, services.GetRequiredService<IChatClient>());
            Assert.Null(loader.Model);
            Assert.Null(client.GetService<LanguageModel>());
            Assert.Equal("deepseek", client.GetService<ChatClientMetadata>()!.ProviderName);
            await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => client.GetResponseAsync("Hello", Short)));
            model = services.GetRequiredService<LanguageModel>();
            Assert.Same(model, loader.Model);
            Assert.Same(model, client.GetService<LanguageModel>());
            client.Dispose();
            Assert.NotEmpty(await model.ChatAsync("What is 1 + 2?"));
        }
        await Assert.ThrowsAsync<ObjectDisposedException>(() => model.ChatAsync("Hello"));
        Assert.Single(log.Lines, l => l.Level == LogLevel.Information && l.Line.Contains("Loading", StringComparison.Ordinal));
        string loaded = Assert.Single(log.Lines, l => l.Level == LogLevel.Information && l.Line.StartsWith("Loaded in", StringComparison.Ordinal)).Line;
        Assert.Contains(model.Info.Kernels, loaded, StringComparison.Ordinal);
        Assert.Contains(model.Info.Architecture, loaded, StringComparison.Ordinal);
        Assert.Contains(log.Lines, l => l.Level == LogLevel.Debug && l.Line.Contains('%', StringComparison.Ordinal));
    }

    [Fact]
    public async Task AModelThatIsNotLoadedIsNotWaitedForByAFactory()
    {
        await using ServiceProvider services = Services(s => s.AddDeepSeekChatClient(Tiny));
        Assert.Contains("BeforeStart", Assert.Throws<InvalidOperationException>(() => services.GetRequiredService<LanguageModel>()).Message, StringComparison.Ordinal);
        LanguageModel model = await services.GetRequiredService<LanguageModelLoader>().GetAsync();
        Assert.Same(model, services.GetRequiredService<LanguageModel>()); // the failure above is not remembered
    }

    [Fact]
    public async Task OneCallersCancellationDoesNotPoisonTheLoading()
    {
        await using ServiceProvider services = Services(s => s.AddDeepSeekChatClient(Tiny));
        LanguageModelLoader loader = services.GetRequiredService<LanguageModelLoader>();
        using var cancelled = new CancellationTokenSource();
        Task<LanguageModel> impatient = loader.GetAsync(cancelled.Token).AsTask();
        Task<LanguageModel> patient = loader.GetAsync().AsTask();
        await cancelled.CancelAsync();
        try { await impatient; }
        catch (OperationCanceledException) { } // unless it was loaded before
        Assert.Same(await patient, await loader.GetAsync());
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => services.GetRequiredService<IChatClient>().GetResponseAsync("Hello", Short, cancelled.Token));
        Assert.NotNull(await services.GetRequiredService<IChatClient>().GetResponseAsync("Hello", Short));
    }

    /// <summary>What the first caller carries along (a span, a request's scope) is nothing to a loading that serves everybody.</summary>
    [Fact]
    public async Task TheLoadingBelongsToNoCaller()
    {
        var clock = new Watch();
        await using ServiceProvider services = Services(s => s.AddSingleton<TimeProvider>(clock).AddDeepSeekChatClient(Tiny));
        clock.Caller.Value = "the first";
        await services.GetRequiredService<LanguageModelLoader>().GetAsync();
        Assert.NotEmpty(clock.Seen);
        Assert.All(clock.Seen, Assert.Null);
    }

    /// <summary>Notes who looks at it.</summary>
    private sealed class Watch : TimeProvider
    {
        public AsyncLocal<string?> Caller { get; } = new();

        public System.Collections.Concurrent.ConcurrentBag<string?> Seen { get; } = [];

        public override long GetTimestamp()
        {
            Seen.Add(Caller.Value);
            return base.GetTimestamp();
        }
    }

    [Fact]
    public async Task AFailedLoadingIsTriedAgainAndTheHealthCheckTells()
    {
        string folder = Directory.CreateTempSubdirectory("deepseek-test-").FullName;
        string path = Path.Combine(folder, "model.gguf");
        try
        {
            await File.WriteAllTextAsync(path, "not a model");
            var log = new LogLines();
            await using ServiceProvider services = Services(s =>
            {
                s.AddDeepSeekChatClient(o => o.Path = path);
                s.AddHealthChecks().Add(LanguageModelHealthCheck.Registration());
            }, log);
            HealthCheckService health = services.GetRequiredService<HealthCheckService>();
            Assert.Equal(HealthStatus.Degraded, (await health.CheckHealthAsync()).Status);
            IChatClient client = services.GetRequiredService<IChatClient>();
            await Assert.ThrowsAsync<InvalidModelFileException>(() => client.GetResponseAsync("Hello", Short));
            Assert.IsType<InvalidModelFileException>(services.GetRequiredService<LanguageModelLoader>().Failure);
            HealthReport broken = await health.CheckHealthAsync();
            Assert.Equal(HealthStatus.Unhealthy, broken.Status);
            Assert.IsType<InvalidModelFileException>(broken.Entries["deepseek"].Exception);
            Assert.Single(log.Lines, l => l.Level == LogLevel.Error && l.Line.Contains(path, StringComparison.Ordinal));

            File.Delete(path);
            File.CreateSymbolicLink(path, Models.SmolPath);
            Assert.NotEqual("", (await client.GetResponseAsync("Hello", Short)).Text);
            Assert.Null(services.GetRequiredService<LanguageModelLoader>().Failure);
            HealthReport healthy = await health.CheckHealthAsync();
            Assert.Equal(HealthStatus.Healthy, healthy.Status);
            Assert.Contains("llama", healthy.Entries["deepseek"].Description!, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task AllThatIsWrongIsSaidAtStart()
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddDeepSeekChatClient(o => (o.Path, o.Threads, o.ContextLength, o.MaxQueuedRequests, o.CacheType, o.ToolDialect, o.WarmUp) = ("/no/such/model", 0, -1, 0, (CacheType)99, "klingon", (ModelWarmUp)7));
        builder.Services.AddKeyedDeepSeekChatClient("fine", Tiny);
        using IHost host = builder.Build();
        OptionsValidationException e = await Assert.ThrowsAsync<OptionsValidationException>(() => host.StartAsync());
        Assert.Equal(7, e.Failures.Count());
        Assert.All((string[])["/no/such/model", "Threads is 0", "ContextLength is -1", "MaxQueuedRequests is 0", "CacheType is 99", "'klingon'", "WarmUp is 7"], w => Assert.Contains(w, e.Message, StringComparison.Ordinal));
    }

    /// <summary>What a model can be loaded with can be configured, but for what is no plain value.</summary>
    [Fact]
    public void EveryOptionOfAModelIsThere()
    {
        string[] elsewhere = [nameof(LanguageModelOptions.Device), nameof(LanguageModelOptions.TimeProvider), nameof(LanguageModelOptions.DisabledInstructionSets)];
        Assert.Equal(typeof(LanguageModelOptions).GetProperties().Select(p => p.Name).Except(elsewhere).Order(StringComparer.Ordinal),
            typeof(DeepSeekChatClientOptions).GetProperties().Select(p => p.Name).Except([nameof(DeepSeekChatClientOptions.Path), nameof(DeepSeekChatClientOptions.WarmUp)]).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData(ModelWarmUp.BeforeStart)]
    [InlineData(ModelWarmUp.Background)]
    [InlineData(ModelWarmUp.None)]
    public async Task AHostWarmsUp(ModelWarmUp warmUp)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddDeepSeekChatClient(o =>
        {
            Tiny(o);
            o.WarmUp = warmUp;
        });
        using IHost host = builder.Build();
        await host.StartAsync();
        LanguageModelLoader loader = host.Services.GetRequiredService<LanguageModelLoader>();
        if (warmUp == ModelWarmUp.BeforeStart) Assert.Same(loader.Model, host.Services.GetRequiredService<LanguageModel>());
        if (warmUp == ModelWarmUp.None) Assert.Null(loader.Model);
        Assert.NotNull(await loader.GetAsync());
        await host.StopAsync();
    }

    [Fact]
    public async Task AWarmUpThatFailsStopsTheStartOrIsLeftToTheFirstRequest()
    {
        string path = Path.Combine(Models.Root, "Library.sln"); // a file, and no model
        using (IHost host = Build(ModelWarmUp.BeforeStart)) await Assert.ThrowsAnyAsync<ModelException>(() => host.StartAsync());
        using (IHost host = Build(ModelWarmUp.Background))
        {
            await host.StartAsync();
            await Assert.ThrowsAnyAsync<ModelException>(() => host.Services.GetRequiredService<IChatClient>().GetResponseAsync("Hello"));
        }

        IHost Build(ModelWarmUp warmUp)
        {
            HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
            builder.Services.AddDeepSeekChatClient(o => (o.Path, o.WarmUp) = (path, warmUp));
            return builder.Build();
        }
    }

    [Fact]
    public async Task ModelsLiveSideBySideUnderKeysAndComeFromConfiguration()
    {
        IConfiguration configuration = new ConfigurationBuilder().AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["Tiny:Path"] = Models.TinyPath, ["Tiny:Threads"] = "1", ["Tiny:ContextLength"] = "512", ["Tiny:CacheType"] = "Float32", ["Tiny:Speculation"] = "Off", ["Tiny:WarmUp"] = "Background", ["Tiny:Reproducible"] = "true",
            ["Smol:Path"] = Models.SmolPath,
        }).Build();
        await using ServiceProvider services = Services(s => s.AddKeyedDeepSeekChatClient("tiny", configuration.GetSection("Tiny")).AddDeepSeekChatClient(configuration.GetSection("Smol")));
        Assert.Equal(ModelWarmUp.Background, services.GetRequiredService<IOptionsMonitor<DeepSeekChatClientOptions>>().Get("tiny").WarmUp);
        ChatResponse tiny = await services.GetRequiredKeyedService<IChatClient>("tiny").GetResponseAsync("What is 16 - 6?", new ChatOptions { Temperature = 0, Reasoning = new() { Effort = ReasoningEffort.None } });
        ChatResponse smol = await services.GetRequiredService<IChatClient>().GetResponseAsync("Hello", Short);
        Assert.Contains("10", tiny.Text, StringComparison.Ordinal);
        Assert.NotEqual(tiny.ModelId, smol.ModelId);
        LanguageModelOptions options = services.GetRequiredKeyedService<LanguageModel>("tiny").Options;
        Assert.Equal((1, 512, CacheType.Float32, Speculation.Off, true), (options.Threads!.Value, options.ContextLength!.Value, options.CacheType, options.Speculation, options.Reproducible));
        Assert.Equal(2, services.GetServices<IHostedService>().Count());
    }

    [Fact]
    public async Task ASecondCallConfiguresTheSameRegistration()
    {
        await using ServiceProvider services = Services(s => s.AddDeepSeekChatClient(Tiny).AddDeepSeekChatClient(o => o.ContextLength = 300));
        Assert.Single(services.GetServices<IChatClient>());
        Assert.Single(services.GetServices<IHostedService>());
        Assert.Equal(300, (await services.GetRequiredService<LanguageModelLoader>().GetAsync()).Info.ContextLength);
    }

    [Fact]
    public async Task APipelineAndEmbeddingsComposeAroundIt()
    {
        await using ServiceProvider services = Services(s =>
        {
            s.AddKeyedDeepSeekChatClient("inner", Tiny);
            s.AddChatClient(sp => sp.GetRequiredKeyedService<IChatClient>("inner")).UseFunctionInvocation();
            s.AddEmbeddingGenerator(sp => sp.GetRequiredKeyedService<LanguageModelLoader>("inner").AsIEmbeddingGenerator());
        });
        AIFunction timer = AIFunctionFactory.Create((int minutes) => "{\"status\": \"started\"}", "set_timer", "Start a timer");
        ChatResponse response = await services.GetRequiredService<IChatClient>().GetResponseAsync("Start a 20 minute timer.",
            new ChatOptions { Temperature = 0, Tools = [timer], Reasoning = new() { Effort = ReasoningEffort.None } });
        Assert.Equal("The timer for 20 minutes is running.", response.Messages[^1].Text);
        Assert.Single(await services.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>().GenerateAsync(["x"]));
    }

    [Fact]
    public async Task AfterTheProviderNothingIsLoaded()
    {
        ServiceProvider services = Services(s => s.AddDeepSeekChatClient(Tiny));
        LanguageModelLoader loader = services.GetRequiredService<LanguageModelLoader>();
        IChatClient client = services.GetRequiredService<IChatClient>();
        Task<LanguageModel> loading = loader.GetAsync().AsTask();
        await services.DisposeAsync(); // waits for the loading, and disposes what came of it
        await Assert.ThrowsAsync<ObjectDisposedException>(() => loader.GetAsync().AsTask());
        await Assert.ThrowsAsync<ObjectDisposedException>(() => client.GetResponseAsync("Hello"));
        LanguageModel model;
        try { model = await loading; }
        catch (OperationCanceledException) { return; } // the loading was given up in time
        await Assert.ThrowsAsync<ObjectDisposedException>(() => model.ChatAsync("Hello"));
    }

    private static void Tiny(DeepSeekChatClientOptions options) => (options.Path, options.Threads) = (Models.TinyPath, 1);

    private static ServiceProvider Services(Action<IServiceCollection> add, LogLines? log = null)
    {
        var services = new ServiceCollection();
        services.AddLogging(b => b.SetMinimumLevel(LogLevel.Trace).AddProvider(log ?? new LogLines()));
        add(services);
        return services.BuildServiceProvider(new ServiceProviderOptions { ValidateOnBuild = true, ValidateScopes = true });
    }
}
