using System.Globalization;
using DeepSeek.Backends;
using DeepSeek.Formats;

namespace DeepSeek.Generation;

/// <summary>How the memory of this process is shared between weights and cache: what a plan says and what loading does come from here.</summary>
/// <param name="WeightBytes">Bytes of all weights.</param>
/// <param name="AvailableBytes">Bytes that the process can have.</param>
/// <param name="IsPaged">Whether weights may come and go: they are mapped, and the options allow it.</param>
internal sealed record MemoryBudget(long WeightBytes, long AvailableBytes, bool IsPaged)
{
    /// <summary>Beside weights and cache: activations, tables, the runtime.</summary>
    public const long OverheadBytes = 192L << 20;

    /// <summary>Whether the weights are more than there is memory for.</summary>
    public bool IsExceeded => WeightBytes > AvailableBytes - OverheadBytes;

    /// <summary>Whether the weights fit, or need not.</summary>
    public bool Fits => IsPaged || !IsExceeded;

    /// <summary>Bytes for the cache.</summary>
    public long CacheRoom => Math.Max(AvailableBytes - OverheadBytes - (IsPaged ? 0 : WeightBytes), 0);

    public static MemoryBudget Of(Checkpoint checkpoint, LanguageModelOptions options, MachineLimits machine)
        => new(checkpoint.WeightBytes, machine.AvailableBytes(), options is { AllowPaging: true, PrivateCopy: false });

    /// <summary>What does not fit, and what to try.</summary>
    public string Refusal(LanguageModelOptions options) => string.Create(CultureInfo.InvariantCulture,
        $"The weights take {WeightBytes / 1e6:0} MB and the rest at least {OverheadBytes / 1e6:0} MB, this process can have {AvailableBytes / 1e6:0} MB. Use a smaller quantisation of the model, or set {nameof(options.AllowPaging)}{(options.PrivateCopy ? $" without {nameof(options.PrivateCopy)}" : "")} to read the weights from the file as needed, slowly.");

    /// <exception cref="ModelMemoryException">The weights do not fit.</exception>
    public void Check(LanguageModelOptions options)
    {
        if (!Fits) throw new ModelMemoryException(Refusal(options), WeightBytes + OverheadBytes, AvailableBytes);
    }
}
