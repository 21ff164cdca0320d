namespace DeepSeek;

/// <summary>Where a model's layers run. This package has the CPU; DeepSeek.Gpu adds graphics processors.</summary>
public abstract class ComputeDevice
{
    private protected ComputeDevice(string name) => Name = name;

    /// <summary>The processor, with the fastest instructions that it has.</summary>
    public static ComputeDevice Cpu { get; } = new CpuDevice("cpu");

    /// <summary>The processor, in plain scalar arithmetic: the specification that the others are tested against. Very slow.</summary>
    public static ComputeDevice Reference { get; } = new CpuDevice("reference");

    /// <summary>The device's name.</summary>
    public string Name { get; }

    /// <inheritdoc/>
    public override string ToString() => Name;

    private sealed class CpuDevice(string name) : ComputeDevice(name);
}
