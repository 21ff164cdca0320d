using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>
/// Eight rows of a weight on their way into the 32-bit lanes of 256-bit vectors: <see cref="Columns"/> transposes, so that a vector holds four columns of all rows. AVX2.
/// </summary>
internal readonly unsafe struct LaneRows
{
    public const int Count = 8;

    private readonly byte* low, high;
    private readonly long stride, three;

    /// <param name="first">The first row.</param>
    /// <param name="stride">Bytes from row to row.</param>
    public LaneRows(byte* first, long stride)
    {
        low = first;
        high = first + 4 * stride;
        (this.stride, three) = (stride, 3 * stride);
    }

    private LaneRows(byte* low, byte* high, long stride, long three)
    {
        this.low = low;
        this.high = high;
        (this.stride, this.three) = (stride, three);
    }

    /// <summary>The same rows, so many bytes on.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public LaneRows Skip(int bytes) => new(low + bytes, high + bytes, stride, three);

    /// <summary>Byte <paramref name="offset"/> of a row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte* Row(int row, int offset)
    {
        byte* at = (row < 4 ? low : high) + offset;
        return (row & 3) switch { 0 => at, 1 => at + stride, 2 => at + 2 * stride, _ => at + three };
    }

    /// <summary>16 bytes of each row: bytes 4k … 4k + 3 of all rows in vector k.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Columns(int offset, out Vector256<byte> c0, out Vector256<byte> c1, out Vector256<byte> c2, out Vector256<byte> c3)
    {
        Vector256<int> r0 = Two(0, offset), r1 = Two(1, offset), r2 = Two(2, offset), r3 = Two(3, offset);
        Vector256<long> a = Avx2.UnpackLow(r0, r1).AsInt64(), b = Avx2.UnpackHigh(r0, r1).AsInt64(), c = Avx2.UnpackLow(r2, r3).AsInt64(), d = Avx2.UnpackHigh(r2, r3).AsInt64();
        c0 = Avx2.UnpackLow(a, c).AsByte();
        c1 = Avx2.UnpackHigh(a, c).AsByte();
        c2 = Avx2.UnpackLow(b, d).AsByte();
        c3 = Avx2.UnpackHigh(b, d).AsByte();
    }

    /// <summary>Rows i and i + 4 in the two halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Vector256<int> Two(int i, int offset)
        => Avx2.InsertVector128(Vector128.Load((int*)Row(i, offset)).ToVector256Unsafe(), Vector128.Load((int*)Row(i + 4, offset)), 1);

    /// <summary>The four bytes at an offset of each row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector256<uint> Fours(int offset)
    {
        // Through general registers, which have nothing else to do.
        return Vector256.Create(Eight(0, offset), Eight(2, offset), Eight(4, offset), Eight(6, offset)).AsUInt32();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ulong Eight(int row, int offset) => *(uint*)Row(row, offset) | (ulong)*(uint*)Row(row + 1, offset) << 32;

    /// <summary>The half at an offset of each row, as float32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector256<float> Halves(int offset) => Halves(Vector256.WidenLower(Vector128.Create(FourHalves(0, offset), FourHalves(4, offset)).AsUInt16().ToVector256Unsafe()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ulong FourHalves(int row, int offset)
        => *(ushort*)Row(row, offset) | (uint)*(ushort*)Row(row + 1, offset) << 16 | (ulong)(*(ushort*)Row(row + 2, offset) | (uint)*(ushort*)Row(row + 3, offset) << 16) << 32;

    /// <summary>Halves in the lower 16 bits of the lanes, as float32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Halves(Vector256<uint> h)
    {
        // The exponent is moved by a multiplication, which normalises small numbers too; infinities and NaNs keep all bits of theirs.
        Vector256<uint> m = (h & Vector256.Create(0x7FFFu)) << 13;
        Vector256<uint> special = Vector256.GreaterThan(m.AsInt32(), Vector256.Create(0x0F80_0000 - 1)).AsUInt32() & Vector256.Create(0x7F80_0000u);
        return ((m.AsSingle() * Vector256.Create(5.192296858534828e33f)).AsUInt32() | special | (h & Vector256.Create(0x8000u)) << 16).AsSingle();
    }

    /// <summary>Stores half-bytes of 16 transposed bytes: the low ones as columns 0 … 15, the high ones at <paramref name="high"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Nibbles(int offset, byte* low, byte* high)
    {
        Columns(offset, out Vector256<byte> c0, out Vector256<byte> c1, out Vector256<byte> c2, out Vector256<byte> c3);
        Vector256<byte> mask = Vector256.Create((byte)15);
        (c0 & mask).Store(low);
        (c1 & mask).Store(low + 32);
        (c2 & mask).Store(low + 64);
        (c3 & mask).Store(low + 96);
        High(c0, mask).Store(high);
        High(c1, mask).Store(high + 32);
        High(c2, mask).Store(high + 64);
        High(c3, mask).Store(high + 96);
    }

    /// <summary>As <see cref="Nibbles"/>, through a table.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Levels(int offset, Vector128<sbyte> table, byte* low, byte* high)
    {
        Columns(offset, out Vector256<byte> c0, out Vector256<byte> c1, out Vector256<byte> c2, out Vector256<byte> c3);
        Vector256<byte> mask = Vector256.Create((byte)15), levels = Vector256.Create(table, table).AsByte();
        Avx2.Shuffle(levels, c0 & mask).Store(low);
        Avx2.Shuffle(levels, c1 & mask).Store(low + 32);
        Avx2.Shuffle(levels, c2 & mask).Store(low + 64);
        Avx2.Shuffle(levels, c3 & mask).Store(low + 96);
        Avx2.Shuffle(levels, High(c0, mask)).Store(high);
        Avx2.Shuffle(levels, High(c1, mask)).Store(high + 32);
        Avx2.Shuffle(levels, High(c2, mask)).Store(high + 64);
        Avx2.Shuffle(levels, High(c3, mask)).Store(high + 96);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<byte> High(Vector256<byte> v, Vector256<byte> mask) => (v.AsUInt16() >> 4).AsByte() & mask;

    /// <summary>Adds 16 to the bytes of 32 columns whose bit is set: 32 bits of each row at an offset, bit i for column i.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void FifthBits(int offset, byte* columns)
    {
        Vector256<uint> all = Fours(offset);
        // Four bits to bit 4 of four bytes each: times 2^4 + 2^11 + 2^18 + 2^25 moves them there, and no two meet.
        for (int k = 0; k < 8; k++)
        {
            Vector256<uint> four = all & Vector256.Create(15u);
            all >>= 4;
            Vector256<uint> spread = four << 4 | four << 11 | four << 18 | four << 25;
            (Vector256.Load((uint*)(columns + 32 * k)) | spread & Vector256.Create(0x10101010u)).Store((uint*)(columns + 32 * k));
        }
    }
}

/// <summary>A block format that is multiplied as stored, eight rows at a time in the lanes of a vector (<see cref="LaneKernel"/>).</summary>
internal unsafe interface ILaneFormat : IBlockFormat
{
    /// <summary>What <see cref="UnpackLanes"/> adds to a whole number, so that it is an unsigned byte: 0, 8, 16 or 32; <see cref="Signed"/>: nothing, and bytes are signed.</summary>
    static abstract int Offset { get; }

    public const int Signed = -1;

    /// <summary>Unpacks one block of eight rows.</summary>
    /// <param name="rows">The rows, where their blocks begin.</param>
    /// <param name="q">Four columns of all rows a vector. [Elements / 4, 8 rows × 4 columns]</param>
    /// <param name="scales">[Elements / GroupElements, 8 rows]</param>
    /// <param name="minima">[Elements / GroupElements, 8 rows]; untouched where there are none.</param>
    static abstract void UnpackLanes(LaneRows rows, byte* q, float* scales, float* minima);
}
