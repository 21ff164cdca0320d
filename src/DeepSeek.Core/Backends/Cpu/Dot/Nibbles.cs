using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>Half-bytes to bytes.</summary>
internal static unsafe class Nibbles
{
    /// <summary>The low halves of 16 bytes, then the high halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Halves(byte* bytes)
    {
        Vector128<byte> v = Vector128.Load(bytes), mask = Vector128.Create((byte)15);
        return Vector256.Create(v & mask, (v.AsUInt16() >> 4).AsByte() & mask);
    }

    /// <summary>Bit i of the 32 moved to byte i, as 16 or 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> FifthBits(uint bits) => Bits(bits) & Vector256.Create((byte)16);

    /// <summary>Byte i has all bits set where bit i of the 32 is.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Bits(uint bits)
    {
        Vector256<byte> spread = Vector256.Shuffle(Vector256.Create(bits).AsByte(), Vector256.Create(
            (byte)0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 18, 18, 18, 18, 18, 18, 18, 18, 19, 19, 19, 19, 19, 19, 19, 19));
        Vector256<byte> bit = Vector256.Create(0x8040_2010_0804_0201UL).AsByte();
        return Vector256.Equals(spread & bit, bit);
    }

    /// <summary>32 bytes of two bits, the low ones first, less <paramref name="minus"/>: 128 elements.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Twos(byte* bytes, sbyte minus, sbyte* q)
    {
        Vector256<ushort> v = Vector256.Load(bytes).AsUInt16();
        Vector256<byte> mask = Vector256.Create((byte)3);
        Vector256<sbyte> offset = Vector256.Create(minus);
        ((v.AsByte() & mask).AsSByte() - offset).Store(q);
        (((v >> 2).AsByte() & mask).AsSByte() - offset).Store(q + 32);
        (((v >> 4).AsByte() & mask).AsSByte() - offset).Store(q + 64);
        (((v >> 6).AsByte() & mask).AsSByte() - offset).Store(q + 96);
    }

    /// <summary>16 scales: whole numbers times the block's factor.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scale(Vector128<sbyte> numbers, float factor, float* scales)
        => (Vector512.ConvertToSingle(Q8Rows.Widen(numbers)) * factor).Store(scales);
}
