using DeepSeek.Core.Tests;
using DeepSeek.Core.Tests.Backends;
using DeepSeek.Gpu.Ilgpu;
using DeepSeek.Gpu.Kernels;
using ILGPU;
using ILGPU.Backends;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.OpenCL;
using ILGPU.Backends.PTX;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace DeepSeek.Gpu.Tests.Ilgpu;

/// <summary>
/// The binding, where the property UseIlgpu is set: what ILGPU makes of every kernel, and kernels on ILGPU's own simulation of a device. That runs a kernel's C# as it is; what is made of it
/// for devices is looked at here, because ILGPU 1.5.3 has miscompiled numbers of 8 bits.
/// </summary>
public class IlgpuTests
{
    private static readonly Func<DeepSeek.Backends.Backend> Simulated = Accelerators.Opener("cpu")!;

    /// <summary>All kernels with all formats.</summary>
    public static TheoryData<string> Names => [.. Kernels(typeof(WarpThread<Warps32>)).Select(Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void CompilesForCuda(string name)
    {
        using Context context = Accelerators.NewContext(b => b);
        using var backend = new PTXBackend(context, new CudaCapabilityContext(CudaArchitecture.SM_80), CudaArchitecture.SM_80, CudaInstructionSet.ISA_75, null);
        string code = ((PTXCompiledKernel)backend.Compile(Entry(typeof(WarpThread<Warps32>), name), KernelSpecialization.Empty)).PTXAssembly;
        Assert.DoesNotMatch(@"\b(ld|st)\.local", code);
        Assert.DoesNotMatch(@"\bcall\b|\.f64", code);
        Assert.DoesNotMatch(@"cvt\.rn\.f32\.[us](8|16)|cvt\.rzi\.[us](8|16)\.f32", code); // a narrow number's sign is lost there
        if (name.StartsWith("Block", StringComparison.Ordinal)) Assert.Matches(@"dp4a\.s32\.s32[\s\S]*ld\.global\.v4|ld\.global\.v4[\s\S]*dp4a\.s32\.s32", code);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void CompilesForOpenCL(string name)
    {
        using Context context = Accelerators.NewContext(b => b);
        using var backend = new CLBackend(context, new CLCapabilityContext(true, true, true, true, true), CLDeviceVendor.AMD, CLCVersion.CL20);
        string code = ((CLCompiledKernel)backend.Compile(Entry(typeof(LoneThread), name), KernelSpecialization.Empty)).Source;
        Assert.DoesNotMatch(@"\(float\)\((u?char|u?short)\)", code);
        Assert.DoesNotMatch(@"^local [^;]*;", code); // a variable of the program
        Assert.DoesNotMatch(@"barrier\((?!CLK_LOCAL_MEM_FENCE \| CLK_GLOBAL_MEM_FENCE\))", code);
    }

    /// <summary>Cases that take a second or less there; <see cref="Program"/> runs all of them. The golden checkpoints below make up for attention and experts.</summary>
    public static TheoryData<string> Quick =>
        [.. OperationCases.Names.Where<string>(n => n.Split(' ')[0] is not ("matmul" or "project" or "gated" or "experts" or "attention" or "latent") || n is "matmul F32" or "matmul BF16" or "matmul Q4_K" or "matmul IQ4_NL" or "project Q4_K" or "gated mlp Q8_0")];

    [Theory]
    [MemberData(nameof(Quick))]
    public void AgreesOnASimulatedDevice(string name) => OperationCases.Check(name, Simulated);

    [Theory]
    [InlineData("llama")]
    [InlineData("deepseek-v3")]
    public void AgreesWithTransformersOnASimulatedDevice(string model) => Assert.True(GoldenTests.Measure(SharedData.Local("golden", model), Simulated) < GoldenTests.Limit);

    /// <summary>Warps as wide as NVIDIA's, and none, as on OpenCL.</summary>
    [Theory]
    [InlineData("cpu:32", "rms norm")]
    [InlineData("cpu:32", "silu multiply")]
    [InlineData("cpu:32", "cache blocks Q8")]
    [InlineData("cpu:1", "rms norm")]
    [InlineData("cpu:1", "matmul Q4_K")]
    [InlineData("cpu:1", "cache blocks Q8")]
    public void AgreesOnSimulatedDevicesOfOtherWarps(string device, string name) => OperationCases.Check(name, Accelerators.Opener(device)!);

    private static EntryPointDescription Entry(Type thread, string name)
        => EntryPointDescription.FromExplicitlyGroupedKernel(typeof(IlgpuRuntime).GetMethod(nameof(IlgpuRuntime.Entry))!.MakeGenericMethod(thread, Kernels(thread).Single(k => Name(k) == name)));

    private static string Name(Type kernel) => string.Join('.', kernel.GetGenericArguments()[2..].Select(Plain).Prepend(Plain(kernel)));

    private static string Plain(Type type) => type.Name[..type.Name.IndexOf('`', StringComparison.Ordinal)];

    /// <summary>Every struct that is a kernel, with every struct that fits its parameters behind thread and memory.</summary>
    private static IEnumerable<Type> Kernels(Type thread)
    {
        Type[] structs = [.. typeof(GpuDevice).Assembly.GetTypes().Where(t => t is { IsValueType: true, IsGenericTypeDefinition: true } && t.Namespace!.StartsWith("DeepSeek.Gpu.Kernels", StringComparison.Ordinal))];
        foreach (Type kernel in structs.Where(t => Array.Exists(t.GetInterfaces(), i => i.Name == typeof(IKernel<>).Name)).OrderBy(t => t.Name, StringComparer.Ordinal))
        {
            IEnumerable<Type[]> lists = [[thread, typeof(IlgpuMemory)]];
            foreach (Type parameter in kernel.GetGenericArguments()[2..])
            {
                string[] wanted = [.. parameter.GetGenericParameterConstraints().Where(c => c.IsInterface).Select(c => c.Name)];
                Type[] parts = [.. structs.Where(t => Array.TrueForAll(wanted, w => Array.Exists(t.GetInterfaces(), i => i.Name == w)))
                    .Select(t => t.MakeGenericType([.. t.GetGenericArguments().Select(a => a.Name == "TThread" ? thread : typeof(IlgpuMemory))]))];
                Assert.NotEmpty(parts);
                lists = [.. lists.SelectMany(list => parts.Select(part => (Type[])[.. list, part]))];
            }
            foreach (Type[] list in lists) yield return kernel.MakeGenericType(list);
        }
    }
}
