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

    public static int Planes => 2;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scales(LaneRows rows, float* scales, float* minima)
        => Q4_K.LaneScales(rows, 16, scales, minima);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(LaneRows rows, int part, int plane, byte* kept, out Vector256<byte> w0, out Vector256<byte> w1, out Vector256<byte> w2, out Vector256<byte> w3, out Vector256<byte> w4, out Vector256<byte> w5, out Vector256<byte> w6, out Vector256<byte> w7)
    {
        // The fifth bits of all parts are kept; a part and a plane use the lowest ones and the next, and leave those of the following part there.
        byte* fifth = kept + 256;
        if (part == 0 && plane == 0)
        {
            rows.Keep(16, fifth, out w0, out w1, out w2, out w3);
            rows.Keep(32, fifth + 128, out w4, out w5, out w6, out w7);
        }
        if (plane == 0)
        {
            rows.Keep(48 + 32 * part, kept, out w0, out w1, out w2, out w3);
            rows.Keep(64 + 32 * part, kept + 128, out w4, out w5, out w6, out w7);
            w0 = LaneRows.Low(w0) | Fifth(fifth, 4);
            w1 = LaneRows.Low(w1) | Fifth(fifth + 32, 4);
            w2 = LaneRows.Low(w2) | Fifth(fifth + 64, 4);
            w3 = LaneRows.Low(w3) | Fifth(fifth + 96, 4);
            w4 = LaneRows.Low(w4) | Fifth(fifth + 128, 4);
            w5 = LaneRows.Low(w5) | Fifth(fifth + 160, 4);
            w6 = LaneRows.Low(w6) | Fifth(fifth + 192, 4);
            w7 = LaneRows.Low(w7) | Fifth(fifth + 224, 4);
        }
        else
        {
            w0 = LaneRows.High(Vector256.Load(kept)) | Next(fifth);
            w1 = LaneRows.High(Vector256.Load(kept + 32)) | Next(fifth + 32);
            w2 = LaneRows.High(Vector256.Load(kept + 64)) | Next(fifth + 64);
            w3 = LaneRows.High(Vector256.Load(kept + 96)) | Next(fifth + 96);
            w4 = LaneRows.High(Vector256.Load(kept + 128)) | Next(fifth + 128);
            w5 = LaneRows.High(Vector256.Load(kept + 160)) | Next(fifth + 160);
            w6 = LaneRows.High(Vector256.Load(kept + 192)) | Next(fifth + 192);
            w7 = LaneRows.High(Vector256.Load(kept + 224)) | Next(fifth + 224);
        }
    }

    /// <summary>The lowest of the bits, as 16.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<byte> Fifth(byte* bits, int shift) => (Vector256.Load((ushort*)bits) << shift).AsByte() & Vector256.Create((byte)16);

    /// <summary>The one next to it; then two less are left.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<byte> Next(byte* bits)
    {
        Vector256<ushort> v = Vector256.Load((ushort*)bits);
        (v >> 2).Store((ushort*)bits);
        return (v << 3).AsByte() & Vector256.Create((byte)16);
    }
}
