using System.Runtime.CompilerServices;

namespace DeepSeek.Tensors;

/// <summary>
/// Conversions of the small float formats to and from float32, by integer arithmetic: exact to float32, to nearest with ties to even from it. (The casts of
/// <see cref="Half"/> are many times slower.)
/// </summary>
internal static class SmallFloats
{
    /// <summary>Moves an exponent that was read with float16's or e5m2's bias (15) to float32's (127).</summary>
    private const float From15 = 5.192296858534828e33f; // 2^112

    /// <summary>The same from e4m3's bias, 7.</summary>
    private const float From7 = 1.329227995784916e36f; // 2^120

    /// <summary>IEEE binary16.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float FromF16(ushort h)
    {
        uint magnitude = (uint)(h & 0x7FFF) << 13, sign = (uint)(h & 0x8000) << 16;
        uint bits = magnitude < 0x0F800000 ? BitConverter.SingleToUInt32Bits(BitConverter.UInt32BitsToSingle(magnitude) * From15) : magnitude | 0x7F800000;
        return BitConverter.UInt32BitsToSingle(bits | sign);
    }

    /// <summary>To IEEE binary16; what rounds above 65504 becomes infinity.</summary>
    public static ushort ToF16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value), sign = bits >> 16 & 0x8000, x = bits & 0x7FFFFFFF;
        if (x > 0x7F800000) return (ushort)(sign | 0x7E00 | x >> 13 & 0x3FF);
        if (x >= 0x477FF000) return (ushort)(sign | 0x7C00);
        // Below 2^-14: adding 1/2 puts the last place at 2^-24, float16's smallest step, and rounds there.
        if (x < 0x38800000) return (ushort)(sign | BitConverter.SingleToUInt32Bits(BitConverter.UInt32BitsToSingle(x) + 0.5f) - 0x3F000000);
        return (ushort)(sign | x - (112 << 23) + 0xFFF + (x >> 13 & 1) >> 13);
    }

    /// <summary>bfloat16: the upper half of a float32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float FromBF16(ushort b) => BitConverter.UInt32BitsToSingle((uint)b << 16);

    /// <summary>To bfloat16; NaN stays NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort ToBF16(float value)
    {
        uint x = BitConverter.SingleToUInt32Bits(value);
        return (x & 0x7FFFFFFF) > 0x7F800000 ? (ushort)(x >> 16 | 0x40) : (ushort)(x + 0x7FFF + (x >> 16 & 1) >> 16);
    }

    /// <summary>OCP FP8 e4m3fn: 0x7F and 0xFF are NaN, there are no infinities.</summary>
    public static float FromE4M3(byte b)
    {
        float magnitude = (b & 0x7F) == 0x7F ? float.NaN : BitConverter.UInt32BitsToSingle((uint)(b & 0x7F) << 20) * From7;
        return b < 0x80 ? magnitude : -magnitude;
    }

    /// <summary>To OCP FP8 e4m3fn, saturating at ±448; NaN stays NaN.</summary>
    public static byte ToE4M3(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value), sign = bits >> 24 & 0x80, x = bits & 0x7FFFFFFF;
        if (x > 0x7F800000) return (byte)(sign | 0x7F);
        if (x >= 0x43E00000) return (byte)(sign | 0x7E); // 448
        // Below 2^-6: adding 2^14 puts the last place at 2^-9, the smallest step.
        if (x < 0x3C800000) return (byte)(sign | BitConverter.SingleToUInt32Bits(BitConverter.UInt32BitsToSingle(x) + 16384f) - 0x46800000);
        return (byte)(sign | x - (120 << 23) + 0x7FFFF + (x >> 20 & 1) >> 20);
    }

    /// <summary>OCP FP8 e5m2: the upper half of a float16.</summary>
    public static float FromE5M2(byte b) => FromF16((ushort)(b << 8));

    /// <summary>OCP e8m0: 2^(b − 127); 255 is NaN.</summary>
    public static float FromE8M0(byte b) => b switch
    {
        255 => float.NaN,
        0 => BitConverter.UInt32BitsToSingle(0x00400000), // 2^-127 is subnormal
        _ => BitConverter.UInt32BitsToSingle((uint)b << 23),
    };
}
