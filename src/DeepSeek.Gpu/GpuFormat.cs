using DeepSeek.Backends;
using DeepSeek.Tensors;

namespace DeepSeek.Gpu;

/// <summary>How a matrix lies in device memory: one for each reading of <c>Kernels/Formats</c>.</summary>
internal enum GpuFormat : byte { F32, F16, BF16, F8, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4, Lattice }

internal static class GpuFormats
{
    /// <summary>Logarithm of the columns that share a scale in published float8 models.</summary>
    public const int UsualScaleShift = 7;

    /// <summary>
    /// The device's form of a weight. IQ1, IQ2, IQ3 and TQ become <see cref="GpuFormat.Lattice"/> (10 bits a number, exact); vectors, and types that no model stores its matrices in, float32.
    /// </summary>
    public static GpuFormat Of(Weight weight, WeightRole role) => role == WeightRole.Vector || ScaleShift(weight) is null ? GpuFormat.F32 : Of(weight.Type);

    /// <summary>The device's form of matrices of a type.</summary>
    public static GpuFormat Of(DType type) => type switch
    {
        DType.F16 => GpuFormat.F16,
        DType.BF16 => GpuFormat.BF16,
        DType.F8E4M3 => GpuFormat.F8,
        DType.Q8_0 => GpuFormat.Q8_0,
        DType.Q4_0 => GpuFormat.Q4_0,
        DType.Q4_1 => GpuFormat.Q4_1,
        DType.Q5_0 => GpuFormat.Q5_0,
        DType.Q5_1 => GpuFormat.Q5_1,
        DType.Q2_K => GpuFormat.Q2_K,
        DType.Q3_K => GpuFormat.Q3_K,
        DType.Q4_K => GpuFormat.Q4_K,
        DType.Q5_K => GpuFormat.Q5_K,
        DType.Q6_K => GpuFormat.Q6_K,
        DType.IQ4_NL => GpuFormat.IQ4_NL,
        DType.IQ4_XS => GpuFormat.IQ4_XS,
        DType.MXFP4 => GpuFormat.MXFP4,
        DType.IQ1_S or DType.IQ1_M or DType.IQ2_XXS or DType.IQ2_XS or DType.IQ2_S or DType.IQ3_XXS or DType.IQ3_S or DType.TQ1_0 or DType.TQ2_0 => GpuFormat.Lattice,
        _ => GpuFormat.F32,
    };

    /// <summary>Whether products are made of signed bytes (and activations quantised for them).</summary>
    public static bool IsBlock(this GpuFormat format) => format >= GpuFormat.Q8_0;

    /// <summary>Logarithm of the columns that share a scale of a float8 matrix; null where they are no power of two, at least 4.</summary>
    public static int? ScaleShift(Weight weight)
        => weight.Scales is not { } s ? 30 : int.IsPow2(s.BlockColumns) && s.BlockColumns >= 4 ? int.Log2(s.BlockColumns) : null;

    /// <summary>Bytes of a row, a multiple of 16.</summary>
    public static long RowBytes(this GpuFormat format, int columns, int scaleShift)
    {
        long groups = (columns + 31) / 32, fours = (columns + 3) / 4, bytes = format switch
        {
            GpuFormat.F32 => 16 * fours,
            GpuFormat.F16 or GpuFormat.BF16 => 8 * fours,
            GpuFormat.F8 => 4 * fours + 4 * ((columns - 1 >> scaleShift) + 1),
            GpuFormat.Q8_0 => 34 * groups,
            GpuFormat.Q4_0 or GpuFormat.IQ4_NL => 18 * groups,
            GpuFormat.Q4_1 => 20 * groups,
            GpuFormat.Q5_0 => 22 * groups,
            GpuFormat.Q5_1 => 24 * groups,
            GpuFormat.MXFP4 => 17 * groups,
            GpuFormat.Q2_K => 10 * groups + groups / 8 * 4,
            GpuFormat.Q3_K => 14 * groups + groups / 8 * 2,
            GpuFormat.Q4_K => 18 * groups + groups / 8 * 4,
            GpuFormat.Q5_K => 22 * groups + groups / 8 * 4,
            GpuFormat.Q6_K => 26 * groups + groups / 8 * 2,
            GpuFormat.IQ4_XS => 17 * groups + groups / 8 * 2,
            _ => 40 * groups,
        };
        return (bytes + 15) / 16 * 16;
    }
}
