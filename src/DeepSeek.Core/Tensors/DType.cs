namespace DeepSeek.Tensors;

/// <summary>How numbers are stored. Block formats hold a fixed number of elements in a fixed number of bytes.</summary>
internal enum DType : byte
{
    F32, F16, BF16, F64,
    I8, I16, I32, I64, U8, Bool,
    /// <summary>OCP FP8 e4m3fn: no infinities, 0x7F is NaN.</summary>
    F8E4M3,
    /// <summary>OCP FP8 e5m2.</summary>
    F8E5M2,
    /// <summary>OCP e8m0: a power of two, 2^(byte − 127); 255 is NaN.</summary>
    F8E8M0,
    Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_1,
    Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q8_K,
    IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, IQ4_NL, IQ4_XS,
    TQ1_0, TQ2_0,
    MXFP4,
}

/// <summary>The facts of a <see cref="DType"/>.</summary>
/// <param name="Name">Name in GGUF tools (<c>Q4_K</c>) and in our output.</param>
/// <param name="BlockElements">Elements in a block; 1 for plain numbers. A row is a whole number of blocks.</param>
/// <param name="BlockBytes">Bytes of a block.</param>
/// <param name="GgufId">Number in GGUF files; −1 where GGUF has none.</param>
/// <param name="SafetensorsName">Name in safetensors headers; null where it has none.</param>
internal sealed record DTypeInfo(string Name, int BlockElements, int BlockBytes, int GgufId = -1, string? SafetensorsName = null);

internal static class DTypes
{
    /// <summary>One line a format, in the order of <see cref="DType"/>.</summary>
    private static readonly DTypeInfo[] Table =
    [
        new("F32", 1, 4, 0, "F32"), new("F16", 1, 2, 1, "F16"), new("BF16", 1, 2, 30, "BF16"), new("F64", 1, 8, 28, "F64"),
        new("I8", 1, 1, 24, "I8"), new("I16", 1, 2, 25, "I16"), new("I32", 1, 4, 26, "I32"), new("I64", 1, 8, 27, "I64"), new("U8", 1, 1, -1, "U8"), new("BOOL", 1, 1, -1, "BOOL"),
        new("F8_E4M3", 1, 1, -1, "F8_E4M3"), new("F8_E5M2", 1, 1, -1, "F8_E5M2"), new("F8_E8M0", 1, 1, -1, "F8_E8M0"),
        new("Q4_0", 32, 18, 2), new("Q4_1", 32, 20, 3), new("Q5_0", 32, 22, 6), new("Q5_1", 32, 24, 7), new("Q8_0", 32, 34, 8), new("Q8_1", 32, 36, 9),
        new("Q2_K", 256, 84, 10), new("Q3_K", 256, 110, 11), new("Q4_K", 256, 144, 12), new("Q5_K", 256, 176, 13), new("Q6_K", 256, 210, 14), new("Q8_K", 256, 292, 15),
        new("IQ1_S", 256, 50, 19), new("IQ1_M", 256, 56, 29), new("IQ2_XXS", 256, 66, 16), new("IQ2_XS", 256, 74, 17), new("IQ2_S", 256, 82, 22),
        new("IQ3_XXS", 256, 98, 18), new("IQ3_S", 256, 110, 21), new("IQ4_NL", 32, 18, 20), new("IQ4_XS", 256, 136, 23),
        new("TQ1_0", 256, 54, 34), new("TQ2_0", 256, 66, 35),
        new("MXFP4", 32, 17, 39),
    ];

    /// <summary>The facts of a format.</summary>
    public static DTypeInfo Info(this DType type) => Table[(int)type];

    /// <summary>The format with that number in GGUF; null for an unknown one.</summary>
    public static DType? FromGguf(uint id)
    {
        int at = Array.FindIndex(Table, t => t.GgufId == id);
        return at < 0 || id > int.MaxValue ? null : (DType)at;
    }

    /// <summary>The format with that name in safetensors headers; null for an unknown one.</summary>
    public static DType? FromSafetensors(string name)
    {
        int at = Array.FindIndex(Table, t => t.SafetensorsName == name);
        return at < 0 ? null : (DType)at;
    }

    /// <summary>The format with that name, in any case; null for an unknown one.</summary>
    public static DType? FromName(string name)
    {
        int at = Array.FindIndex(Table, t => string.Equals(t.Name, name, StringComparison.OrdinalIgnoreCase));
        return at < 0 ? null : (DType)at;
    }

    /// <summary>Bytes of a row. The caller has checked that <paramref name="columns"/> is a whole number of blocks.</summary>
    public static long RowBytes(this DType type, long columns) => columns / type.Info().BlockElements * type.Info().BlockBytes;
}
