namespace DeepSeek.Backends.Cpu;

/// <summary>How a <see cref="CpuBackend"/> is made.</summary>
internal sealed record CpuBackendOptions
{
    /// <summary>Threads of computation. Null: the physical cores that the process may use.</summary>
    public int? Threads { get; init; }

    /// <summary>Instruction sets that must not be used, by .NET's names. Null: none.</summary>
    public IReadOnlyCollection<string>? DisabledInstructionSets { get; init; }

    /// <summary>One recipe for each product and attention, whatever the batch, the threads and the chunking of the prompt.</summary>
    public bool Reproducible { get; init; }
}
