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

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> ToBrain(Vector512<uint> bits)
    {
        Vector512<uint> rounded = (bits + Vector512.Create(0x7FFFu) + (bits >>> 16 & Vector512.Create(1u))) >>> 16;
        Vector512<uint> isNan = Vector512.GreaterThan(bits & Vector512.Create(0x7FFF_FFFFu), Vector512.Create(0x7F80_0000u));
        return Vector512.ConditionalSelect(isNan, bits >>> 16 | Vector512.Create(0x40u), rounded);
    }

    private static void StoreHalves(float* source, ushort* row, int width)
    {
        for (int i = 0; i < width; i++) row[i] = BitConverter.HalfToUInt16Bits((Half)source[i]);
    }

    private static void StoreBytes(float* source, sbyte* row, int width)
    {
        float* scales = (float*)(row + (width + 3) / 4 * 4);
        for (int g = 0; g < width; g += 32)
        {
            int count = Math.Min(32, width - g);
            float largest = 0;
            for (int i = 0; i < count; i++) largest = MathF.Max(largest, MathF.Abs(source[g + i])); // NaN wins: it must not vanish
            scales[g / 32] = largest / 127;
            float inverse = largest > 0 && float.IsFinite(largest) ? 127 / largest : 0;
            if (!float.IsFinite(inverse)) inverse = 0; // a group of subnormals
            for (int i = 0; i < count; i++) row[g + i] = inverse == 0 ? (sbyte)1 : (sbyte)MathF.Round(source[g + i] * inverse);
            if (largest == 0 || inverse == 0 && float.IsFinite(largest)) new Span<sbyte>(row + g, count).Clear();
        }
    }
}
