using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>32 elements: half d, 32 signed bytes; element = d·q.</summary>
internal readonly unsafe struct Q8_0 : IPanelFormat, ILaneFormat
{
    public static int Elements => 32;

    public static int Bytes => 34;

    public static int GroupElements => 32;

    public static bool HasMinima => false;

    public static (int Least, int Most) Range => (-128, 127);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        *scales = BlockFormat.Half(block);
        Vector256.Load((sbyte*)block + 2).Store(q);
    }

    public static void Pack(PanelRows rows, long offset, byte* step, float* scales, int stepBytes)
    {
        rows.Halves(offset).Store(scales);
        Vector512<byte> flip = Vector512.Create((byte)0x80);
        for (int i = 0; i < 2; i++)
        {
            rows.Columns(offset + 2 + 16 * i, out Vector512<byte> c0, out Vector512<byte> c1, out Vector512<byte> c2, out Vector512<byte> c3);
            (c0 ^ flip).Store(step + 256 * i);
            (c1 ^ flip).Store(step + 256 * i + 64);
            (c2 ^ flip).Store(step + 256 * i + 128);
            (c3 ^ flip).Store(step + 256 * i + 192);
        }
    }

    public static int Offset => ILaneFormat.Signed;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(LaneRows rows, int part, int plane, byte* kept, out Vector256<byte> w0, out Vector256<byte> w1, out Vector256<byte> w2, out Vector256<byte> w3, out Vector256<byte> w4, out Vector256<byte> w5, out Vector256<byte> w6, out Vector256<byte> w7)
    {
        rows.Columns(2, out w0, out w1, out w2, out w3);
        rows.Columns(18, out w4, out w5, out w6, out w7);
    }
}
