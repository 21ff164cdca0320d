using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>32 elements: halves d and m, 32 fifth bits, 16 bytes of half-bytes as in Q4_0; element = d·q + m.</summary>
internal readonly unsafe struct Q5_1 : IPanelFormat, ILaneFormat
{
    public static int Elements => 32;

    public static int Bytes => 24;

    public static int GroupElements => 32;

    public static bool HasMinima => true;

    public static (int Least, int Most) Range => (0, 31);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        *scales = BlockFormat.Half(block);
        *minima = BlockFormat.Half(block + 2);
        (Nibbles.Halves(block + 8) | Nibbles.FifthBits(Unsafe.ReadUnaligned<uint>(block + 4))).AsSByte().Store(q);
    }

    public static void Pack(PanelRows rows, long offset, byte* step, float* scales, int stepBytes)
    {
        rows.Halves(offset).Store(scales);
        rows.Halves(offset + 2).Store(scales + 2 * PanelRows.Count);
        rows.Nibbles(offset + 8, 128, step, step + 256);
        rows.FifthBits(offset + 4, step);
    }

    public static int Offset => 16;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(LaneRows rows, float* scales, float* minima)
    {
        Vector256<float> scale = rows.Halves(0);
        scale.Store(scales);
        Vector256.FusedMultiplyAdd(scale, Vector256.Create(16f), rows.Halves(2)).Store(minima);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(LaneRows rows, int part, int plane, byte* kept, out Vector256<byte> w0, out Vector256<byte> w1, out Vector256<byte> w2, out Vector256<byte> w3, out Vector256<byte> w4, out Vector256<byte> w5, out Vector256<byte> w6, out Vector256<byte> w7)
        => rows.Fives(8, 4, out w0, out w1, out w2, out w3, out w4, out w5, out w6, out w7);
}
