using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>32 elements: half d, 16 bytes; element i is d·(low half of byte i − 8), element 16 + i its high half.</summary>
internal readonly unsafe struct Q4_0 : IPanelFormat, ILaneFormat
{
    public static int Elements => 32;

    public static int Bytes => 18;

    public static int GroupElements => 32;

    public static bool HasMinima => false;

    public static (int Least, int Most) Range => (-8, 7);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        *scales = BlockFormat.Half(block);
        (Nibbles.Halves(block + 2).AsSByte() - Vector256.Create((sbyte)8)).Store(q);
    }

    public static void Pack(PanelRows rows, long offset, byte* step, float* scales, int stepBytes)
    {
        rows.Halves(offset).Store(scales);
        rows.Nibbles(offset + 2, 128 - 8, step, step + 256);
    }

    public static int Offset => 8;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(LaneRows rows, int part, int plane, byte* kept, out Vector256<byte> w0, out Vector256<byte> w1, out Vector256<byte> w2, out Vector256<byte> w3, out Vector256<byte> w4, out Vector256<byte> w5, out Vector256<byte> w6, out Vector256<byte> w7)
        => rows.Nibbles(2, out w0, out w1, out w2, out w3, out w4, out w5, out w6, out w7);
}
