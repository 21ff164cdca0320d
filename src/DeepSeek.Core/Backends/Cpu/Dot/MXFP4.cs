using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>OCP microscaling FP4 (e2m1): 32 elements: exponent e, 16 bytes of half-bytes as in Q4_0; element = 2^(e − 128)·(twice the e2m1 number).</summary>
internal readonly unsafe struct MXFP4 : IPanelFormat, ILaneFormat
{
    public static int Elements => 32;

    public static int Bytes => 17;

    public static int GroupElements => 32;

    public static bool HasMinima => false;

    public static (int Least, int Most) Range => (-12, 12);

    /// <summary>Twice the e2m1 numbers.</summary>
    private static Vector128<sbyte> Levels => Vector128.Create((sbyte)0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        *scales = HalfPower(*block);
        IQ4_NL.Look(Levels, block + 1, q);
    }

    /// <summary>2^(e − 128), NaN for 255.</summary>
    private static float HalfPower(byte e) => e switch
    {
        255 => float.NaN,
        < 2 => BitConverter.UInt32BitsToSingle(0x0020_0000u << e), // subnormal: 2^−128, 2^−127
        _ => BitConverter.UInt32BitsToSingle((uint)(e - 1) << 23),
    };

    public static void Pack(PanelRows rows, long offset, byte* step, float* scales, int stepBytes)
    {
        for (int r = 0; r < PanelRows.Count; r++) scales[r] = HalfPower(*rows.Row(r, offset));
        rows.Levels(offset + 1, Levels, step, step + 256);
    }

    public static int Offset => 16;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(LaneRows rows, float* scales, float* minima)
    {
        // As HalfPower does.
        Vector256<int> e = rows.Bytes(0), one = Vector256<int>.One;
        Vector256<int> small = (e + one) << 21, normal = (e - one) << 23, nan = Vector256.Create(0x7FC0_0000);
        Vector256.ConditionalSelect(Vector256.Equals(e, Vector256.Create(255)), nan, Vector256.ConditionalSelect(Vector256.GreaterThan(e, one), normal, small)).AsSingle().Store(scales);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(LaneRows rows, int part, int plane, byte* kept, out Vector256<byte> w0, out Vector256<byte> w1, out Vector256<byte> w2, out Vector256<byte> w3, out Vector256<byte> w4, out Vector256<byte> w5, out Vector256<byte> w6, out Vector256<byte> w7)
        => rows.Levels(1, Levels + Vector128.Create((sbyte)16), out w0, out w1, out w2, out w3, out w4, out w5, out w6, out w7);
}
