using System.Reflection;
using DeepSeek.Gpu.Kernels;
using ILGPU;
using ILGPU.Backends.OpenCL;
using ILGPU.Backends.PTX;
using ILGPU.IR;
using ILGPU.IR.Intrinsics;
using ILGPU.IR.Values;
using ILGPU.Util;

namespace DeepSeek.Gpu.Ilgpu;

/// <summary>
/// Instructions of NVIDIA's devices that C# has no word for; elsewhere plain C# does the same. They are registered as intrinsics with a code generator of their own, because inline
/// assembly (CudaAsm) hands its result over through local memory.
/// </summary>
internal static class Instructions
{
    /// <summary>c + Σ aᵢ·bᵢ over four signed bytes.</summary>
    [IntrinsicImplementation]
    public static int Dot4(uint a, uint b, int c) => Portable.Dot4(a, b, c);

    /// <summary>Bytes of b:a by number, a number a nibble.</summary>
    [IntrinsicImplementation]
    public static uint Permute(uint a, uint b, uint selector) => Portable.Permute(a, b, selector);

    /// <summary>a·b + c.</summary>
    [IntrinsicImplementation]
    public static float Fma(float a, float b, float c) => MathF.FusedMultiplyAdd(a, b, c);

    /// <summary>Waits for all items of the group, on devices without warps: ILGPU 1.5.3's own barrier orders only global memory in OpenCL, and what waits here has shared memory on its mind too.</summary>
    [IntrinsicImplementation]
    public static void Barrier() => ILGPU.Group.Barrier();

    /// <summary>Registers them with a context.</summary>
    public static Context.Builder Register(Context.Builder builder)
    {
        IntrinsicImplementationManager manager = builder.GetIntrinsicManager();
        foreach (string name in (ReadOnlySpan<string>)[nameof(Dot4), nameof(Permute), nameof(Fma)])
        {
            MethodInfo method = typeof(Instructions).GetMethod(name)!;
            manager.RegisterMethod(method, new PTXIntrinsic(typeof(Ptx), name, IntrinsicImplementationMode.GenerateCode));
            manager.RegisterMethod(method, new CLIntrinsic(typeof(OpenCL), name, IntrinsicImplementationMode.Redirect));
        }
        manager.RegisterMethod(typeof(Instructions).GetMethod(nameof(Barrier))!, new CLIntrinsic(typeof(OpenCL), nameof(Barrier), IntrinsicImplementationMode.GenerateCode));
        return builder;
    }

    /// <summary>Code generators: an instruction with its three operands. ILGPU finds them by name.</summary>
    public static class Ptx
    {
        public static void Dot4(PTXBackend backend, PTXCodeGenerator generator, Value value) => Emit(generator, value, "dp4a.s32.s32");

        public static void Permute(PTXBackend backend, PTXCodeGenerator generator, Value value) => Emit(generator, value, "prmt.b32");

        public static void Fma(PTXBackend backend, PTXCodeGenerator generator, Value value) => Emit(generator, value, "fma.rn.f32");

        private static void Emit(PTXCodeGenerator generator, Value value, string instruction)
        {
            var call = (MethodCall)value;
            PTXRegisterAllocator.PrimitiveRegister a = generator.LoadPrimitive(call[0]), b = generator.LoadPrimitive(call[1]), c = generator.LoadPrimitive(call[2]); // or constants
            PTXRegisterAllocator.HardwareRegister result = generator.AllocateHardware(value);
            using PTXCodeGenerator.CommandEmitter command = generator.BeginCommand(instruction);
            command.AppendArgument(result);
            command.AppendArgument(a);
            command.AppendArgument(b);
            command.AppendArgument(c);
        }
    }

    /// <summary>What other devices' compilers see, or how code for them is generated.</summary>
    public static class OpenCL
    {
        public static int Dot4(uint a, uint b, int c) => Portable.Dot4(a, b, c);

        public static uint Permute(uint a, uint b, uint selector) => Portable.Permute(a, b, selector);

        /// <summary>Rounded twice, unless the compiler contracts it.</summary>
        public static float Fma(float a, float b, float c) => a * b + c;

        public static void Barrier(CLBackend backend, CLCodeGenerator generator, Value value)
        {
            using CLCodeGenerator.StatementEmitter statement = generator.BeginStatement((RawString)"barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)");
        }
    }
}
