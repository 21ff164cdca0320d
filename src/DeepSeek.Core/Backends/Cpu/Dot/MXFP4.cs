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
    public static void UnpackLanes(LaneRows rows, byte* q, float* scales, float* minima)
    {
        for (int r = 0; r < LaneRows.Count; r++) scales[r] = HalfPower(*rows.Row(r, 0));
        rows.Levels(1, Levels + Vector128.Create((sbyte)16), q, q + 128);
    }
}
