using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu;

/// <summary>Conversion between float32 and the formats of cache rows; rounding to nearest, ties to even.</summary>
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

    /// <summary>Loads numbers [first, first + count) of a row of the given width.</summary>
    public static void Load(CacheFormat format, byte* row, int width, int first, int count, float* destination)
    {
        switch (format)
        {
            case CacheFormat.F32: Buffer.MemoryCopy((float*)row + first, destination, 4L * count, 4L * count); break;
            case CacheFormat.F16: LoadHalves((ushort*)row + first, destination, count); break;
            case CacheFormat.BF16: LoadBrains((ushort*)row + first, destination, count); break;
            case CacheFormat.Q8: LoadBytes((sbyte*)row, (float*)(row + (width + 3) / 4 * 4), first, count, destination); break;
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

    private static void LoadBrains(ushort* row, float* destination, int count)
    {
        int i = 0;
        for (; i + 16 <= count; i += 16) LoadBrain16(row + i).Store(destination + i);
        for (; i < count; i++) ((uint*)destination)[i] = (uint)row[i] << 16;
    }

    /// <summary>16 bfloat16 numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadBrain16(ushort* p) => (Widen(Vector256.Load(p)) << 16).AsSingle();

    /// <summary>
    /// 16 IEEE halves: exponent and mantissa are shifted into place and multiplied by 2^112, which also makes subnormals right; infinities and NaN have their
    /// exponent filled up.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadHalf16(ushort* p)
    {
        Vector512<uint> h = Widen(Vector256.Load(p));
        Vector512<uint> magnitude = h & Vector512.Create(0x7FFFu);
        Vector512<uint> scaled = ((magnitude << 13).AsSingle() * Vector512.Create(0x7780_0000u).AsSingle()).AsUInt32(); // 2^112
        Vector512<uint> special = Vector512.GreaterThan(magnitude, Vector512.Create(0x7BFFu)) & Vector512.Create(0x7F80_0000u);
        return (scaled | special | (h & Vector512.Create(0x8000u)) << 16).AsSingle();
    }

    /// <summary>16 signed bytes, not scaled.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadByte16(sbyte* p)
    {
        (Vector128<short> low, Vector128<short> high) = Vector128.Widen(Vector128.Load(p));
        Vector256<short> words = Vector256.Create(low, high);
        (Vector256<int> a, Vector256<int> b) = Vector256.Widen(words);
        return Vector512.ConvertToSingle(Vector512.Create(a, b));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Widen(Vector256<ushort> v)
    {
        (Vector256<uint> low, Vector256<uint> high) = Vector256.Widen(v);
        return Vector512.Create(low, high);
    }

    private static void StoreHalves(float* source, ushort* row, int width)
    {
        for (int i = 0; i < width; i++) row[i] = BitConverter.HalfToUInt16Bits((Half)source[i]);
    }

    private static void LoadHalves(ushort* row, float* destination, int count)
    {
        int i = 0;
        for (; i + 16 <= count; i += 16) LoadHalf16(row + i).Store(destination + i);
        for (; i < count; i++) destination[i] = (float)BitConverter.UInt16BitsToHalf(row[i]);
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

    private static void LoadBytes(sbyte* row, float* scales, int first, int count, float* destination)
    {
        for (int i = 0; i < count;)
        {
            int at = first + i, run = Math.Min(count - i, 32 - at % 32), j = 0;
            Vector512<float> scale = Vector512.Create(scales[at / 32]);
            for (; j + 16 <= run; j += 16) (LoadByte16(row + at + j) * scale).Store(destination + i + j);
            for (; j < run; j++) destination[i + j] = row[at + j] * scales[at / 32];
            i += run;
        }
    }
}
