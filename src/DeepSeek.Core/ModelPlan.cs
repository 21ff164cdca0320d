using System.Globalization;

namespace DeepSeek;

/// <summary>Whether a model fits the machine.</summary>
public enum PlanVerdict
{
    /// <summary>Weights and cache fit the memory that the process may use.</summary>
    Fits,
    /// <summary>It fits with a shorter context than asked for: <see cref="ModelPlan.ContextLength"/>.</summary>
    FitsWithShorterContext,
    /// <summary>Weights exceed the memory; it runs from the mapped file with <see cref="LanguageModelOptions.AllowPaging"/>, slowly.</summary>
    NeedsPaging,
    /// <summary>Not even the smallest cache fits beside what must stay in memory.</summary>
    DoesNotFit,
}

/// <summary>What loading a model would need and give on this machine, from its file's header and a short measurement: nothing is loaded.</summary>
public sealed record ModelPlan
{
    /// <summary>The model's name, from its file, or the file's name.</summary>
    public required string Name { get; init; }

    /// <summary>Hugging Face's <c>model_type</c>.</summary>
    public required string Architecture { get; init; }

    /// <summary>File format and the number format of most weights.</summary>
    public required string Format { get; init; }

    /// <summary>Parameters, all of them.</summary>
    public required long ParameterCount { get; init; }

    /// <summary>Bytes of all weights as stored; they stay memory-mapped.</summary>
    public required long WeightBytes { get; init; }

    /// <summary>Bytes of weights that one generated token reads: fewer than all where experts are chosen.</summary>
    public required long BytesReadPerToken { get; init; }

    /// <summary>Bytes of attention cache for each token.</summary>
    public required long CacheBytesPerToken { get; init; }

    /// <summary>Bytes of attention cache that the context below takes, for one sequence.</summary>
    public required long CacheBytes { get; init; }

    /// <summary>Longest sequence that fits, at most what the options ask for, in tokens.</summary>
    public required int ContextLength { get; init; }

    /// <summary>Longest sequence that the model was made for, in tokens.</summary>
    public required int MaxContextLength { get; init; }

    /// <summary>Bytes that the process may use: physical memory or the container's limit, less what is taken.</summary>
    public required long AvailableMemoryBytes { get; init; }

    /// <summary>Processors that the process may use: the machine's or the container's limit.</summary>
    public required int Processors { get; init; }

    /// <summary>The device's name.</summary>
    public required string Device { get; init; }

    /// <summary>Which part of the model is where: all on one device, or so many layers, or everything but experts, on a device and the rest on the CPU.</summary>
    public required string Placement { get; init; }

    /// <summary>Bytes of weights and cache in the memory of a device that is not the CPU; 0 where there is none.</summary>
    public required long DeviceBytes { get; init; }

    /// <summary>Instruction sets and kernels that would be used, and why.</summary>
    public required string Kernels { get; init; }

    /// <summary>Bytes of memory read in a second, measured for a fraction of a second.</summary>
    public required double MemoryBytesPerSecond { get; init; }

    /// <summary>Tokens a second to expect of one answer: what the memory's speed allows, or the file's where the weights exceed the memory. The real figure is somewhat below. Where a device has a part of the model, of the rest only; 0 where it has all, because its memory is not measured.</summary>
    public required double ExpectedTokensPerSecond { get; init; }

    /// <summary>Every tensor of the file.</summary>
    public required IReadOnlyList<PlannedTensor> Tensors { get; init; }

    /// <summary>Whether it fits.</summary>
    public required PlanVerdict Verdict { get; init; }

    /// <summary>The verdict in a sentence, with what to try where it does not fit.</summary>
    public required string Advice { get; init; }

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{Name}: {Architecture}, {ParameterCount / 1e6:0.#} M parameters, {Format}, weights {WeightBytes / 1e6:0} MB, cache {CacheBytesPerToken / 1e3:0.#} kB a token, context {ContextLength}, about {ExpectedTokensPerSecond:0.#} tokens/s. {Advice}");
}

/// <summary>A tensor of a model's file.</summary>
/// <param name="Name">Its Hugging Face name.</param>
/// <param name="Type">The format of its numbers: <c>BF16</c>, <c>Q4_K</c>, …</param>
/// <param name="Shape">Dimensions, outermost first.</param>
/// <param name="Bytes">Bytes in the file.</param>
public sealed record PlannedTensor(string Name, string Type, IReadOnlyList<long> Shape, long Bytes);
