using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>The points of <see cref="Grids"/> where kernels find them without checks, and the signs that go with them.</summary>
internal static unsafe class Lattice
{
    /// <summary>Points of 8 bytes.</summary>
    public static readonly ulong* Iq2Xxs = Points(256, Grids.Iq2Xxs), Iq2Xs = Points(512, Grids.Iq2Xs), Iq2S = Points(1024, Grids.Iq2S);

    /// <summary>Eight times IQ1_S's points: with its offset of an eighth up or down they are whole numbers.</summary>
    public static readonly ulong* Iq1STimes8 = Points(2048, i => (Grids.Iq1S(i) & 0x0101_0101_0101_0101) << 3 | (Grids.Iq1S(i) >> 1 & 0x0101_0101_0101_0101) * 0xF0);

    /// <summary>Points of 4 bytes.</summary>
    public static readonly uint* Iq3Xxs = Points(256, i => (uint)Grids.Iq3Xxs(i)), Iq3S = Points(512, i => (uint)Grids.Iq3S(i));

    /// <summary>Makes the tables. Kernels that are compiled after it access them without asking first whether they are there.</summary>
    public static void Prepare() => RuntimeHelpers.RunClassConstructor(typeof(Lattice).TypeHandle);

    /// <summary>Four points of 8, those negated whose bit is set.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(ulong a, ulong b, ulong c, ulong d, uint signs, sbyte* q)
    {
        Vector256<sbyte> minus = Nibbles.Bits(signs).AsSByte();
        ((Vector256.Create(a, b, c, d).AsSByte() ^ minus) - minus).Store(q);
    }

    /// <summary>16 scales of four bits, low halves first, plus ½, times a factor.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales(byte* halves, float factor, float* scales)
    {
        ulong bytes = Unsafe.ReadUnaligned<ulong>(halves);
        Vector128<byte> low = Vector128.CreateScalar(bytes & 0x0F0F_0F0F_0F0F_0F0F).AsByte(), high = Vector128.CreateScalar(bytes >> 4 & 0x0F0F_0F0F_0F0F_0F0F).AsByte();
        // Neighbours side by side, twice and plus one: whole numbers.
        Vector128<ushort> pairs = Vector128.WidenLower(low) | Vector128.WidenLower(high) << 8;
        Nibbles.Scale(pairs.AsSByte() + pairs.AsSByte() + Vector128<sbyte>.One, factor * 0.5f, scales);
    }

    /// <summary>Two points of 4 as one of 8.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Join(uint low, uint high) => low | (ulong)high << 32;

    /// <summary>Eight signs a byte from seven bits a byte: the eighth makes the number of minus signs even.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint EvenSigns(uint sevens)
    {
        uint parity = sevens ^ sevens >> 4;
        parity ^= parity >> 2;
        parity ^= parity >> 1;
        return sevens | (parity & 0x0101_0101) << 7;
    }

    /// <summary>28 bits as seven a byte.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Spread(uint bits) => bits & 0x7F | (bits & 0x3F80) << 1 | (bits & 0x1F_C000) << 2 | (bits & 0xFE0_0000) << 3;

    private static T* Points<T>(int count, Func<int, T> point) where T : unmanaged
    {
        // Never freed, as the lattices themselves are not.
        T* points = (T*)NativeMemory.AlignedAlloc((nuint)(count * sizeof(T)), 64);
        for (int i = 0; i < count; i++) points[i] = point(i);
        return points;
    }
}
