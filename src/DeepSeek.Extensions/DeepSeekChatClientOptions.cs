namespace DeepSeek.Extensions;

/// <summary>When the model of a registration is loaded.</summary>
public enum ModelWarmUp
{
    /// <summary>By the first request that needs it.</summary>
    None,
    /// <summary>When the host starts, while it goes on starting.</summary>
    Background,
    /// <summary>When the host starts; it waits for the model, and fails to start where loading fails.</summary>
    BeforeStart,
}

/// <summary>The model of a registration and how it is loaded; bindable from configuration. Properties that are null take the default of <see cref="LanguageModelOptions"/>.</summary>
public sealed class DeepSeekChatClientOptions
{
    private ComputeDevice? device;

    /// <summary>A GGUF file or a Hugging Face folder. Required.</summary>
    public string Path { get; set; } = "";

    /// <summary>When the model is loaded. Default: by the first request.</summary>
    public ModelWarmUp WarmUp { get; set; }

    /// <inheritdoc cref="LanguageModelOptions.DeviceBytes"/>
    public long? DeviceBytes { get; set; }

    /// <inheritdoc cref="LanguageModelOptions.Threads"/>
    public int? Threads { get; set; }

    /// <inheritdoc cref="LanguageModelOptions.ContextLength"/>
    public int? ContextLength { get; set; }

    /// <inheritdoc cref="LanguageModelOptions.MaxSequences"/>
    public int? MaxSequences { get; set; }

    /// <inheritdoc cref="LanguageModelOptions.MaxQueuedRequests"/>
    public int? MaxQueuedRequests { get; set; }

    /// <inheritdoc cref="LanguageModelOptions.MaxStepTokens"/>
    public int? MaxStepTokens { get; set; }

    /// <inheritdoc cref="LanguageModelOptions.CacheType"/>
    public CacheType? CacheType { get; set; }

    /// <inheritdoc cref="LanguageModelOptions.CacheBytes"/>
    public long? CacheBytes { get; set; }

    /// <inheritdoc cref="LanguageModelOptions.PrefixCaching"/>
    public bool? PrefixCaching { get; set; }

    /// <inheritdoc cref="LanguageModelOptions.Speculation"/>
    public Speculation? Speculation { get; set; }

    /// <inheritdoc cref="LanguageModelOptions.Reproducible"/>
    public bool? Reproducible { get; set; }

    /// <inheritdoc cref="LanguageModelOptions.PrivateCopy"/>
    public bool? PrivateCopy { get; set; }

    /// <inheritdoc cref="LanguageModelOptions.AllowPaging"/>
    public bool? AllowPaging { get; set; }

    /// <inheritdoc cref="LanguageModelOptions.ToolDialect"/>
    public string? ToolDialect { get; set; }

    /// <summary>Chooses where the model runs; without it, the CPU. A method, because a device cannot be bound from configuration.</summary>
    /// <returns>These options.</returns>
    public DeepSeekChatClientOptions RunOn(ComputeDevice device)
    {
        this.device = device;
        return this;
    }

    /// <summary>The same as options of the model.</summary>
    internal LanguageModelOptions ToModelOptions(TimeProvider? time)
    {
        var o = new LanguageModelOptions();
        return o with
        {
            Device = device ?? o.Device,
            DeviceBytes = DeviceBytes,
            Threads = Threads,
            ContextLength = ContextLength,
            MaxSequences = MaxSequences ?? o.MaxSequences,
            MaxQueuedRequests = MaxQueuedRequests ?? o.MaxQueuedRequests,
            MaxStepTokens = MaxStepTokens ?? o.MaxStepTokens,
            CacheType = CacheType ?? o.CacheType,
            CacheBytes = CacheBytes,
            PrefixCaching = PrefixCaching ?? o.PrefixCaching,
            Speculation = Speculation ?? o.Speculation,
            Reproducible = Reproducible ?? o.Reproducible,
            PrivateCopy = PrivateCopy ?? o.PrivateCopy,
            AllowPaging = AllowPaging ?? o.AllowPaging,
            ToolDialect = ToolDialect,
            TimeProvider = time,
        };
    }

    /// <summary>Everything that is wrong with these options.</summary>
    internal IEnumerable<string> Failures()
    {
        if (string.IsNullOrWhiteSpace(Path)) yield return "Path is empty; expected a GGUF file or a Hugging Face folder.";
        else if (!File.Exists(Path) && !Directory.Exists(Path)) yield return $"Path is '{Path}', and there is no such file or folder (looked for {System.IO.Path.GetFullPath(Path)}).";
        if (!Enum.IsDefined(WarmUp)) yield return $"WarmUp is {WarmUp}, expected one of {string.Join(", ", Enum.GetNames<ModelWarmUp>())}.";
        foreach (string failure in LanguageModel.Validate(ToModelOptions(null))) yield return failure + ".";
    }
}
