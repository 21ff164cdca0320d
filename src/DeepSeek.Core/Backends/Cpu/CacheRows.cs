using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu;

/// <summary>From float32 to the formats of cache rows: rounding to nearest, ties to even.</summary>
internal static unsafe class CacheRows
{
    /// <summary>Stores a row. Q8: scale = largest magnitude / 127 of each 32 numbers.</summary>
    public static void Store(CacheFormat format, float* source, byte* row, int width)
    {
        switch (format)
        {
            case CacheFormat.F32: Buffer.MemoryCopy(source, row, 4L * width, 4L * width); break;
            case CacheFormat.F16: StoreHalves(source, (ushort*)row, width); break;
            case CacheFormat.BF16: StoreBrains(source, (ushort*)row, width); break;
            case CacheFormat.Q8: StoreBytes(source, (sbyte*)row, width); break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void StoreBrains(float* source, ushort* row, int width)
    {
        int i = 0;
        for (; i + 32 <= width; i += 32)
            Vector512.Narrow(ToBrain(Vector512.Load((uint*)source + i)), ToBrain(Vector512.Load((uint*)source + i + 16))).Store(row + i);
        for (; i < width; i++)
        {
            uint bits = ((uint*)source)[i];
            row[i] = (ushort)(float.IsNaN(source[i]) ? bits >> 16 | 0x40 : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
        }
    }

    /// <summary>The bits of the nearest bfloat16, of NaN a NaN's.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<uint> ToBrain(Vector512<uint> bits)
    {
        Vector512<uint> rounded = (bits + Vector512.Create(0x7FFFu) + (bits >>> 16 & Vector512.Create(1u))) >>> 16;
        Vector512<uint> isNan = Vector512.GreaterThan(bits & Vector512.Create(0x7FFF_FFFFu), Vector512.Create(0x7F80_0000u));
        return Vector512.ConditionalSelect(isNan, bits >>> 16 | Vector512.Create(0x40u), rounded);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void StoreHalves(float* source, ushort* row, int width)
    {
        int i = 0;
        for (; i + 32 <= width; i += 32) Vector512.Narrow(ToHalf(Vector512.Load((uint*)source + i)), ToHalf(Vector512.Load((uint*)source + i + 16))).Store(row + i);
        for (; i < width; i++) row[i] = BitConverter.HalfToUInt16Bits((Half)source[i]);
    }

    /// <summary>
    /// The bits of the nearest halves. Normal numbers: the exponent's bias is taken off and the mantissa rounded by addition, which carries into the exponent (and beyond
    /// the largest number into infinity). Subnormal ones: adding ½ lets the adder round at the right bit.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> ToHalf(Vector512<uint> bits)
    {
        Vector512<uint> sign = bits >>> 16 & Vector512.Create(0x8000u), magnitude = bits & Vector512.Create(0x7FFF_FFFFu);
        Vector512<uint> normal = magnitude - Vector512.Create(0x3800_0000u - 0xFFFu) + (magnitude >>> 13 & Vector512<uint>.One) >>> 13;
        Vector512<uint> subnormal = (magnitude.AsSingle() + Vector512.Create(0.5f)).AsUInt32() - Vector512.Create(0x3F00_0000u);
        Vector512<uint> result = Vector512.ConditionalSelect(Vector512.LessThan(magnitude, Vector512.Create(0x3880_0000u)), subnormal, normal);
        Vector512<uint> beyond = Vector512.ConditionalSelect(Vector512.GreaterThan(magnitude, Vector512.Create(0x7F80_0000u)), Vector512.Create(0x7E00u), Vector512.Create(0x7C00u));
        return sign | Vector512.ConditionalSelect(Vector512.GreaterThanOrEqual(magnitude, Vector512.Create(0x4780_0000u)), beyond, result);
    }

    [SkipLocalsInit, MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void StoreBytes(float* source, sbyte* row, int width)
    {
        float* scales = (float*)(row + (width + 3) / 4 * 4);
        float* numbers = stackalloc float[32];
        for (int g = 0; g < width; g += 32)
        {
            int count = Math.Min(32, width - g);
            new Span<float>(numbers, 32).Clear();
            Buffer.MemoryCopy(source + g, numbers, 128, 4L * count);
            Vector512<float> low = Vector512.Load(numbers), high = Vector512.Load(numbers + 16), both = Vector512.Max(Vector512.Abs(low), Vector512.Abs(high));
            float largest = 0;
            for (int i = 0; i < 16; i++) largest = MathF.Max(largest, both[i]); // NaN wins: it must not vanish
            scales[g / 32] = largest / 127;
            float inverse = largest > 0 && float.IsFinite(largest) ? 127 / largest : 0;
            if (inverse is 0 or float.PositiveInfinity)
            {
                // Nothing but zeros and the smallest subnormals, or an infinity or NaN, which the scale hands on.
                new Span<sbyte>(row + g, count).Fill(float.IsFinite(largest) ? (sbyte)0 : (sbyte)1);
                continue;
            }
            Vector512<float> factor = Vector512.Create(inverse);
            Vector512<short> words = Vector512.Narrow(Vector512.ConvertToInt32(Vector512.Round(low * factor)), Vector512.ConvertToInt32(Vector512.Round(high * factor)));
            Vector256<sbyte> bytes = Vector256.Narrow(words.GetLower(), words.GetUpper());
            Buffer.MemoryCopy(&bytes, row + g, count, count);
        }
    }
}
