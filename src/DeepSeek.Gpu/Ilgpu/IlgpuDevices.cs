using DeepSeek.Backends;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace DeepSeek.Gpu.Ilgpu;

/// <summary>The devices that ILGPU finds.</summary>
internal static class IlgpuDevices
{
    /// <summary>dp4a came with compute capability 6.1.</summary>
    private static readonly CudaArchitecture LeastCuda = CudaArchitecture.SM_61;

    /// <summary>Looks for devices; where there is none, says why.</summary>
    public static (IReadOnlyList<GpuDevice> Devices, string? Absence) Discover()
    {
        // Lives as long as the process: devices belong to it.
        Context context = Context.Create(b => Instructions.Register(b.Optimize(OptimizationLevel.O2).Cuda().OpenCL()));
        var devices = new List<GpuDevice>();
        foreach (CudaDevice d in context.GetCudaDevices())
            if (d.Architecture >= LeastCuda)
                devices.Add(new GpuDevice($"cuda:{d.DeviceId}", $"{d.Name}, CUDA, {d.MemorySize / 1e9:0.0} GB", d.MemorySize, () => FreeBytes(context, d), o => Start<WarpThread<Warps32>>(context, d, $"cuda:{d.DeviceId}", o)));
        int number = 0;
        foreach (CLDevice d in context.GetCLDevices())
        {
            // NVIDIA's own devices are there already, by their faster interface.
            if (d.DeviceType != CLDeviceType.CL_DEVICE_TYPE_GPU || (d.Vendor == CLDeviceVendor.Nvidia && devices.Exists(c => c.Name.StartsWith("cuda", StringComparison.Ordinal)))) continue;
            string name = $"opencl:{number++}";
            devices.Add(new GpuDevice(name, $"{d.Name}, OpenCL, {d.MemorySize / 1e9:0.0} GB", d.MemorySize, () => d.MemorySize, o => Start<LoneThread>(context, d, name, o)));
        }
        return (devices, devices.Count > 0 ? null
            : "There is no graphics processor here that can be used: neither one with a CUDA driver and compute capability 6.1 or more, nor one with an OpenCL 2.0 driver with generic addresses. In a container, its devices and drivers have to be handed in.");
    }

    private static long? FreeBytes(Context context, CudaDevice device)
    {
        try
        {
            using CudaAccelerator accelerator = device.CreateCudaAccelerator(context);
            return accelerator.GetFreeMemory();
        }
        catch (AcceleratorException e) { throw IlgpuRuntime.Translate(e, device.Name, "asking for its memory"); }
    }

    private static Backend Start<TThread>(Context context, Device device, string name, LanguageModelOptions options) where TThread : struct, IIlgpuThread<TThread>
    {
        try { return GpuDevice.Start(new IlgpuRuntime<TThread>(device.CreateAccelerator(context), name), options); }
        catch (AcceleratorException e) { throw IlgpuRuntime.Translate(e, device.Name, "opening it"); }
    }
}
