using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace DeepSeek.Tensors;

/// <summary>
/// The specification of every stored format: what its bytes stand for, in float32, by plain scalar code. One method a format takes one block. Layouts of GGUF blocks:
/// https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h.
/// </summary>
internal static unsafe class Dequantise
{
    /// <summary>A row of a weight, block scales applied. <paramref name="y"/> has exactly <see cref="Weight.Columns"/> elements.</summary>
    public static void Row(Weight w, int row, Span<float> y)
    {
        Blocks(w.Type, new ReadOnlySpan<byte>((void*)w.Row(row), checked((int)w.RowBytes)), y);
        if (w.Scales is not { } s) return;
        byte* scales = (byte*)s.Data + (long)((row + s.RowOffset) / s.BlockRows) * s.Stride * s.Type.Info().BlockBytes;
        for (int first = 0, block = 0; first < y.Length; first += s.BlockColumns, block++)
        {
            float scale = Scale(s.Type, scales, block);
            foreach (ref float value in y.Slice(first, Math.Min(s.BlockColumns, y.Length - first))) value *= scale;
        }
    }

    /// <summary>A scale of a float8 block: F32, BF16 or F8E8M0.</summary>
    public static float Scale(DType type, byte* scales, int index) => type switch
    {
        DType.F32 => ((float*)scales)[index],
        DType.BF16 => SmallFloats.FromBF16(((ushort*)scales)[index]),
        DType.F8E8M0 => SmallFloats.FromE8M0(scales[index]),
        _ => throw new UnsupportedModelException($"Scales of type {type.Info().Name} are not known; F32, BF16 and F8_E8M0 are."),
    };

    /// <summary>Consecutive blocks. Both spans hold the same whole number of blocks.</summary>
    public static void Blocks(DType type, ReadOnlySpan<byte> blocks, Span<float> y)
    {
        DTypeInfo info = type.Info();
        if (blocks.Length % info.BlockBytes != 0 || blocks.Length / info.BlockBytes * info.BlockElements != y.Length)
            throw new ArgumentException($"{blocks.Length} bytes of {info.Name} are not {y.Length} elements: a block is {info.BlockBytes} bytes for {info.BlockElements}.", nameof(blocks));
        switch (type) // the plain formats of most checkpoints, without a call an element
        {
            case DType.F32: MemoryMarshal.Cast<byte, float>(blocks).CopyTo(y); return;
            case DType.BF16: for (int i = 0; i < y.Length; i++) y[i] = SmallFloats.FromBF16(BinaryPrimitives.ReadUInt16LittleEndian(blocks[(2 * i)..])); return;
            case DType.F8E4M3: for (int i = 0; i < y.Length; i++) y[i] = SmallFloats.FromE4M3(blocks[i]); return;
        }
        delegate*<ReadOnlySpan<byte>, Span<float>, void> block = Block(type);
        for (int i = 0, o = 0; i < blocks.Length; i += info.BlockBytes, o += info.BlockElements)
            block(blocks.Slice(i, info.BlockBytes), y.Slice(o, info.BlockElements));
    }

    private static delegate*<ReadOnlySpan<byte>, Span<float>, void> Block(DType type) => type switch
    {
        DType.F16 => &F16, DType.F64 => &F64,
        DType.I8 => &I8, DType.I16 => &I16, DType.I32 => &I32, DType.I64 => &I64, DType.U8 => &U8, DType.Bool => &U8,
        DType.F8E5M2 => &E5M2, DType.F8E8M0 => &E8M0,
        DType.Q4_0 => &LegacyBlocks.Q4_0, DType.Q4_1 => &LegacyBlocks.Q4_1, DType.Q5_0 => &LegacyBlocks.Q5_0, DType.Q5_1 => &LegacyBlocks.Q5_1,
        DType.Q8_0 => &LegacyBlocks.Q8_0, DType.Q8_1 => &LegacyBlocks.Q8_1,
        DType.Q2_K => &KBlocks.Q2_K, DType.Q3_K => &KBlocks.Q3_K, DType.Q4_K => &KBlocks.Q4_K, DType.Q5_K => &KBlocks.Q5_K, DType.Q6_K => &KBlocks.Q6_K, DType.Q8_K => &KBlocks.Q8_K,
        DType.IQ1_S => &GridBlocks.IQ1_S, DType.IQ1_M => &GridBlocks.IQ1_M, DType.IQ2_XXS => &GridBlocks.IQ2_XXS, DType.IQ2_XS => &GridBlocks.IQ2_XS, DType.IQ2_S => &GridBlocks.IQ2_S,
        DType.IQ3_XXS => &GridBlocks.IQ3_XXS, DType.IQ3_S => &GridBlocks.IQ3_S,
        DType.IQ4_NL => &TableBlocks.IQ4_NL, DType.IQ4_XS => &TableBlocks.IQ4_XS, DType.MXFP4 => &TableBlocks.MXFP4,
        DType.TQ1_0 => &TableBlocks.TQ1_0, DType.TQ2_0 => &TableBlocks.TQ2_0,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "not a format"),
    };

    private static void F16(ReadOnlySpan<byte> b, Span<float> y) => y[0] = Half(b);

    private static void F64(ReadOnlySpan<byte> b, Span<float> y) => y[0] = (float)BinaryPrimitives.ReadDoubleLittleEndian(b);

    private static void I8(ReadOnlySpan<byte> b, Span<float> y) => y[0] = (sbyte)b[0];

    private static void I16(ReadOnlySpan<byte> b, Span<float> y) => y[0] = BinaryPrimitives.ReadInt16LittleEndian(b);

    private static void I32(ReadOnlySpan<byte> b, Span<float> y) => y[0] = BinaryPrimitives.ReadInt32LittleEndian(b);

    private static void I64(ReadOnlySpan<byte> b, Span<float> y) => y[0] = BinaryPrimitives.ReadInt64LittleEndian(b);

    private static void U8(ReadOnlySpan<byte> b, Span<float> y) => y[0] = b[0];

    private static void E5M2(ReadOnlySpan<byte> b, Span<float> y) => y[0] = SmallFloats.FromE5M2(b[0]);

    private static void E8M0(ReadOnlySpan<byte> b, Span<float> y) => y[0] = SmallFloats.FromE8M0(b[0]);

    /// <summary>The float16 that the bytes start with.</summary>
    internal static float Half(ReadOnlySpan<byte> b) => SmallFloats.FromF16(BinaryPrimitives.ReadUInt16LittleEndian(b));
}
