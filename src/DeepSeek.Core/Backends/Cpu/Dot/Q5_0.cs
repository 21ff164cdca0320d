using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>32 elements: half d, 32 fifth bits, 16 bytes of half-bytes as in Q4_0; element = d·(q − 16).</summary>
internal readonly unsafe struct Q5_0 : IPanelFormat, ILaneFormat
{
    public static int Elements => 32;

    public static int Bytes => 22;

    public static int GroupElements => 32;

    public static bool HasMinima => false;

    public static (int Least, int Most) Range => (-16, 15);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        *scales = BlockFormat.Half(block);
        Vector256<byte> v = Nibbles.Halves(block + 6) | Nibbles.FifthBits(Unsafe.ReadUnaligned<uint>(block + 2));
        (v.AsSByte() - Vector256.Create((sbyte)16)).Store(q);
    }

    public static void Pack(PanelRows rows, long offset, byte* step, float* scales, int stepBytes)
    {
        rows.Halves(offset).Store(scales);
        rows.Nibbles(offset + 6, 128 - 16, step, step + 256);
        rows.FifthBits(offset + 2, step);
    }

    public static int Offset => 16;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(LaneRows rows, int part, int plane, byte* kept, out Vector256<byte> w0, out Vector256<byte> w1, out Vector256<byte> w2, out Vector256<byte> w3, out Vector256<byte> w4, out Vector256<byte> w5, out Vector256<byte> w6, out Vector256<byte> w7)
        => rows.Fives(6, 2, out w0, out w1, out w2, out w3, out w4, out w5, out w6, out w7);
}
