using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>
/// 256 elements: 48 bytes of five ternary digits (first 32, then 16 elements a digit), 4 bytes of four, half d; element = d·(digit − 1). A byte is a fraction of 256 to base 3: the
/// leading digit is what times 3 carries out of it, and what stays is the next fraction.
/// </summary>
internal readonly unsafe struct TQ1_0 : IBlockFormat
{
    public static int Elements => 256;

    public static int Bytes => 54;

    public static int GroupElements => 32;

    public static bool HasMinima => false;

    public static (int Least, int Most) Range => (-1, 1);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        new Span<float>(scales, 8).Fill(BlockFormat.Half(block + 52));
        Vector256<byte> a = Vector256.Load(block);
        Vector128<byte> b = Vector128.Load(block + 32);
        for (int n = 0; n < 5; n++)
        {
            // 3·86 is the first multiple beyond 256, 3·171 the first beyond 512.
            (Vector256.LessThan(a, Vector256.Create((byte)86)).AsSByte() - Vector256.GreaterThan(a, Vector256.Create((byte)170)).AsSByte()).Store(q + 32 * n);
            Digits(b).Store(q + 160 + 16 * n);
            a += a + a;
            b += b + b;
        }
        b = Vector128.CreateScalar(Unsafe.ReadUnaligned<uint>(block + 48)).AsByte();
        for (int n = 0; n < 4; n++)
        {
            Unsafe.WriteUnaligned(q + 240 + 4 * n, Digits(b).AsUInt32().ToScalar());
            b += b + b;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<sbyte> Digits(Vector128<byte> v)
        => Vector128.LessThan(v, Vector128.Create((byte)86)).AsSByte() - Vector128.GreaterThan(v, Vector128.Create((byte)170)).AsSByte();
}
