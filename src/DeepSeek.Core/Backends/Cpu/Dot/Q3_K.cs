using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>
/// 256 elements: 32 bytes of third bits, 64 bytes of two bits, 16 scales of 6 bits (lower four in 8 bytes, upper two in 4), half d; element = d·(scale − 32)·(q − 4), a scale for
/// each 16.
/// </summary>
internal readonly unsafe struct Q3_K : IBlockFormat
{
    public static int Elements => 256;

    public static int Bytes => 110;

    public static int GroupElements => 16;

    public static bool HasMinima => false;

    public static (int Least, int Most) Range => (-4, 3);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        ulong low = Unsafe.ReadUnaligned<ulong>(block + 96);
        uint high = Unsafe.ReadUnaligned<uint>(block + 104);
        Vector128<byte> four = Vector128.Create(low, low >> 4).AsByte() & Vector128.Create((byte)15);
        Vector128<byte> two = Vector128.Create(high << 4, high << 2, high, high >> 2).AsByte() & Vector128.Create((byte)0x30);
        Nibbles.Scale((four | two).AsSByte() - Vector128.Create((sbyte)32), BlockFormat.Half(block + 108), scales);

        Vector256<ushort> third = Vector256.Load(block).AsUInt16(), a = Vector256.Load(block + 32).AsUInt16(), b = Vector256.Load(block + 64).AsUInt16();
        Part(a, third << 2, q);
        Part(a >> 2, third << 1, q + 32);
        Part(a >> 4, third, q + 64);
        Part(a >> 6, third >> 1, q + 96);
        Part(b, third >> 2, q + 128);
        Part(b >> 2, third >> 3, q + 160);
        Part(b >> 4, third >> 4, q + 192);
        Part(b >> 6, third >> 5, q + 224);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Part(Vector256<ushort> two, Vector256<ushort> third, sbyte* q)
        => ((two.AsByte() & Vector256.Create((byte)3) | third.AsByte() & Vector256.Create((byte)4)).AsSByte() - Vector256.Create((sbyte)4)).Store(q);
}
