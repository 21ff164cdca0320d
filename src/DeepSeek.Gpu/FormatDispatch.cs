using DeepSeek.Gpu.Kernels;
using DeepSeek.Gpu.Kernels.Formats;

namespace DeepSeek.Gpu;

/// <summary>What is to be done with a matrix, whatever its format.</summary>
internal interface IFormatCall<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    void Call<TFormat>() where TFormat : struct, IFormat<TThread, TMemory>;
}

/// <summary>The same with a block format.</summary>
internal interface IBlockFormatCall<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    void Call<TFormat>() where TFormat : struct, IBlockFormat<TThread, TMemory>;
}

/// <summary>From a format's number to its type: the only list of formats that launches go through.</summary>
internal static class FormatDispatch<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public static void Any<TCall>(GpuFormat format, in TCall call) where TCall : struct, IFormatCall<TThread, TMemory>
    {
        switch (format)
        {
            case GpuFormat.F32: call.Call<F32<TThread, TMemory>>(); break;
            case GpuFormat.F16: call.Call<F16<TThread, TMemory>>(); break;
            case GpuFormat.BF16: call.Call<BF16<TThread, TMemory>>(); break;
            case GpuFormat.F8: call.Call<F8<TThread, TMemory>>(); break;
            default: Block(format, new AsBlock<TCall>(call)); break;
        }
    }

    public static void Block<TCall>(GpuFormat format, in TCall call) where TCall : struct, IBlockFormatCall<TThread, TMemory>
    {
        switch (format)
        {
            case GpuFormat.Q8_0: call.Call<Q8_0<TThread, TMemory>>(); break;
            case GpuFormat.Q4_0: call.Call<Q4_0<TThread, TMemory>>(); break;
            case GpuFormat.Q4_1: call.Call<Q4_1<TThread, TMemory>>(); break;
            case GpuFormat.Q5_0: call.Call<Q5_0<TThread, TMemory>>(); break;
            case GpuFormat.Q5_1: call.Call<Q5_1<TThread, TMemory>>(); break;
            case GpuFormat.Q2_K: call.Call<Q2_K<TThread, TMemory>>(); break;
            case GpuFormat.Q3_K: call.Call<Q3_K<TThread, TMemory>>(); break;
            case GpuFormat.Q4_K: call.Call<Q4_K<TThread, TMemory>>(); break;
            case GpuFormat.Q5_K: call.Call<Q5_K<TThread, TMemory>>(); break;
            case GpuFormat.Q6_K: call.Call<Q6_K<TThread, TMemory>>(); break;
            case GpuFormat.IQ4_NL: call.Call<IQ4_NL<TThread, TMemory>>(); break;
            case GpuFormat.IQ4_XS: call.Call<IQ4_XS<TThread, TMemory>>(); break;
            case GpuFormat.MXFP4: call.Call<MXFP4<TThread, TMemory>>(); break;
            default: call.Call<Lattice<TThread, TMemory>>(); break;
        }
    }

    /// <summary>What is done with any format, done with a block format.</summary>
    private readonly struct AsBlock<TCall>(TCall call) : IBlockFormatCall<TThread, TMemory> where TCall : struct, IFormatCall<TThread, TMemory>
    {
        public void Call<TFormat>() where TFormat : struct, IBlockFormat<TThread, TMemory> => call.Call<TFormat>();
    }
}
