using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>256 elements: halves d and dmin, 8 scales and 8 minima of 6 bits in 12 bytes, 4 × 32 bytes: low halves are group 2c, high halves group 2c + 1; element = d·scale·q − dmin·minimum.</summary>
internal readonly unsafe struct Q4_K : IPanelFormat, ILaneFormat
{
    public static int Elements => 256;

    public static int Bytes => 144;

    public static int GroupElements => 32;

    public static bool HasMinima => true;

    public static (int Least, int Most) Range => (0, 15);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        Scales(block, scales, minima);
        Vector256<byte> mask = Vector256.Create((byte)15);
        for (int c = 0; c < 4; c++)
        {
            Vector256<byte> v = Vector256.Load(block + 16 + 32 * c);
            (v & mask).AsSByte().Store(q + 64 * c);
            ((v.AsUInt16() >> 4).AsByte() & mask).AsSByte().Store(q + 64 * c + 32);
        }
    }

    /// <summary>Scales and minima of Q4_K and Q5_K: group g &lt; 4 has its six bits in bytes g and g + 4; the others four bits in byte g + 4 and two on top of the first ones' bytes.</summary>
    public static void Scales(byte* block, float* scales, float* minima)
    {
        float d = BlockFormat.Half(block), m = -BlockFormat.Half(block + 2);
        byte* s = block + 4;
        for (int g = 0; g < 4; g++)
        {
            scales[g] = d * (s[g] & 63);
            minima[g] = m * (s[g + 4] & 63);
            scales[g + 4] = d * (s[g + 8] & 15 | s[g] >> 6 << 4);
            minima[g + 4] = m * (s[g + 8] >> 4 | s[g + 4] >> 6 << 4);
        }
    }

    public static void Pack(PanelRows rows, long offset, byte* step, float* scales, int stepBytes)
    {
        PackScales(rows, offset, scales, stepBytes);
        for (int c = 0; c < 4; c++, step += 2 * stepBytes)
        {
            rows.Nibbles(offset + 16 + 32 * c, 128, step, step + stepBytes);
            rows.Nibbles(offset + 32 + 32 * c, 128, step + 256, step + stepBytes + 256);
        }
    }

    /// <summary>Scales and minima of 16 rows, to the eight steps of a block.</summary>
    public static void PackScales(PanelRows rows, long offset, float* scales, int stepBytes)
    {
        int stride = stepBytes / sizeof(float);
        rows.Columns(offset, out Vector512<byte> halves, out Vector512<byte> b0, out Vector512<byte> b4, out Vector512<byte> b8);
        Vector512<float> d = LoadF16.Convert(halves.AsUInt32() & Vector512.Create(0xFFFFu)), m = -LoadF16.Convert(halves.AsUInt32() >> 16);
        Vector512<int> first = b0.AsInt32(), second = b4.AsInt32(), third = b8.AsInt32(), six = Vector512.Create(63), four = Vector512.Create(15), upper = Vector512.Create(48);
        for (int g = 0; g < 4; g++, scales += stride)
        {
            Store(scales, d, first & six);
            Store(scales + 2 * PanelRows.Count, m, second & six);
            Store(scales + 4L * stride, d, third & four | first >> 2 & upper);
            Store(scales + 4L * stride + 2 * PanelRows.Count, m, third >> 4 & four | second >> 2 & upper);
            (first, second, third) = (first >> 8, second >> 8, third >> 8);
        }
    }

    private static void Store(float* to, Vector512<float> factor, Vector512<int> scale) => (factor * Vector512.ConvertToSingle(scale)).Store(to);

    public static int Offset => 0;

    public static int Planes => 2;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scales(LaneRows rows, float* scales, float* minima)
        => LaneScales(rows, 0, scales, minima);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(LaneRows rows, int part, int plane, byte* kept, out Vector256<byte> w0, out Vector256<byte> w1, out Vector256<byte> w2, out Vector256<byte> w3, out Vector256<byte> w4, out Vector256<byte> w5, out Vector256<byte> w6, out Vector256<byte> w7)
    {
        if (plane == 0)
        {
            rows.Keep(16 + 32 * part, kept, out w0, out w1, out w2, out w3);
            rows.Keep(32 + 32 * part, kept + 128, out w4, out w5, out w6, out w7);
            (w0, w1, w2, w3) = (LaneRows.Low(w0), LaneRows.Low(w1), LaneRows.Low(w2), LaneRows.Low(w3));
            (w4, w5, w6, w7) = (LaneRows.Low(w4), LaneRows.Low(w5), LaneRows.Low(w6), LaneRows.Low(w7));
        }
        else
        {
            w0 = LaneRows.High(Vector256.Load(kept));
            w1 = LaneRows.High(Vector256.Load(kept + 32));
            w2 = LaneRows.High(Vector256.Load(kept + 64));
            w3 = LaneRows.High(Vector256.Load(kept + 96));
            w4 = LaneRows.High(Vector256.Load(kept + 128));
            w5 = LaneRows.High(Vector256.Load(kept + 160));
            w6 = LaneRows.High(Vector256.Load(kept + 192));
            w7 = LaneRows.High(Vector256.Load(kept + 224));
        }
    }

    /// <summary>Scales and minima of eight rows; where q − <paramref name="offset"/> is what is multiplied, minima are of that.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void LaneScales(LaneRows rows, float offset, float* scales, float* minima)
    {
        rows.Columns(0, out Vector256<byte> halves, out Vector256<byte> b0, out Vector256<byte> b4, out Vector256<byte> b8);
        Vector256<float> d = LaneRows.Halves(halves.AsUInt32() & Vector256.Create(0xFFFFu)), m = -LaneRows.Halves(halves.AsUInt32() >> 16), more = d * offset;
        Vector256<int> first = b0.AsInt32(), second = b4.AsInt32(), third = b8.AsInt32(), six = Vector256.Create(63), four = Vector256.Create(15), upper = Vector256.Create(48);
        for (int g = 0; g < 4; g++, scales += LaneRows.Count, minima += LaneRows.Count)
        {
            Vector256<float> low = Vector256.ConvertToSingle(first & six), high = Vector256.ConvertToSingle(third & four | first >> 2 & upper);
            (d * low).Store(scales);
            (d * high).Store(scales + 4 * LaneRows.Count);
            Vector256.FusedMultiplyAdd(more, low, m * Vector256.ConvertToSingle(second & six)).Store(minima);
            Vector256.FusedMultiplyAdd(more, high, m * Vector256.ConvertToSingle(third >> 4 & four | second >> 2 & upper)).Store(minima + 4 * LaneRows.Count);
            (first, second, third) = (first >> 8, second >> 8, third >> 8);
        }
    }
}
