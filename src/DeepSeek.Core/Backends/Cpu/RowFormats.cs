using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// A number format of rows, as a type argument: kernels are compiled once for each. Loads may reach 31 numbers behind the end of a row: what owns the rows leaves
/// <see cref="CpuCache.SlackBytes"/> behind the last one.
/// </summary>
internal unsafe interface IRowFormat
{
    /// <summary>Numbers [at, at + 16) of a row.</summary>
    /// <param name="row">The row's first byte.</param>
    /// <param name="width">Numbers of the row.</param>
    /// <param name="at">The first number.</param>
    static abstract Vector512<float> Load(byte* row, int width, int at);

    /// <summary>Numbers [at, at + 32) of a row.</summary>
    static abstract void LoadTwo(byte* row, int width, int at, out Vector512<float> first, out Vector512<float> second);

    /// <summary>Whether numbers are bytes with a scale for each 32.</summary>
    static virtual bool IsBytes => false;

    /// <summary>Whether a number is 16 bits and nothing else, so that <see cref="Expand"/> can be used.</summary>
    static abstract bool IsSixteenBit { get; }

    /// <summary>16 numbers from their 16 bits.</summary>
    static abstract Vector512<float> Expand(Vector512<uint> bits);
}

/// <summary>float32.</summary>
internal readonly unsafe struct F32Rows : IRowFormat
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* row, int width, int at) => Vector512.Load((float*)row + at);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void LoadTwo(byte* row, int width, int at, out Vector512<float> first, out Vector512<float> second)
    {
        first = Load(row, width, at);
        second = Load(row, width, at + 16);
    }

    public static bool IsSixteenBit => false;

    public static Vector512<float> Expand(Vector512<uint> bits) => throw new NotSupportedException();
}

/// <summary>bfloat16: the upper half of a float32.</summary>
internal readonly unsafe struct BF16Rows : IRowFormat
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* row, int width, int at) => Expand(F16Rows.Widen(Vector256.Load((ushort*)row + at)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void LoadTwo(byte* row, int width, int at, out Vector512<float> first, out Vector512<float> second)
    {
        first = Load(row, width, at);
        second = Load(row, width, at + 16);
    }

    public static bool IsSixteenBit => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Expand(Vector512<uint> bits) => (bits << 16).AsSingle();
}

/// <summary>IEEE half precision.</summary>
internal readonly unsafe struct F16Rows : IRowFormat
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* row, int width, int at) => Expand(Widen(Vector256.Load((ushort*)row + at)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void LoadTwo(byte* row, int width, int at, out Vector512<float> first, out Vector512<float> second)
    {
        first = Load(row, width, at);
        second = Load(row, width, at + 16);
    }

    public static bool IsSixteenBit => true;

    /// <summary>
    /// Exponent and mantissa are shifted into place and multiplied by 2^112, which makes subnormals right as well; infinities and NaN have their exponent filled up.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Expand(Vector512<uint> h)
    {
        Vector512<uint> magnitude = h & Vector512.Create(0x7FFFu);
        Vector512<uint> scaled = ((magnitude << 13).AsSingle() * Vector512.Create(0x7780_0000u).AsSingle()).AsUInt32(); // 2^112
        Vector512<uint> special = Vector512.GreaterThan(magnitude, Vector512.Create(0x7BFFu)) & Vector512.Create(0x7F80_0000u);
        return (scaled | special | (h & Vector512.Create(0x8000u)) << 16).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<uint> Widen(Vector256<ushort> v)
    {
        if (Avx512F.IsSupported) return Avx512F.ConvertToVector512UInt32(v);
        if (Avx2.IsSupported) return Vector512.Create(Avx2.ConvertToVector256Int32(v.GetLower()), Avx2.ConvertToVector256Int32(v.GetUpper())).AsUInt32();
        return Vector512.Create(Vector256.WidenLower(v), Vector256.WidenUpper(v));
    }
}

/// <summary>Signed bytes with a float32 scale for each 32, behind the row's bytes.</summary>
internal readonly unsafe struct Q8Rows : IRowFormat
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* row, int width, int at)
    {
        Vector128<sbyte> bytes = Vector128.Load((sbyte*)row + at);
        Vector512<float> numbers = Vector512.ConvertToSingle(Widen(bytes));
        float* scales = (float*)(row + (width + 3) / 4 * 4);
        int group = at / 32, left = 32 - at % 32;
        Vector512<float> scale = Vector512.Create(scales[group]);
        if (left < 16)
        {
            // The heads of this model are no multiple of 16 numbers: these numbers belong to two groups.
            Vector512<float> next = Vector512.Create(scales[Math.Min(group + 1, (width - 1) / 32)]);
            scale = Vector512.ConditionalSelect(Vector512.LessThan(Vector512<int>.Indices, Vector512.Create(left)).AsSingle(), scale, next);
        }
        return numbers * scale;
    }

    public static bool IsBytes => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void LoadTwo(byte* row, int width, int at, out Vector512<float> first, out Vector512<float> second)
    {
        if ((at & 31) != 0)
        {
            first = Load(row, width, at);
            second = Load(row, width, at + 16);
            return;
        }
        Vector512<float> scale = Vector512.Create(((float*)(row + (width + 3) / 4 * 4))[at / 32]);
        first = Vector512.ConvertToSingle(Widen(Vector128.Load((sbyte*)row + at))) * scale;
        second = Vector512.ConvertToSingle(Widen(Vector128.Load((sbyte*)row + at + 16))) * scale;
    }

    public static bool IsSixteenBit => false;

    public static Vector512<float> Expand(Vector512<uint> bits) => throw new NotSupportedException();

    /// <summary>16 signed bytes as 32 bits each.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<int> Widen(Vector128<sbyte> bytes)
    {
        if (Avx512F.IsSupported) return Avx512F.ConvertToVector512Int32(bytes);
        Vector256<short> words = Vector256.Create(Vector128.WidenLower(bytes), Vector128.WidenUpper(bytes));
        return Vector512.Create(Vector256.WidenLower(words), Vector256.WidenUpper(words));
    }
}
