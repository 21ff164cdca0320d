using System.Globalization;
using DeepSeek.Backends;
using DeepSeek.Gpu.Host;
using DeepSeek.Gpu.Kernels;
using DeepSeek.Tensors;

namespace DeepSeek.Gpu;

/// <summary>
/// A graphics processor. Thread-safe. Nothing takes one without being told to, and a model that was told to run on one does not run elsewhere where it cannot: what is not there or too small
/// is an error. An application that wants the processor instead says so: <c>Device = GpuDevice.All.FirstOrDefault() ?? ComputeDevice.Cpu</c>.
/// </summary>
/// <remarks>A model that is larger than the device's memory is split between it and the processor: see <see cref="LanguageModelOptions.DeviceBytes"/>.</remarks>
public sealed class GpuDevice : ComputeDevice, IBackendDevice
{
    private static readonly Lazy<(IReadOnlyList<GpuDevice> Devices, string? Absence)> Discovered = new(Discover);

    private readonly Func<LanguageModelOptions, Backend> create;
    private readonly Func<long?> available;

    internal GpuDevice(string name, string description, long memoryBytes, Func<long?> available, Func<LanguageModelOptions, Backend> create) : base(name)
        => (Description, MemoryBytes, this.available, this.create) = (description, memoryBytes, available, create);

    /// <summary>The graphics processors that can be used here, the most capable kind (CUDA) first. Empty where there is none, or where this build has no driver for any: see <see cref="WhyNone"/>. Looked for once a process.</summary>
    public static IReadOnlyList<GpuDevice> All => Discovered.Value.Devices;

    /// <summary>Why <see cref="All"/> is empty; null where it is not.</summary>
    public static string? WhyNone => Discovered.Value.Absence;

    /// <summary>The first of <see cref="All"/>.</summary>
    /// <exception cref="DeviceException">There is none; the message says why.</exception>
    public static GpuDevice Default => All.Count > 0 ? All[0] : throw new DeviceException(WhyNone!);

    /// <summary>The device's kernels run by the processor, one item after the other: for tests and for looking at them where there is no graphics processor. Very slow.</summary>
    public static GpuDevice Host { get; } = new("host", "kernels of the GPU package on the processor", 0, () => null, o => Start(new HostRuntime(), o));

    /// <summary>What it is, for people: <c>NVIDIA GeForce RTX 4090, CUDA, 25.2 GB</c>.</summary>
    public string Description { get; }

    /// <summary>Bytes of its memory, used and free; 0 for <see cref="Host"/>, which has none of its own.</summary>
    public long MemoryBytes { get; }

    long? IBackendDevice.AvailableBytes => available();

    /// <summary>A device by name: <c>gpu</c> for <see cref="Default"/>, <c>gpu:1</c> for another one of <see cref="All"/>, its <see cref="ComputeDevice.Name"/> (<c>cuda:0</c>, <c>opencl:0</c>), or <c>host</c>, <c>cpu</c> and <c>reference</c>.</summary>
    /// <exception cref="DeviceException">It is the name of a graphics processor that is not there; the message says which ones are, or why there is none.</exception>
    /// <exception cref="InvalidOptionException">It is no device's name.</exception>
    public static ComputeDevice Find(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        switch (name)
        {
            case "cpu": return Cpu;
            case "reference": return Reference;
            case "host": return Host;
            case "gpu": return Default;
        }
        string[] parts = name.Split(':');
        if (parts.Length != 2 || parts[0] is not ("gpu" or "cuda" or "opencl") || !int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out int number))
            throw new InvalidOptionException($"There is no device '{name}'; expected cpu, gpu, gpu:N, cuda:N, opencl:N, host or reference.");
        return (parts[0] == "gpu" ? All.ElementAtOrDefault(number) : All.FirstOrDefault(d => d.Name == name))
            ?? throw new DeviceException(WhyNone ?? $"There is no device '{name}' here; there are {string.Join(", ", All.Select(d => $"{d.Name} ({d.Description})"))}.");
    }

    /// <summary>A backend over a runtime, which it owns; where it cannot be made, the runtime is given back.</summary>
    internal static Backend Start<TThread, TMemory>(GpuRuntime<TThread, TMemory> runtime, LanguageModelOptions options) where TThread : struct, IThread where TMemory : struct, IMemory
    {
        try { return new GpuBackend<TThread, TMemory>(runtime, options.Reproducible); }
        catch
        {
            runtime.Dispose();
            throw;
        }
    }

    long IBackendDevice.BytesOf(DType type, long rows, int columns) => rows * GpuFormats.Of(type).RowBytes(columns, GpuFormats.UsualScaleShift);

    Backend IBackendDevice.CreateBackend(LanguageModelOptions options) => create(options);

    private static (IReadOnlyList<GpuDevice> Devices, string? Absence) Discover()
#if ILGPU
        => Ilgpu.IlgpuDevices.Discover();
#else
        => ([], "This build of DeepSeek.Gpu has no driver for graphics processors: it was built without ILGPU. Build it with the property UseIlgpu: dotnet build -p:UseIlgpu=true.");
#endif
}
