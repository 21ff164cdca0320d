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
    public static Vector256<byte> FifthBits(uint bits)
    {
        Vector256<byte> spread = Vector256.Shuffle(Vector256.Create(bits).AsByte(), Vector256.Create(
            (byte)0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 18, 18, 18, 18, 18, 18, 18, 18, 19, 19, 19, 19, 19, 19, 19, 19));
        Vector256<byte> bit = Vector256.Create(0x8040_2010_0804_0201UL).AsByte();
        return Vector256.Equals(spread & bit, bit) & Vector256.Create((byte)16);
    }
}
