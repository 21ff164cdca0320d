using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>64 numbers on their way to float32, four parts of sixteen: where they are, and what looking them up has made of them (two in a vector, in the halves of 32 bits).</summary>
internal readonly unsafe struct FloatStep(byte* at, Vector512<uint> first, Vector512<uint> second)
{
    private readonly byte* at = at;
    private readonly Vector512<uint> first = first, second = second;

    /// <summary>A part.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<float> Part<TLoad>(int part) where TLoad : struct, IFloatLoader
    {
        if (!TLoad.Looks) return TLoad.Load(at + 16 * part * TLoad.Bytes);
        Vector512<uint> two = part < 2 ? first : second;
        return ((part & 1) == 0 ? two << 16 : two & Vector512.Create(0xFFFF_0000u)).AsSingle();
    }
}

/// <summary>Loads numbers of a plain format as float32.</summary>
internal unsafe interface IFloatLoader
{
    /// <summary>Bytes of a number.</summary>
    static abstract int Bytes { get; }

    /// <summary>16 numbers.</summary>
    static abstract Vector512<float> Load(byte* at);

    /// <summary>Whether these are halves, which assembled kernels convert.</summary>
    static virtual bool IsHalf => false;

    /// <summary>Whether 64 numbers at once are looked up instead (AVX-512 VBMI).</summary>
    static virtual bool Looks => false;
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

    public static bool IsHalf => true;

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

/// <summary>The upper byte of a half.</summary>
internal readonly unsafe struct LoadE5M2 : IFloatLoader
{
    public static int Bytes => 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* at) => LoadF16.Convert(FloatRows.ZeroExtend(Vector128.Load(at)) << 8);
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
}

/// <summary>e4m3 by tables of bytes, 64 at a time.</summary>
internal readonly unsafe struct LookE4M3 : IFloatLoader
{
    public static int Bytes => 1;

    public static bool Looks => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* at) => LoadE4M3.Load(at);
}

/// <summary>
/// What turns e4m3 numbers into bfloat16 numbers, which they all are: the lower and the upper bytes of 128 magnitudes (NaN included), and an order of 64 bytes. The order spreads them so
/// that interleaving low and high bytes within 128-bit lanes leaves 16 neighbours in the lower halves of the first result's 32 bits, 16 in their upper halves, and so on.
/// </summary>
internal readonly unsafe struct E4M3Tables
{
    /// <summary>The tables in memory. In lane l, places 2j, 2j + 1, 8 + 2j, 9 + 2j take numbers 4l + j of the first, second, third and fourth sixteen.</summary>
    public static readonly byte* Address = Make();

    private readonly Vector512<byte> spread, low0, low1, high0, high1;

    /// <param name="tables"><see cref="Address"/>; null: none, nothing can be looked up.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public E4M3Tables(byte* tables)
    {
        if (tables == null) return;
        spread = Vector512.Load(tables);
        low0 = Vector512.Load(tables + 64);
        low1 = Vector512.Load(tables + 128);
        high0 = Vector512.Load(tables + 192);
        high1 = Vector512.Load(tables + 256);
    }

    /// <summary>64 numbers in fours of 16.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public FloatStep Spread(byte* at) => Look(at, Avx512Vbmi.PermuteVar64x8(Vector512.Load(at), spread));

    /// <summary>64 numbers: of the first 32 those in even places and those in odd ones, then of the others.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public FloatStep Pairs(byte* at) => Look(at, Avx512F.PermuteVar8x64(Vector512.Load((long*)at), Vector512.Create(0L, 4, 1, 5, 2, 6, 3, 7)).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private FloatStep Look(byte* at, Vector512<byte> numbers)
    {
        // Indices are the lower seven bits; the sign is put on top.
        Vector512<byte> high = Avx512Vbmi.PermuteVar64x8x2(high0, numbers, high1) | (numbers & Vector512.Create((byte)0x80));
        Vector512<byte> low = Avx512Vbmi.PermuteVar64x8x2(low0, numbers, low1);
        return new(at, Avx512BW.UnpackLow(low, high).AsUInt32(), Avx512BW.UnpackHigh(low, high).AsUInt32());
    }

    private static byte* Make()
    {
        byte* tables = (byte*)NativeMemory.AlignedAlloc(5 * 64, 64); // never freed
        for (int i = 0; i < 64; i++) tables[i] = (byte)(16 * ((i & 1) + (i % 16 / 8) * 2) + 4 * (i / 16) + i % 8 / 2);
        for (int i = 0; i < 128; i++)
        {
            ushort brain = SmallFloats.ToBF16(SmallFloats.FromE4M3((byte)i));
            (tables[64 + i], tables[192 + i]) = ((byte)brain, (byte)(brain >> 8));
        }
        return tables;
    }
}
