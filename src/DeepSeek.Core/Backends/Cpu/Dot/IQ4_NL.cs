using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>32 elements: half d, 16 bytes of half-bytes as in Q4_0, each an index into a table of 16 levels; element = d·level.</summary>
internal readonly unsafe struct IQ4_NL : IPanelFormat, ILaneFormat
{
    public static int Elements => 32;

    public static int Bytes => 18;

    public static int GroupElements => 32;

    public static bool HasMinima => false;

    public static (int Least, int Most) Range => (-127, 113);

    /// <summary>The 16 levels.</summary>
    public static Vector128<sbyte> Levels
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector128.Create((sbyte)-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
    }

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        *scales = BlockFormat.Half(block);
        Look(Levels, block + 2, q);
    }

    /// <summary>The levels of 32 half-bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Look(Vector128<sbyte> levels, byte* halves, sbyte* q)
    {
        Vector256<byte> index = Nibbles.Halves(halves);
        Vector128.Shuffle(levels, index.GetLower().AsSByte()).Store(q);
        Vector128.Shuffle(levels, index.GetUpper().AsSByte()).Store(q + 16);
    }

    public static void Pack(PanelRows rows, long offset, byte* step, float* scales, int stepBytes)
    {
        rows.Halves(offset).Store(scales);
        rows.Levels(offset + 2, Levels, step, step + 256);
    }

    public static int Offset => ILaneFormat.Signed;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(LaneRows rows, int part, int plane, byte* kept, out Vector256<byte> w0, out Vector256<byte> w1, out Vector256<byte> w2, out Vector256<byte> w3, out Vector256<byte> w4, out Vector256<byte> w5, out Vector256<byte> w6, out Vector256<byte> w7)
        => rows.Levels(2, Levels, out w0, out w1, out w2, out w3, out w4, out w5, out w6, out w7);
}
