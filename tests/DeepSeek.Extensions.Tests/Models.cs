using Microsoft.Extensions.AI;

namespace DeepSeek.Extensions.Tests;

/// <summary>The embedded models, loaded once for all tests of the collection.</summary>
public sealed class Models : IAsyncLifetime
{
    public const string Collection = "models";

    /// <summary>The repository's root: the nearest folder above the test binary that holds Library.sln.</summary>
    public static string Root { get; } = FindRoot();

    public static string TinyPath { get; } = Path.Combine(Root, "samples", "models", "tiny-reasoner");

    public static string SmolPath { get; } = Path.Combine(Root, "samples", "models", "SmolLM2-135M-Instruct.Q4_1.gguf");

    /// <summary>Reasons through sums and calls tools of a fixed pool.</summary>
    public LanguageModel Tiny { get; private set; } = null!;

    public IChatClient Client => Tiny.AsIChatClient();

    public async Task InitializeAsync() => Tiny = await LanguageModel.LoadAsync(TinyPath, new LanguageModelOptions { Threads = 2 });

    public async Task DisposeAsync() => await Tiny.DisposeAsync();

    private static string FindRoot()
    {
        for (DirectoryInfo? d = new(AppContext.BaseDirectory); d is not null; d = d.Parent)
            if (File.Exists(Path.Combine(d.FullName, "Library.sln"))) return d.FullName;
        throw new InvalidOperationException("Library.sln is not in any folder above the tests.");
    }
}

[CollectionDefinition(Models.Collection)]
public sealed class ModelsCollection : ICollectionFixture<Models>;
