using DeepSeek.Backends;
using DeepSeek.Backends.Cpu;

namespace DeepSeek.Generation;

/// <summary>Makes the backend that the options ask for.</summary>
internal static class BackendFactory
{
    public static Backend Create(LanguageModelOptions options)
        => options.Device == ComputeDevice.Reference ? new ReferenceBackend()
            : options.Device == ComputeDevice.Cpu ? Processor(options)
            : options.Device is IBackendDevice device ? device.CreateBackend(options)
            : throw new InvalidOptionException($"The device '{options.Device.Name}' is of a package that does not match this one. Use the same version of all DeepSeek packages.");

    /// <summary>The device's backend, with the processor's beside it where a part of the model is there.</summary>
    public static Backend Place(LanguageModelOptions options, Backend device, Placement placement) => placement.IsWhole ? device : new SplitBackend(Processor(options), device, placement);

    private static CpuBackend Processor(LanguageModelOptions options)
        => new(new CpuBackendOptions { Threads = options.Threads, DisabledInstructionSets = options.DisabledInstructionSets, Reproducible = options.Reproducible });

    /// <summary>Threads of computation.</summary>
    public static int ThreadsOf(LanguageModelOptions options) => options.Device == ComputeDevice.Reference ? 1 : options.Threads ?? ProcessorTopology.UsableCores();

    public static CacheFormat FormatOf(CacheType type, Backend backend) => type switch
    {
        CacheType.Float32 => CacheFormat.F32,
        CacheType.Float16 => CacheFormat.F16,
        CacheType.BFloat16 => CacheFormat.BF16,
        CacheType.Q8 => CacheFormat.Q8,
        _ => backend.PreferredCache,
    };
}
