using System.Runtime.CompilerServices;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>
/// A block format as whole numbers: element = scale·q + minimum, q a signed byte, a scale for each group of 16 or 32 elements, and a minimum where the format has them.
/// </summary>
internal unsafe interface IBlockFormat
{
    /// <summary>Elements of a block.</summary>
    static abstract int Elements { get; }

    /// <summary>Bytes of a block.</summary>
    static abstract int Bytes { get; }

    /// <summary>Elements that share a scale: 16 or 32.</summary>
    static abstract int GroupElements { get; }

    /// <summary>Whether elements have a minimum.</summary>
    static abstract bool HasMinima { get; }

    /// <summary>The least and the greatest whole number.</summary>
    static abstract (int Least, int Most) Range { get; }

    /// <summary>Unpacks one block.</summary>
    /// <param name="block">The stored block.</param>
    /// <param name="q">Whole numbers. [Elements]</param>
    /// <param name="scales">[Elements / GroupElements]</param>
    /// <param name="minima">[Elements / GroupElements]; untouched where there are none.</param>
    static abstract void Unpack(byte* block, sbyte* q, float* scales, float* minima);
}

/// <summary>What the products need to know of a block format. One for each format; <see cref="Of"/> finds it.</summary>
internal sealed unsafe class BlockFormat
{
    private readonly delegate*<byte*, int, sbyte*, float*, float*, void> unpack;
    private readonly delegate*<PanelRows, int, byte*, float*, int, void> pack;

    private BlockFormat(int elements, int bytes, int groupElements, bool hasMinima, (int Least, int Most) range,
        delegate*<byte*, int, sbyte*, float*, float*, void> unpack, delegate*<PanelRows, int, byte*, float*, int, void> pack)
    {
        this.pack = pack;
        (Elements, Bytes, GroupElements, HasMinima) = (elements, bytes, groupElements, hasMinima);
        (Least, Most) = range;
        this.unpack = unpack;
    }

    public int Elements { get; }

    public int Bytes { get; }

    public int GroupElements { get; }

    public bool HasMinima { get; }

    /// <summary>The least whole number.</summary>
    public int Least { get; }

    /// <summary>The greatest whole number.</summary>
    public int Most { get; }

    /// <summary>Unpacks <paramref name="columns"/> elements, a whole number of blocks.</summary>
    public void Unpack(byte* row, int columns, sbyte* q, float* scales, float* minima) => unpack(row, columns / Elements, q, scales, minima);

    /// <summary>Whether <see cref="Pack"/> can be asked for.</summary>
    public bool Packs(Capabilities capabilities) => pack is not null && capabilities.Avx512;

    /// <summary>Packs 16 rows of a panel (see <see cref="IPanelFormat.Pack"/>).</summary>
    public void Pack(PanelRows rows, int columns, byte* step, float* scales, int stepBytes) => pack(rows, columns / Elements, step, scales, stepBytes);

    /// <summary>A row as float32. [columns]</summary>
    public void ReadRow(byte* row, int columns, float* to)
    {
        sbyte* q = stackalloc sbyte[256];
        float* scales = stackalloc float[16], minima = stackalloc float[16];
        new Span<float>(minima, 16).Clear();
        for (int k = 0; k < columns; k += Elements, row += Bytes)
        {
            unpack(row, 1, q, scales, minima);
            for (int i = 0; i < Elements; i++) to[k + i] = scales[i / GroupElements] * q[i] + minima[i / GroupElements];
        }
    }

    /// <summary>The format's whole-number form; null where it is computed in floating point.</summary>
    public static BlockFormat? Of(DType type) => type switch
    {
        DType.Q4_0 => Make<Q4_0>(&PackRows<Q4_0>),
        DType.Q4_1 => Make<Q4_1>(&PackRows<Q4_1>),
        DType.Q5_0 => Make<Q5_0>(&PackRows<Q5_0>),
        DType.Q5_1 => Make<Q5_1>(&PackRows<Q5_1>),
        DType.Q8_0 => Make<Q8_0>(&PackRows<Q8_0>),
        DType.Q4_K => Make<Q4_K>(&PackRows<Q4_K>),
        DType.Q5_K => Make<Q5_K>(&PackRows<Q5_K>),
        DType.Q6_K => Make<Q6_K>(&PackRows<Q6_K>),
        DType.Q2_K => Make<Q2_K>(null),
        DType.Q3_K => Make<Q3_K>(null),
        DType.TQ1_0 => Make<TQ1_0>(null),
        DType.TQ2_0 => Make<TQ2_0>(null),
        DType.IQ1_S => MakeLattice<IQ1_S>(),
        DType.IQ1_M => MakeLattice<IQ1_M>(),
        DType.IQ2_XXS => MakeLattice<IQ2_XXS>(),
        DType.IQ2_XS => MakeLattice<IQ2_XS>(),
        DType.IQ2_S => MakeLattice<IQ2_S>(),
        DType.IQ3_XXS => MakeLattice<IQ3_XXS>(),
        DType.IQ3_S => MakeLattice<IQ3_S>(),
        DType.IQ4_NL => Make<IQ4_NL>(&PackRows<IQ4_NL>),
        DType.IQ4_XS => Make<IQ4_XS>(null),
        DType.MXFP4 => Make<MXFP4>(&PackRows<MXFP4>),
        _ => null,
    };

    private static BlockFormat MakeLattice<T>() where T : struct, IBlockFormat
    {
        Lattice.Prepare();
        return Make<T>(null);
    }

    private static BlockFormat Make<T>(delegate*<PanelRows, int, byte*, float*, int, void> pack) where T : struct, IBlockFormat
        => new(T.Elements, T.Bytes, T.GroupElements, T.HasMinima, T.Range, &UnpackRow<T>, pack);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackRows<T>(PanelRows rows, int blocks, byte* step, float* scales, int stepBytes) where T : struct, IPanelFormat
    {
        for (int b = 0; b < blocks; b++)
        {
            T.Pack(rows, (long)b * T.Bytes, step, scales, stepBytes);
            step += (long)T.Elements / 32 * stepBytes;
            scales = (float*)((byte*)scales + (long)T.Elements / 32 * stepBytes);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void UnpackRow<T>(byte* row, int blocks, sbyte* q, float* scales, float* minima) where T : struct, IBlockFormat
    {
        for (int b = 0; b < blocks; b++)
        {
            T.Unpack(row, q, scales, minima);
            row += T.Bytes;
            q += T.Elements;
            scales += T.Elements / T.GroupElements;
            minima += T.Elements / T.GroupElements;
        }
    }

    /// <summary>The IEEE half at that address.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Half(byte* at) => SmallFloats.FromF16(*(ushort*)at);
}
