namespace DeepSeek;

/// <summary>What was loaded and how it runs. <see cref="ToString"/> is a line for people.</summary>
public sealed record ModelInfo
{
    /// <summary>The model's name, from its file, or the file's name.</summary>
    public required string Name { get; init; }

    /// <summary>Hugging Face's <c>model_type</c>: <c>llama</c>, <c>qwen2</c>, <c>deepseek_v3</c>, …</summary>
    public required string Architecture { get; init; }

    /// <summary>File format and the number format of most weights: <c>GGUF v3, Q4_K</c>.</summary>
    public required string Format { get; init; }

    /// <summary>Parameters, all of them.</summary>
    public required long ParameterCount { get; init; }

    /// <summary>Bytes of all weights as stored.</summary>
    public required long WeightBytes { get; init; }

    /// <summary>Layers.</summary>
    public required int LayerCount { get; init; }

    /// <summary>Numbers of a hidden state.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Entries of the vocabulary.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Longest sequence that this instance runs, in tokens.</summary>
    public required int ContextLength { get; init; }

    /// <summary>Longest sequence that the model was made for, in tokens.</summary>
    public required int MaxContextLength { get; init; }

    /// <summary>Bytes of attention cache for each token.</summary>
    public required long CacheBytesPerToken { get; init; }

    /// <summary>Bytes of the whole attention cache.</summary>
    public required long CacheBytes { get; init; }

    /// <summary>The device's name.</summary>
    public required string Device { get; init; }

    /// <summary>Which part of the model is where: all on one device, or so many layers, or everything but experts, on a device and the rest on the CPU.</summary>
    public required string Placement { get; init; }

    /// <summary>Bytes of weights and cache in the memory of a device that is not the CPU; 0 where there is none.</summary>
    public required long DeviceBytes { get; init; }

    /// <summary>Instruction sets and kernels in use, and why.</summary>
    public required string Kernels { get; init; }

    /// <summary>Threads of computation.</summary>
    public required int Threads { get; init; }

    /// <summary>Whether the model has a chat template.</summary>
    public required bool HasChatTemplate { get; init; }

    /// <summary>Whether the model has a module for drafting tokens ahead.</summary>
    public required bool HasDraftModule { get; init; }

    /// <summary>Things that deserve attention, such as a value that had to be assumed.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <inheritdoc/>
    public override string ToString()
        => FormattableString.Invariant($"{Name}: {Architecture}, {ParameterCount / 1e6:0.#} M parameters, {Format}, {WeightBytes / 1e6:0} MB, context {ContextLength}, {Placement} ({Kernels}), {Threads} threads");
}
