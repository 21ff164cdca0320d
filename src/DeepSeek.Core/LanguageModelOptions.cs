namespace DeepSeek;

/// <summary>How numbers of the attention cache are stored.</summary>
public enum CacheType
{
    /// <summary>What the backend prefers: bfloat16 on the CPU, float32 on the reference backend.</summary>
    Default,
    /// <summary>32-bit floating point.</summary>
    Float32,
    /// <summary>IEEE 16-bit floating point.</summary>
    Float16,
    /// <summary>bfloat16: 8 bits of exponent, 8 of precision.</summary>
    BFloat16,
    /// <summary>8-bit integers with a scale for each 32: half the memory of the 16-bit types.</summary>
    Q8,
}

/// <summary>When tokens are drafted ahead and verified together. The text is the same with and without.</summary>
public enum Speculation
{
    /// <summary>
    /// Where it pays, by how long steps with and without drafts take on this machine and how many drafts are accepted: by the model's draft module where it has one and is not very small,
    /// else by looking up what followed when the last tokens stood in the text before. Not where more than two sequences share a step.
    /// </summary>
    Auto,
    /// <summary>Never.</summary>
    Off,
    /// <summary>By the model's draft module, or by looking the text up where it has none, whatever a step takes; drafting pauses while too few drafts are accepted.</summary>
    On,
}

/// <summary>How a model is loaded. Immutable; use <c>with</c> to derive.</summary>
public sealed record LanguageModelOptions
{
    /// <summary>Context length where neither the caller nor the memory budget says less: 32,768 tokens, or the model's own where that is shorter.</summary>
    public const int DefaultContextLength = 32_768;

    /// <summary>Sequences that run at the same time by default.</summary>
    public const int DefaultMaxSequences = 16;

    /// <summary>Requests that may wait by default.</summary>
    public const int DefaultMaxQueuedRequests = 256;

    /// <summary>Tokens in a step by default: prompts are processed in chunks of at most that many.</summary>
    public const int DefaultMaxStepTokens = 512;

    /// <summary>Where the model runs. Default: the CPU. Another device is never taken without being asked for, nor exchanged for the CPU where it fails.</summary>
    public ComputeDevice Device { get; init; } = ComputeDevice.Cpu;

    /// <summary>
    /// Bytes of the device's memory that the model's weights and cache may take; only with a device other than the CPU. Null: nine tenths of what is free there. A model that needs more is
    /// split, as <see cref="ModelPlan.Placement"/> and <see cref="ModelInfo.Placement"/> say: everything but its experts goes to the device where that fits, else as many of its last layers as
    /// fit; the CPU has the rest.
    /// </summary>
    public long? DeviceBytes { get; init; }

    /// <summary>Threads of computation. Null: the physical cores that the process may use.</summary>
    public int? Threads { get; init; }

    /// <summary>Longest sequence, prompt and answer together, in tokens. Null: the model's own, at most <see cref="DefaultContextLength"/>.</summary>
    public int? ContextLength { get; init; }

    /// <summary>Sequences that run at the same time.</summary>
    public int MaxSequences { get; init; } = DefaultMaxSequences;

    /// <summary>Requests that may wait; one more is refused with <see cref="EngineBusyException"/>.</summary>
    public int MaxQueuedRequests { get; init; } = DefaultMaxQueuedRequests;

    /// <summary>Most tokens in one step.</summary>
    public int MaxStepTokens { get; init; } = DefaultMaxStepTokens;

    /// <summary>How the attention cache is stored.</summary>
    public CacheType CacheType { get; init; }

    /// <summary>Bytes for the attention cache of all sequences. Null: enough for four sequences of <see cref="ContextLength"/>, at most a quarter of the memory; memory is taken as it is used.</summary>
    public long? CacheBytes { get; init; }

    /// <summary>Whether a prompt's beginning may be taken from the cache of earlier requests. Default true.</summary>
    public bool PrefixCaching { get; init; } = true;

    /// <summary>Drafting ahead. Default <see cref="Speculation.Auto"/>.</summary>
    public Speculation Speculation { get; init; }

    /// <summary>
    /// Bit-equal logits whatever else is in the batch, whatever the number of threads, whether a prefix was cached, with drafting on or off; slower.
    /// Default false: the same request alone on the same machine gives the same tokens.
    /// </summary>
    public bool Reproducible { get; init; }

    /// <summary>Reads the files into memory instead of mapping them: slower to load, safe against files that change while the model runs.</summary>
    public bool PrivateCopy { get; init; }

    /// <summary>Lets weights exceed the memory, paged from the file as needed: slow, but it runs.</summary>
    public bool AllowPaging { get; init; }

    /// <summary>
    /// Instruction sets that must not be used, by .NET's names (<c>AVX512</c>, <c>AVX512_VNNI</c>, <c>AVX2</c>, …): for comparing and testing. Null: none. It decides between the kernels;
    /// how the runtime encodes portable vectors is the runtime's affair, and follows its own switches (<c>DOTNET_EnableAVX512=0</c>).
    /// </summary>
    public IReadOnlyCollection<string>? DisabledInstructionSets { get; init; }

    /// <summary>
    /// How the model writes tool calls, where its chat template does not say so or says it wrongly: <c>deepseek_r1_0528</c> (V3 too), <c>deepseek_v3_1</c>, <c>deepseek_v3_2_dsml</c>,
    /// <c>deepseek_v4_dsml</c>, <c>qwen_hermes</c> or <c>llama3_json</c>. Null: as the template shows.
    /// </summary>
    public string? ToolDialect { get; init; }

    /// <summary>The clock. Null: the system's.</summary>
    public TimeProvider? TimeProvider { get; init; }
}
