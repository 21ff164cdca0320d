using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>256 elements: 128 bytes of lower four bits, 64 bytes of upper two, 16 signed scales, half d; element = d·scale·(q − 32), a scale for each 16.</summary>
internal readonly unsafe struct Q6_K : IPanelFormat, ILaneFormat
{
    public static int Elements => 256;

    public static int Bytes => 210;

    public static int GroupElements => 16;

    public static bool HasMinima => false;

    public static (int Least, int Most) Range => (-32, 31);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        float d = BlockFormat.Half(block + 208);
        for (int g = 0; g < 16; g++) scales[g] = d * ((sbyte*)block)[192 + g];
        Vector256<byte> four = Vector256.Create((byte)15), two = Vector256.Create((byte)48);
        Vector256<sbyte> offset = Vector256.Create((sbyte)32);
        for (int h = 0; h < 2; h++)
        {
            Vector256<byte> a = Vector256.Load(block + 64 * h), b = Vector256.Load(block + 64 * h + 32);
            Vector256<ushort> high = Vector256.Load(block + 128 + 32 * h).AsUInt16();
            sbyte* to = q + 128 * h;
            ((a & four | (high << 4).AsByte() & two).AsSByte() - offset).Store(to);
            ((b & four | (high << 2).AsByte() & two).AsSByte() - offset).Store(to + 32);
            (((a.AsUInt16() >> 4).AsByte() & four | high.AsByte() & two).AsSByte() - offset).Store(to + 64);
            (((b.AsUInt16() >> 4).AsByte() & four | (high >> 2).AsByte() & two).AsSByte() - offset).Store(to + 96);
        }
    }

    public static void Pack(PanelRows rows, long offset, byte* step, float* scales, int stepBytes)
    {
        int stride = stepBytes / sizeof(float);
        Vector512<float> d = rows.Halves(offset + 208);
        rows.Columns(offset + 192, out Vector512<byte> s0, out Vector512<byte> s4, out Vector512<byte> s8, out Vector512<byte> s12);
        PackScales(scales, stride, d, s0.AsInt32());
        PackScales(scales + 2 * stride, stride, d, s4.AsInt32());
        PackScales(scales + 4 * stride, stride, d, s8.AsInt32());
        PackScales(scales + 6 * stride, stride, d, s12.AsInt32());
        for (int h = 0; h < 2; h++)
            for (int i = 0; i < 2; i++)
            {
                rows.Columns(offset + 64 * h + 16 * i, out Vector512<byte> a0, out Vector512<byte> a1, out Vector512<byte> a2, out Vector512<byte> a3);
                rows.Columns(offset + 64 * h + 32 + 16 * i, out Vector512<byte> b0, out Vector512<byte> b1, out Vector512<byte> b2, out Vector512<byte> b3);
                rows.Columns(offset + 128 + 32 * h + 16 * i, out Vector512<byte> h0, out Vector512<byte> h1, out Vector512<byte> h2, out Vector512<byte> h3);
                byte* to = step + 4L * h * stepBytes + 256 * i;
                PackFour(to, stepBytes, a0.AsUInt16(), b0.AsUInt16(), h0.AsUInt16());
                PackFour(to + 64, stepBytes, a1.AsUInt16(), b1.AsUInt16(), h1.AsUInt16());
                PackFour(to + 128, stepBytes, a2.AsUInt16(), b2.AsUInt16(), h2.AsUInt16());
                PackFour(to + 192, stepBytes, a3.AsUInt16(), b3.AsUInt16(), h3.AsUInt16());
            }
    }

    /// <summary>Four columns of the four groups of 32 whose lower bits lie in a and b, and whose upper two bits lie in one byte of h.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PackFour(byte* to, int stepBytes, Vector512<ushort> a, Vector512<ushort> b, Vector512<ushort> h)
    {
        Vector512<byte> four = Vector512.Create((byte)15), two = Vector512.Create((byte)48), plus = Vector512.Create((byte)(128 - 32));
        ((a.AsByte() & four | (h << 4).AsByte() & two) + plus).Store(to);
        ((b.AsByte() & four | (h << 2).AsByte() & two) + plus).Store(to + stepBytes);
        (((a >> 4).AsByte() & four | h.AsByte() & two) + plus).Store(to + 2L * stepBytes);
        (((b >> 4).AsByte() & four | (h >> 2).AsByte() & two) + plus).Store(to + 3L * stepBytes);
    }

    /// <summary>Four scales, for two steps.</summary>
    private static void PackScales(float* scales, int stride, Vector512<float> d, Vector512<int> bytes)
    {
        (d * Vector512.ConvertToSingle(bytes << 24 >> 24)).Store(scales);
        (d * Vector512.ConvertToSingle(bytes << 16 >> 24)).Store(scales + 2 * PanelRows.Count);
        (d * Vector512.ConvertToSingle(bytes << 8 >> 24)).Store(scales + stride);
        (d * Vector512.ConvertToSingle(bytes >> 24)).Store(scales + stride + 2 * PanelRows.Count);
    }

    public static int Offset => 32;

    public static int Planes => 4;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scales(LaneRows rows, float* scales, float* minima)
    {
        Vector256<float> d = rows.Halves(208);
        rows.Columns(192, out Vector256<byte> s0, out Vector256<byte> s4, out Vector256<byte> s8, out Vector256<byte> s12);
        FourScales(scales, d, s0.AsInt32());
        FourScales(scales + 4 * LaneRows.Count, d, s4.AsInt32());
        FourScales(scales + 8 * LaneRows.Count, d, s8.AsInt32());
        FourScales(scales + 12 * LaneRows.Count, d, s12.AsInt32());
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Prepare(LaneRows rows, byte* kept)
    {
        // In order of memory, which prefetchers follow: of each half the lower bits of four groups, then the upper ones of both.
        for (int i = 0; i < 8; i++) rows.Keep(16 * i, kept + 768 * (i / 4) + 128 * (i % 4), out _, out _, out _, out _);
        for (int i = 0; i < 4; i++) rows.Keep(128 + 16 * i, kept + 768 * (i / 2) + 512 + 128 * (i % 2), out _, out _, out _, out _);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(LaneRows rows, int part, int plane, byte* kept, out Vector256<byte> w0, out Vector256<byte> w1, out Vector256<byte> w2, out Vector256<byte> w3, out Vector256<byte> w4, out Vector256<byte> w5, out Vector256<byte> w6, out Vector256<byte> w7)
    {
        byte* four = kept + 768 * part + 256 * (plane & 1), two = kept + 768 * part + 512;
        w0 = Bits(four, two, plane);
        w1 = Bits(four + 32, two + 32, plane);
        w2 = Bits(four + 64, two + 64, plane);
        w3 = Bits(four + 96, two + 96, plane);
        w4 = Bits(four + 128, two + 128, plane);
        w5 = Bits(four + 160, two + 160, plane);
        w6 = Bits(four + 192, two + 192, plane);
        w7 = Bits(four + 224, two + 224, plane);
    }

    /// <summary>Half-bytes with the two bits above them: which half, and which of four pairs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<byte> Bits(byte* four, byte* two, int plane)
    {
        Vector256<ushort> v = Vector256.Load((ushort*)two);
        v = plane == 0 ? v << 4 : plane == 1 ? v << 2 : plane == 2 ? v : v >> 2;
        return (plane < 2 ? LaneRows.Low(Vector256.Load(four)) : LaneRows.High(Vector256.Load(four))) | v.AsByte() & Vector256.Create((byte)48);
    }

    /// <summary>Four scales.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void FourScales(float* scales, Vector256<float> d, Vector256<int> bytes)
    {
        (d * Vector256.ConvertToSingle(bytes << 24 >> 24)).Store(scales);
        (d * Vector256.ConvertToSingle(bytes << 16 >> 24)).Store(scales + LaneRows.Count);
        (d * Vector256.ConvertToSingle(bytes << 8 >> 24)).Store(scales + 2 * LaneRows.Count);
        (d * Vector256.ConvertToSingle(bytes >> 24)).Store(scales + 3 * LaneRows.Count);
    }
}
