using DeepSeek.Backends;
using DeepSeek.Gpu.Ilgpu;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;
using ILGPU.Runtime.OpenCL;

namespace DeepSeek.Gpu.Tests.Ilgpu;

/// <summary>
/// Devices of ILGPU that no user is offered: its CPU accelerator, and a processor's OpenCL. On the CPU accelerator every item of a group is a thread of the operating system and every barrier
/// wakes them all, four times for each shuffle: of narrow warps and small groups a case takes a second where NVIDIA's take minutes, and the code is the same but for the width.
/// </summary>
internal static class Accelerators
{
    /// <summary>What opens a backend on such a device; null where it is none of them.</summary>
    public static Func<Backend>? Opener(string name)
    {
        switch (name)
        {
            case "cpu": return Simulated<WarpThread<Warps4>>(lanes: 4, edge: 4);
            case "cpu:32": return Simulated<WarpThread<Warps32>>(lanes: 32, edge: 8);
            case "cpu:1": return Simulated<LoneThread>(lanes: 4, edge: 4);
            case "opencl":
                Context context = NewContext(b => b.OpenCL(_ => true));
                if (context.GetCLDevices() is not [var device, ..]) throw new DeviceException("ILGPU finds no OpenCL device; it looks for a library of the name libOpenCL.so.");
                // ILGPU refuses devices without generic addresses, such as Debian's PoCL; these kernels have none.
                typeof(CLCapabilityContext).GetProperty(nameof(CLCapabilityContext.GenericAddressSpace))!.SetValue(device.Capabilities, true);
                return () => GpuDevice.Start(new IlgpuRuntime<LoneThread>(device.CreateAccelerator(context), name), new LanguageModelOptions());
            default: return null;
        }
    }

    /// <summary>A context that knows the instructions of the binding.</summary>
    public static Context NewContext(Func<Context.Builder, Context.Builder> devices) => Context.Create(b => Instructions.Register(devices(b).Optimize(OptimizationLevel.O2)));

    /// <summary>The CPU accelerator.</summary>
    /// <param name="lanes">Its warps' width.</param>
    /// <param name="edge">Edge of the groups of matrix products; groups over rows have its square of items, four warps or, of 32 lanes, two.</param>
    private static Func<Backend> Simulated<TThread>(int lanes, int edge) where TThread : struct, IIlgpuThread<TThread>
    {
        var device = new CPUDevice(lanes, edge * edge / lanes, numMultiprocessors: 1);
        Context context = NewContext(b => b.CPU(device));
        return () => GpuDevice.Start(new IlgpuRuntime<TThread>(context.GetCPUDevice(0).CreateAccelerator(context), "simulated", edge, edge * edge), new LanguageModelOptions());
    }
}

/// <summary>Narrow warps, which no device has.</summary>
internal readonly struct Warps4 : IWarpWidth
{
    public int Lanes => 4;
}
