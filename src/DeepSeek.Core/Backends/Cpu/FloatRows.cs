using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>Loads numbers of a plain format as float32.</summary>
internal unsafe interface IFloatLoader
{
    /// <summary>Bytes of a number.</summary>
    static abstract int Bytes { get; }

    /// <summary>16 numbers.</summary>
    static abstract Vector512<float> Load(byte* at);

    /// <summary>Whether <see cref="LoadFour"/> is faster than four times <see cref="Load"/>.</summary>
    static virtual bool LoadsFour => false;

    /// <summary>64 numbers, in fours of 16.</summary>
    static virtual void LoadFour(byte* at, out Vector512<float> a, out Vector512<float> b, out Vector512<float> c, out Vector512<float> d) => throw new NotSupportedException();
}

internal readonly unsafe struct LoadF32 : IFloatLoader
{
    public static int Bytes => 4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* at) => Vector512.Load((float*)at);
}

internal readonly unsafe struct LoadBF16 : IFloatLoader
{
    public static int Bytes => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* at) => (FloatRows.ZeroExtend(Vector256.Load((ushort*)at)) << 16).AsSingle();
}

internal readonly unsafe struct LoadF16 : IFloatLoader
{
    public static int Bytes => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* at) => Convert(Vector256.Load((ushort*)at));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Convert(Vector256<ushort> halves) => Convert(FloatRows.ZeroExtend(halves));

    /// <summary>Halves in the lower 16 bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Convert(Vector512<uint> h)
    {
        Vector512<uint> m = (h & Vector512.Create(0x7FFFu)) << 13;
        return FloatRows.Widen(m, (h & Vector512.Create(0x8000u)) << 16, 112, 0x0F80_0000);
    }
}

internal readonly unsafe struct LoadE4M3 : IFloatLoader
{
    public static int Bytes => 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* at)
    {
        Vector512<uint> h = FloatRows.ZeroExtend(Vector128.Load(at)), m = (h & Vector512.Create(0x7Fu)) << 20;
        return FloatRows.Widen(m, (h & Vector512.Create(0x80u)) << 24, 120, 0x07F0_0000);
    }

    public static bool LoadsFour => Avx512Vbmi.IsSupported;

    /// <summary>
    /// An e4m3 number is a bfloat16 number, whose two bytes are looked up in tables of 128 (subnormals and NaN included); the sign is put on top. The bytes are spread beforehand so
    /// that the interleaving of the halves leaves 16 neighbours in each vector.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void LoadFour(byte* at, out Vector512<float> a, out Vector512<float> b, out Vector512<float> c, out Vector512<float> d)
    {
        Vector512<byte> numbers = Avx512Vbmi.PermuteVar64x8(Vector512.Load(at), E4M3Tables.Spread), magnitude = numbers & Vector512.Create((byte)0x7F);
        Vector512<byte> high = Avx512Vbmi.PermuteVar64x8x2(E4M3Tables.High0, magnitude, E4M3Tables.High1) | (numbers & Vector512.Create((byte)0x80));
        Vector512<byte> low = Avx512Vbmi.PermuteVar64x8x2(E4M3Tables.Low0, magnitude, E4M3Tables.Low1);
        Vector512<uint> first = Avx512BW.UnpackLow(low, high).AsUInt32(), second = Avx512BW.UnpackHigh(low, high).AsUInt32(), upper = Vector512.Create(0xFFFF_0000u);
        (a, b, c, d) = ((first << 16).AsSingle(), (first & upper).AsSingle(), (second << 16).AsSingle(), (second & upper).AsSingle());
    }
}

/// <summary>The bytes of bfloat16 numbers by the magnitude of an e4m3 number, and the order in which <see cref="LoadE4M3.LoadFour"/> wants its bytes.</summary>
internal static class E4M3Tables
{
    private static readonly ushort[] Brains = [.. Enumerable.Range(0, 128).Select(i => SmallFloats.ToBF16(SmallFloats.FromE4M3((byte)i)))];

    public static readonly Vector512<byte> Low0 = Table(0, 0), Low1 = Table(64, 0), High0 = Table(0, 8), High1 = Table(64, 8);

    /// <summary>Within each 128-bit lane l: places 2j, 2j + 1, 8 + 2j, 9 + 2j take numbers 4l + j of the first, second, third and fourth sixteen.</summary>
    public static readonly Vector512<byte> Spread = Vector512.Create<byte>([.. Enumerable.Range(0, 64).Select(i => (byte)(16 * ((i & 1) + (i % 16 / 8) * 2) + 4 * (i / 16) + i % 8 / 2))]);

    private static Vector512<byte> Table(int first, int shift) => Vector512.Create<byte>([.. Enumerable.Range(first, 64).Select(i => (byte)(Brains[i] >> shift))]);
}

/// <summary>Rows of weights as float32.</summary>
internal static unsafe class FloatRows
{
    /// <summary>16 unsigned numbers as 32 bits each. (The portable form takes three instructions more.)</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> ZeroExtend(Vector256<ushort> v)
    {
        if (Avx512F.IsSupported) return Avx512F.ConvertToVector512UInt32(v);
        (Vector256<uint> low, Vector256<uint> high) = Vector256.Widen(v);
        return Vector512.Create(low, high);
    }

    /// <summary>16 unsigned numbers as 32 bits each.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> ZeroExtend(Vector128<byte> v)
    {
        if (Avx512F.IsSupported) return Avx512F.ConvertToVector512UInt32(v);
        (Vector128<ushort> low, Vector128<ushort> high) = Vector128.Widen(v);
        return ZeroExtend(Vector256.Create(low, high));
    }

    /// <summary>
    /// Magnitudes of a small format, moved to float32's fields, with the exponent's bias corrected. Subnormal numbers go through 2^k·(1 + m) − 2^k: multiplying
    /// float32 subnormals traps into microcode on some processors. Above <paramref name="special"/> (its all-ones exponent, or e4m3's one NaN) the result is infinite or NaN.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Widen(Vector512<uint> magnitude, Vector512<uint> sign, uint bias, uint special)
    {
        Vector512<uint> normal = magnitude + Vector512.Create(bias << 23), one = Vector512.Create(bias + 1 << 23);
        Vector512<uint> subnormal = ((magnitude + one).AsSingle() - one.AsSingle()).AsUInt32();
        Vector512<uint> value = Vector512.ConditionalSelect(Vector512.LessThan(magnitude, Vector512.Create(1u << 23)), subnormal, normal);
        value |= Vector512.GreaterThanOrEqual(magnitude, Vector512.Create(special)) & Vector512.Create(special == 0x0F80_0000 ? 0x7F80_0000u : 0x7FC0_0000u);
        return (value | sign).AsSingle();
    }

    /// <summary>Row <paramref name="row"/> as float32, scales applied. [Columns]</summary>
    public static void Read(Weight w, int row, float* to)
    {
        switch (w.Type)
        {
            case DType.F32: Read<LoadF32>(w, row, to); break;
            case DType.F16: Read<LoadF16>(w, row, to); break;
            case DType.BF16: Read<LoadBF16>(w, row, to); break;
            case DType.F8E4M3: Read<LoadE4M3>(w, row, to); break;
            default: Dequantise.Row(w, row, new Span<float>(to, w.Columns)); return;
        }
        if (w.Scales is not { } s) return;
        for (int c = 0; c < w.Columns; c += s.BlockColumns)
        {
            float scale = Scale(s, row, c);
            int i = c, end = Math.Min(c + s.BlockColumns, w.Columns);
            for (; i + 16 <= end; i += 16) (Vector512.Load(to + i) * scale).Store(to + i);
            for (; i < end; i++) to[i] *= scale;
        }
    }

    /// <summary>The scale of an element.</summary>
    public static float Scale(BlockScales s, int row, int column)
        => Dequantise.Scale(s.Type, (byte*)s.Data + (long)((row + s.RowOffset) / s.BlockRows) * s.Stride * s.Type.Info().BlockBytes, column / s.BlockColumns);

    private static void Read<TLoad>(Weight w, int row, float* to) where TLoad : struct, IFloatLoader
    {
        byte* from = (byte*)w.Row(row);
        int i = 0;
        for (; TLoad.LoadsFour && i + 64 <= w.Columns; i += 64)
        {
            TLoad.LoadFour(from + i * TLoad.Bytes, out Vector512<float> a, out Vector512<float> b, out Vector512<float> c, out Vector512<float> d);
            a.Store(to + i);
            b.Store(to + i + 16);
            c.Store(to + i + 32);
            d.Store(to + i + 48);
        }
        for (; i + 16 <= w.Columns; i += 16) TLoad.Load(from + i * TLoad.Bytes).Store(to + i);
        if (i == w.Columns) return;
        Vector512<float> rest = LoadRest<TLoad>(from + i * TLoad.Bytes, w.Columns - i);
        new ReadOnlySpan<float>(&rest, w.Columns - i).CopyTo(new Span<float>(to + i, w.Columns - i));
    }

    /// <summary>Fewer than 16 numbers, zeros behind them.</summary>
    public static Vector512<float> LoadRest<TLoad>(byte* at, int count) where TLoad : struct, IFloatLoader
    {
        byte* padded = stackalloc byte[64];
        new Span<byte>(padded, 64).Clear();
        new ReadOnlySpan<byte>(at, count * TLoad.Bytes).CopyTo(new Span<byte>(padded, 64));
        return TLoad.Load(padded);
    }
}
