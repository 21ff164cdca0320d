using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>256 elements as in Q4_K, with 32 bytes of fifth bits between scales and half-bytes: bit g of byte i belongs to element i of group g.</summary>
internal readonly unsafe struct Q5_K : IPanelFormat, ILaneFormat
{
    public static int Elements => 256;

    public static int Bytes => 176;

    public static int GroupElements => 32;

    public static bool HasMinima => true;

    public static (int Least, int Most) Range => (0, 31);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        Q4_K.Scales(block, scales, minima);
        Vector256<byte> mask = Vector256.Create((byte)15), fifth = Vector256.Create((byte)16);
        Vector256<ushort> high = Vector256.Load(block + 16).AsUInt16();
        for (int c = 0; c < 4; c++)
        {
            Vector256<byte> v = Vector256.Load(block + 48 + 32 * c);
            (v & mask | high.AsByte() << 4 & fifth).AsSByte().Store(q + 64 * c);
            ((v.AsUInt16() >> 4).AsByte() & mask | (high << 3).AsByte() & fifth).AsSByte().Store(q + 64 * c + 32);
            high >>= 2;
        }
    }

    public static void Pack(PanelRows rows, long offset, byte* step, float* scales, int stepBytes)
    {
        Q4_K.PackScales(rows, offset, scales, stepBytes);
        Vector512<byte> fifth = Vector512.Create((byte)16);
        for (int i = 0; i < 2; i++)
        {
            rows.Columns(offset + 16 + 16 * i, out Vector512<byte> h0, out Vector512<byte> h1, out Vector512<byte> h2, out Vector512<byte> h3);
            for (int c = 0; c < 4; c++)
            {
                byte* low = step + 2L * c * stepBytes + 256 * i, high = low + stepBytes;
                rows.Nibbles(offset + 48 + 32 * c + 16 * i, 128, low, high);
                AddBits(low, h0, h1, h2, h3, 4, fifth);
                AddBits(high, h0, h1, h2, h3, 3, fifth);
                (h0, h1, h2, h3) = ((h0.AsUInt16() >> 2).AsByte(), (h1.AsUInt16() >> 2).AsByte(), (h2.AsUInt16() >> 2).AsByte(), (h3.AsUInt16() >> 2).AsByte());
            }
        }
    }

    private static void AddBits(byte* to, Vector512<byte> h0, Vector512<byte> h1, Vector512<byte> h2, Vector512<byte> h3, int shift, Vector512<byte> fifth)
    {
        (Vector512.Load(to) | (h0.AsUInt16() << shift).AsByte() & fifth).Store(to);
        (Vector512.Load(to + 64) | (h1.AsUInt16() << shift).AsByte() & fifth).Store(to + 64);
        (Vector512.Load(to + 128) | (h2.AsUInt16() << shift).AsByte() & fifth).Store(to + 128);
        (Vector512.Load(to + 192) | (h3.AsUInt16() << shift).AsByte() & fifth).Store(to + 192);
    }

    public static int Offset => 16;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void UnpackLanes(LaneRows rows, byte* q, float* scales, float* minima)
    {
        Q4_K.UnpackLaneScales(rows, 16, scales, minima);
        Vector256<byte> fifth = Vector256.Create((byte)16), mask = Vector256.Create((byte)15);
        for (int i = 0; i < 2; i++)
        {
            rows.Columns(16 + 16 * i, out Vector256<byte> h0, out Vector256<byte> h1, out Vector256<byte> h2, out Vector256<byte> h3);
            for (int c = 0; c < 4; c++)
            {
                rows.Columns(48 + 32 * c + 16 * i, out Vector256<byte> c0, out Vector256<byte> c1, out Vector256<byte> c2, out Vector256<byte> c3);
                byte* to = q + 512 * c + 128 * i;
                UnpackFour(to, c0.AsUInt16(), h0.AsUInt16(), mask, fifth);
                UnpackFour(to + 32, c1.AsUInt16(), h1.AsUInt16(), mask, fifth);
                UnpackFour(to + 64, c2.AsUInt16(), h2.AsUInt16(), mask, fifth);
                UnpackFour(to + 96, c3.AsUInt16(), h3.AsUInt16(), mask, fifth);
                (h0, h1, h2, h3) = ((h0.AsUInt16() >> 2).AsByte(), (h1.AsUInt16() >> 2).AsByte(), (h2.AsUInt16() >> 2).AsByte(), (h3.AsUInt16() >> 2).AsByte());
            }
        }
    }

    /// <summary>Four columns of a group and of the next one, whose fifth bits are the lowest of h and the next to it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void UnpackFour(byte* to, Vector256<ushort> v, Vector256<ushort> h, Vector256<byte> mask, Vector256<byte> fifth)
    {
        (v.AsByte() & mask | (h << 4).AsByte() & fifth).Store(to);
        ((v >> 4).AsByte() & mask | (h << 3).AsByte() & fifth).Store(to + 256);
    }
}
