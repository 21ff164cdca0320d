using System.Globalization;
using DeepSeek.Backends;
using DeepSeek.Formats;
using DeepSeek.Generation.Constraints;
using DeepSeek.Models;
using DeepSeek.Text;
using DeepSeek.Text.ToolCalls;

namespace DeepSeek.Generation;

/// <summary>A model with everything that it runs on, and who owns what: disposing ends the engine first, the file last.</summary>
internal sealed class LoadedModel : IDisposable
{
    private readonly Checkpoint checkpoint;
    private readonly Backend backend;
    private readonly CacheStorage storage;
    private readonly Lazy<ConstraintCache> constraints;
    private readonly Lazy<byte[]> identity;

    private LoadedModel(Checkpoint checkpoint, Backend backend, Model model, CacheStorage storage, CachePlan plan, DevicePlan? device, LanguageModelOptions options,
        IProgress<LoadProgress>? progress)
    {
        (this.checkpoint, this.backend, this.storage, Model) = (checkpoint, backend, storage, model);
        progress?.Report(new LoadProgress("reading the tokenizer", 0.6));
        Tokenizer = Tokenizer.Load(checkpoint.Path);
        Defaults = SamplingDefaults.From(checkpoint.GenerationConfig);
        EndTokens = [.. Tokenizer.EndOfTurnIds.Union(checkpoint.GenerationConfig.Ints("eos_token_id"))];
        constraints = new Lazy<ConstraintCache>(() => new ConstraintCache(TokenTrie.Of(Tokenizer, Settings!.Entries, EndTokens)));
        TimeProvider clock = options.TimeProvider ?? TimeProvider.System;
        if (checkpoint.ChatTemplate is { } text)
            Prompter = new Prompter(new ChatTemplate(text, SpecialTokens.Of(checkpoint.Path, Tokenizer), options.ToolDialect is { } dialect ? ToolCallDialect.ByName(dialect) : null), Tokenizer, clock);
        ModelFacts facts = ModelFacts.Of(checkpoint);
        identity = new Lazy<byte[]>(() => SessionFile.IdentityOf(checkpoint, storage, backend, options));
        Settings = new EngineSettings(Math.Min(Tokenizer.VocabularySize, model.VocabularySize), options.MaxSequences, options.MaxQueuedRequests, Math.Max(options.MaxStepTokens, options.MaxSequences),
            plan.ContextLength, options.PrefixCaching, facts.ActiveParameterCount, options.Speculation, clock)
        {
            AloneTokens = Pace.Alone(backend.OperationsPerSecond, facts.ActiveParameterCount),
        };
        Info = new ModelInfo
        {
            Name = facts.Name, Architecture = facts.Architecture, Format = facts.Format, ParameterCount = facts.ParameterCount, WeightBytes = checkpoint.WeightBytes,
            LayerCount = model.LayerCount, HiddenSize = model.HiddenSize, VocabularySize = model.VocabularySize, ContextLength = plan.ContextLength, MaxContextLength = model.MaxPositions,
            CacheBytesPerToken = plan.BytesPerToken, CacheBytes = plan.Bytes, Device = backend.Name, Placement = device?.Text ?? $"all on {backend.Name}", DeviceBytes = device?.Bytes ?? 0, Kernels = backend.Description, Threads = BackendFactory.ThreadsOf(options),
            HasChatTemplate = Prompter is not null, HasDraftModule = model.DraftModules > 0,
            Warnings = plan.IsShortened
                ? [.. checkpoint.Warnings, string.Create(CultureInfo.InvariantCulture, $"Memory is short: the context is {plan.ContextLength} tokens instead of {Math.Min(model.MaxPositions, LanguageModelOptions.DefaultContextLength)}.")]
                : checkpoint.Warnings,
        };
        Engine = new Engine(model, backend, storage, Settings);
    }

    public Model Model { get; }

    public Tokenizer Tokenizer { get; }

    /// <summary>Writes prompts; null where the model has no chat template.</summary>
    public Prompter? Prompter { get; }

    /// <summary>Compiled constraints; made when the first one is asked for.</summary>
    public ConstraintCache Constraints => constraints.Value;

    /// <summary>What a saved session is bound to: model, cache and numerics.</summary>
    public byte[] Identity => identity.Value;

    public SamplingDefaults Defaults { get; }

    /// <summary>Tokens that end the model's turn.</summary>
    public int[] EndTokens { get; }

    public EngineSettings Settings { get; }

    public Engine Engine { get; }

    public ModelInfo Info { get; }

    public string Path => checkpoint.Path;

    /// <summary>Opens, binds, and starts the engine.</summary>
    public static LoadedModel Load(string path, LanguageModelOptions options, IProgress<LoadProgress>? progress, MachineLimits machine, CancellationToken cancellationToken)
    {
        progress?.Report(new LoadProgress("opening", 0));
        var owned = new Stack<IDisposable>();
        try
        {
            if (options.PrivateCopy) // before gigabytes are copied
                using (Checkpoint mapped = Checkpoint.Open(path)) MemoryBudget.Of(mapped, options, machine).Check(options);
            Checkpoint checkpoint = Checkpoint.Open(path, options.PrivateCopy);
            owned.Push(checkpoint);
            cancellationToken.ThrowIfCancellationRequested();
            Architectures.Find(checkpoint.Config);
            MemoryBudget memory = MemoryBudget.Of(checkpoint, options, machine);
            Backend backend = BackendFactory.Create(options);
            owned.Push(backend);
            CacheFormat format = BackendFactory.FormatOf(options.CacheType, backend);
            DevicePlan? device = DevicePlan.Of(options, checkpoint, format, memory);
            if (device is not null)
            {
                memory = device.OnHost(memory);
                backend = BackendFactory.Place(options, backend, device.Placement);
                owned.Pop(); // which the new one owns, where it is another
                owned.Push(backend);
            }
            if (!options.PrivateCopy) memory.Check(options);
            progress?.Report(new LoadProgress("binding weights", 0.1));
            Model model = Architectures.Bind(new ModelSource(checkpoint, backend));
            cancellationToken.ThrowIfCancellationRequested();
            backend.Upload(new UploadProgress(progress, cancellationToken));
            CachePlan plan = device?.Cache ?? CachePlan.For(options, model.Streams, format, model.MaxPositions, (options.PrivateCopy ? memory with { WeightBytes = 0 } : memory).CacheRoom - backend.PreparedBytes); // a copy is in memory already
            CacheStorage storage = backend.CreateCache(model.Streams, format, CachePlan.BlockTokens, plan.BlockCount);
            owned.Push(storage);
            var loaded = new LoadedModel(checkpoint, backend, model, storage, plan, device, options, progress);
            progress?.Report(new LoadProgress("ready", 1));
            return loaded;
        }
        catch
        {
            foreach (IDisposable d in owned) d.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        Engine.Dispose();
        storage.Dispose();
        backend.Dispose();
        checkpoint.Dispose();
    }

    /// <summary>A device's uploads as a part of loading, which can be cancelled between weights.</summary>
    private sealed class UploadProgress(IProgress<LoadProgress>? progress, CancellationToken cancellationToken) : IProgress<double>
    {
        public void Report(double value)
        {
            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(new LoadProgress("uploading weights", 0.1 + 0.4 * value));
        }
    }
}
