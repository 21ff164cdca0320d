using DeepSeek.Gpu.Kernels;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace DeepSeek.Gpu.Ilgpu;

/// <summary>What is the same for both kinds of threads.</summary>
internal static class IlgpuRuntime
{
    /// <summary>Shared memory of a group of lone threads, in words: what every OpenCL device has.</summary>
    public const int LoneSharedWords = 8192;

    /// <summary>Bytes of page-locked memory that copies go through.</summary>
    public const int StagingBytes = 8 << 20;

    /// <summary>The one entry point of all kernels.</summary>
    public static void Entry<TThread, TKernel>(TKernel kernel) where TThread : struct, IIlgpuThread<TThread> where TKernel : struct, IKernel<TThread>
        => kernel.Run(TThread.Create());

    /// <summary>Disposes what is on a device. A device that was lost has taken it along, and its driver says so: disposing a model is not the place to complain.</summary>
    public static void GiveBack(IDisposable there)
    {
        try { there.Dispose(); }
        catch (AcceleratorException)
        {
            // Whoever used the device has seen its loss as a DeviceException.
        }
    }

    /// <summary>The same error in this library's words.</summary>
    public static ModelException Translate(AcceleratorException error, string device, string doing)
    {
        string code = error switch { CudaException cuda => cuda.Error, CLException cl => cl.Error.ToString(), _ => error.Message };
        return code is "CUDA_ERROR_OUT_OF_MEMORY" or nameof(CLError.CL_MEM_OBJECT_ALLOCATION_FAILURE) or nameof(CLError.CL_OUT_OF_RESOURCES) or nameof(CLError.CL_INVALID_BUFFER_SIZE)
            ? new ModelMemoryException($"The device '{device}' has no memory left ({doing}: {code}). Set a smaller DeviceBytes, a shorter ContextLength or a smaller CacheType.", error)
            : new DeviceException($"The device '{device}' failed ({doing}: {code}). Dispose the model; a device that was reset may be used again.", error);
    }
}

/// <summary>A device that ILGPU drives: one stream, kernels compiled when they are first launched.</summary>
internal sealed class IlgpuRuntime<TThread> : GpuRuntime<TThread, IlgpuMemory> where TThread : struct, IIlgpuThread<TThread>
{
    private readonly Accelerator accelerator;
    private readonly AcceleratorStream stream;
    private readonly Dictionary<Type, Delegate> kernels = [];
    private readonly PageLockedArray1D<byte> staging;
    private readonly bool isOpenCL;
    private long staged;

    /// <param name="accelerator">The device; owned.</param>
    /// <param name="name">The device's name.</param>
    /// <param name="edge">Edge of the groups of matrix products, where the device can have such groups.</param>
    /// <param name="items">Items of groups over rows.</param>
    public IlgpuRuntime(Accelerator accelerator, string name, int edge = 16, int items = 128)
    {
        this.accelerator = accelerator;
        Name = name;
        isOpenCL = accelerator.AcceleratorType == AcceleratorType.OpenCL;
        (TileEdge, GroupItems) = (edge * edge <= accelerator.MaxNumThreadsPerGroup ? edge : 8, items);
        Lanes = default(TThread).Lanes;
        stream = accelerator.CreateStream();
        staging = accelerator.AllocatePageLocked1D<byte>(IlgpuRuntime.StagingBytes);
    }

    public override string Name { get; }

    public override string Description => $"{accelerator.Name}, {accelerator.AcceleratorType}, {accelerator.NumMultiprocessors} multiprocessors, {accelerator.MemorySize / 1e9:0.#} GB, {(Lanes > 1 ? "warp shuffles" : "portable kernels")}";

    public override int Lanes { get; }

    public override int GroupItems { get; }

    public override int TileEdge { get; }

    public override int SharedWords => Lanes > 1 ? accelerator.MaxSharedMemoryPerGroup / sizeof(uint) : IlgpuRuntime.LoneSharedWords;

    public override int BusyGroups => 8 * accelerator.NumMultiprocessors;

    public override GpuBuffer<IlgpuMemory> Allocate(long bytes)
    {
        try { return new IlgpuBuffer<TThread>(this, accelerator.Allocate1D<byte>(bytes)); }
        catch (AcceleratorException e) { throw IlgpuRuntime.Translate(e, Name, $"allocating {bytes} bytes"); }
        catch (OutOfMemoryException e) { throw new ModelMemoryException($"The device '{Name}' has no memory left (allocating {bytes} bytes).", e); }
    }

    public override void Launch<TKernel>(in TKernel kernel, int groups, int items, int sharedWords)
    {
        try
        {
            if (!kernels.TryGetValue(typeof(TKernel), out Delegate? launcher))
                kernels.Add(typeof(TKernel), launcher = accelerator.LoadKernel<TKernel>(IlgpuRuntime.Entry<TThread, TKernel>));
            ((Action<AcceleratorStream, KernelConfig, TKernel>)launcher)(stream, sharedWords == 0 || Lanes == 1 ? new KernelConfig(groups, items) : new KernelConfig(groups, items, SharedMemoryConfig.RequestDynamic<uint>(sharedWords)), kernel);
        }
        catch (AcceleratorException e) { throw IlgpuRuntime.Translate(e, Name, $"launching {typeof(TKernel).Name}"); }
    }

    public override void Synchronise()
    {
        try { stream.Synchronize(); }
        catch (AcceleratorException e) { throw IlgpuRuntime.Translate(e, Name, "waiting"); }
        staged = 0;
    }

    /// <summary>Copies in through page-locked memory, which is used again after the device has been waited for.</summary>
    public void Upload(ArrayView<byte> view, long at, ReadOnlySpan<byte> bytes)
    {
        try
        {
            while (bytes.Length > 0)
            {
                if (staged == staging.Length) Synchronise();
                int count = (int)Math.Min(bytes.Length, staging.Length - staged);
                bytes[..count].CopyTo(staging.Span.Slice((int)staged, count));
                // ILGPU 1.5.3 copies the whole of the other buffer where OpenCL is one side; by address it copies what it is told.
                if (isOpenCL) view.SubView(at, count).CopyFromCPUUnsafeAsync(stream, ref staging.Span[(int)staged], count);
                else view.SubView(at, count).CopyFrom(stream, staging.ArrayView.SubView(staged, count));
                // Small tables come one after the other in a step; they begin at multiples of 16.
                staged = Math.Min((staged + count + 15) & -16, staging.Length);
                bytes = bytes[count..];
                at += count;
            }
        }
        catch (AcceleratorException e) { throw IlgpuRuntime.Translate(e, Name, "copying to it"); }
    }

    /// <summary>Waits and copies out.</summary>
    public void Download(ArrayView<byte> view, long at, Span<byte> bytes)
    {
        try
        {
            if (staged > 0 && bytes.Length > staging.Length - staged) Synchronise();
            while (bytes.Length > 0)
            {
                int count = (int)Math.Min(bytes.Length, staging.Length - staged);
                if (isOpenCL) view.SubView(at, count).CopyToCPUUnsafeAsync(stream, ref staging.Span[(int)staged], count);
                else view.SubView(at, count).CopyTo(stream, staging.ArrayView.SubView(staged, count));
                long from = staged;
                Synchronise();
                staging.Span.Slice((int)from, count).CopyTo(bytes);
                bytes = bytes[count..];
                at += count;
            }
        }
        catch (AcceleratorException e) { throw IlgpuRuntime.Translate(e, Name, "copying from it"); }
    }

    /// <summary>Copies within the device.</summary>
    public void Copy(ArrayView<byte> source, long from, ArrayView<byte> target, long to, long count)
    {
        try { source.SubView(from, count).CopyTo(stream, target.SubView(to, count)); }
        catch (AcceleratorException e) { throw IlgpuRuntime.Translate(e, Name, "copying on it"); }
    }

    public override void Dispose()
    {
        IlgpuRuntime.GiveBack(staging);
        IlgpuRuntime.GiveBack(stream);
        IlgpuRuntime.GiveBack(accelerator);
    }
}

/// <summary>A piece of a device's memory.</summary>
internal sealed class IlgpuBuffer<TThread>(IlgpuRuntime<TThread> runtime, MemoryBuffer1D<byte, Stride1D.Dense> buffer) : GpuBuffer<IlgpuMemory>(buffer.LengthInBytes) where TThread : struct, IIlgpuThread<TThread>
{
    private readonly ArrayView<byte> view = buffer.View.BaseView;

    public override IlgpuMemory Memory => new(view);

    public override void Upload(long at, ReadOnlySpan<byte> bytes) => runtime.Upload(view, at, bytes);

    public override void Download(long at, Span<byte> bytes) => runtime.Download(view, at, bytes);

    public override void CopyFrom(GpuBuffer<IlgpuMemory> source, long from, long to, long count) => runtime.Copy(((IlgpuBuffer<TThread>)source).view, from, view, to, count);

    public override void Dispose() => IlgpuRuntime.GiveBack(buffer);
}
