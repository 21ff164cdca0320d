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
    public LaneRows(byte* first, long stride) : this(first, first + 4 * stride, stride, 3 * stride)
    {
    }

    private LaneRows(byte* low, byte* high, long stride, long three)
    {
        this.low = low;
        this.high = high;
        this.stride = stride;
        this.three = three;
    }

    /// <summary>The same rows, so many bytes on.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public LaneRows Skip(int bytes) => new(low + bytes, high + bytes, stride, three);

    /// <summary>Byte <paramref name="offset"/> of a row, in the form that one instruction can address.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* Row(int row, int offset)
    {
        byte* at = row < 4 ? low : high;
        return (row & 3) switch { 0 => at + offset, 1 => at + stride + offset, 2 => at + 2 * stride + offset, _ => at + three + offset };
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

    /// <summary>The same, stored too. [4, 32]</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Keep(int offset, byte* to, out Vector256<byte> c0, out Vector256<byte> c1, out Vector256<byte> c2, out Vector256<byte> c3)
    {
        Columns(offset, out c0, out c1, out c2, out c3);
        c0.Store(to);
        c1.Store(to + 32);
        c2.Store(to + 64);
        c3.Store(to + 96);
    }

    /// <summary>Rows i and i + 4 in the two halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Vector256<int> Two(int i, int offset)
        => Avx2.InsertVector128(Vector128.Load((int*)Row(i, offset)).ToVector256Unsafe(), Vector128.Load((int*)Row(i + 4, offset)), 1);

    /// <summary>The four bytes at an offset of each row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector256<uint> Fours(int offset) => Vector256.Create(Four(0, offset), Four(4, offset));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Vector128<uint> Four(int row, int offset)
    {
        Vector128<uint> v = Vector128.CreateScalarUnsafe(*(uint*)Row(row, offset));
        v = Sse41.Insert(v, *(uint*)Row(row + 1, offset), 1);
        v = Sse41.Insert(v, *(uint*)Row(row + 2, offset), 2);
        return Sse41.Insert(v, *(uint*)Row(row + 3, offset), 3);
    }

    /// <summary>The half at an offset of each row, as float32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector256<float> Halves(int offset)
    {
        Vector128<ushort> v = Vector128.CreateScalarUnsafe((uint)*(ushort*)Row(0, offset)).AsUInt16();
        v = Sse2.Insert(v, *(ushort*)Row(1, offset), 1);
        v = Sse2.Insert(v, *(ushort*)Row(2, offset), 2);
        v = Sse2.Insert(v, *(ushort*)Row(3, offset), 3);
        v = Sse2.Insert(v, *(ushort*)Row(4, offset), 4);
        v = Sse2.Insert(v, *(ushort*)Row(5, offset), 5);
        v = Sse2.Insert(v, *(ushort*)Row(6, offset), 6);
        v = Sse2.Insert(v, *(ushort*)Row(7, offset), 7);
        return Halves(Avx2.ConvertToVector256Int32(v).AsUInt32());
    }

    /// <summary>Halves in the lower 16 bits of the lanes, as float32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Halves(Vector256<uint> h) => FloatRows.Widen((h & Vector256.Create(0x7FFFu)) << 13, (h & Vector256.Create(0x8000u)) << 16, 112, 0x0F80_0000);

    /// <summary>The byte at an offset of each row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector256<int> Bytes(int offset) => Vector256.Create(
        *Row(0, offset), *Row(1, offset), *Row(2, offset), *Row(3, offset), *Row(4, offset), *Row(5, offset), *Row(6, offset), *Row(7, offset));

    /// <summary>Half-bytes of 16 transposed bytes: the low ones are columns 0 … 15, the high ones 16 … 31.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Nibbles(int offset, out Vector256<byte> w0, out Vector256<byte> w1, out Vector256<byte> w2, out Vector256<byte> w3, out Vector256<byte> w4, out Vector256<byte> w5, out Vector256<byte> w6, out Vector256<byte> w7)
    {
        Columns(offset, out w0, out w1, out w2, out w3);
        (w4, w5, w6, w7) = (High(w0), High(w1), High(w2), High(w3));
        (w0, w1, w2, w3) = (Low(w0), Low(w1), Low(w2), Low(w3));
    }

    /// <summary>What half-bytes stand for.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Levels(int offset, Vector128<sbyte> table, out Vector256<byte> w0, out Vector256<byte> w1, out Vector256<byte> w2, out Vector256<byte> w3, out Vector256<byte> w4, out Vector256<byte> w5, out Vector256<byte> w6, out Vector256<byte> w7)
    {
        Vector256<byte> levels = Vector256.Create(table, table).AsByte();
        Nibbles(offset, out w0, out w1, out w2, out w3, out w4, out w5, out w6, out w7);
        (w0, w1, w2, w3) = (Avx2.Shuffle(levels, w0), Avx2.Shuffle(levels, w1), Avx2.Shuffle(levels, w2), Avx2.Shuffle(levels, w3));
        (w4, w5, w6, w7) = (Avx2.Shuffle(levels, w4), Avx2.Shuffle(levels, w5), Avx2.Shuffle(levels, w6), Avx2.Shuffle(levels, w7));
    }

    /// <summary>Half-bytes and the fifth bits that belong to them: 32 bits of each row at an offset, bit i for column i.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Fives(int offset, int bits, out Vector256<byte> w0, out Vector256<byte> w1, out Vector256<byte> w2, out Vector256<byte> w3, out Vector256<byte> w4, out Vector256<byte> w5, out Vector256<byte> w6, out Vector256<byte> w7)
    {
        Nibbles(offset, out w0, out w1, out w2, out w3, out w4, out w5, out w6, out w7);
        Vector256<byte> fifth = Fours(bits).AsByte();
        Vector256<byte> first = Vector256.Create(0x0804_0201u).AsByte(), second = Vector256.Create(0x8040_2010u).AsByte();
        Vector256<byte> two = Spread(fifth, 0);
        (w0, w1) = (w0 | Bit(two, first), w1 | Bit(two, second));
        two = Spread(fifth, 1);
        (w2, w3) = (w2 | Bit(two, first), w3 | Bit(two, second));
        two = Spread(fifth, 2);
        (w4, w5) = (w4 | Bit(two, first), w5 | Bit(two, second));
        two = Spread(fifth, 3);
        (w6, w7) = (w6 | Bit(two, first), w7 | Bit(two, second));
    }

    /// <summary>A byte of each lane in all four of it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<byte> Spread(Vector256<byte> v, int index)
        => Avx2.Shuffle(v, (Vector256.Create(0x0000_0000, 0x0404_0404, 0x0808_0808, 0x0C0C_0C0C, 0x0000_0000, 0x0404_0404, 0x0808_0808, 0x0C0C_0C0C) + Vector256.Create(0x0101_0101 * index)).AsByte());

    /// <summary>16 where the bit is set.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<byte> Bit(Vector256<byte> v, Vector256<byte> bit) => Vector256.Equals(v & bit, bit) & Vector256.Create((byte)16);

    /// <summary>The low half of each byte.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Low(Vector256<byte> v) => v & Vector256.Create((byte)15);

    /// <summary>The high half of each byte.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> High(Vector256<byte> v) => (v.AsUInt16() >> 4).AsByte() & Vector256.Create((byte)15);
}

/// <summary>A block format that is multiplied as stored, eight rows at a time in the lanes of a vector (<see cref="LaneKernel"/>).</summary>
internal unsafe interface ILaneFormat : IBlockFormat
{
    /// <summary>What is added to a whole number, so that it is an unsigned byte: 0, 8, 16 or 32; <see cref="Signed"/>: nothing, and bytes are signed.</summary>
    static abstract int Offset { get; }

    public const int Signed = -1;

    /// <summary>Groups of 32 columns that lie in the same bytes: 1, 2 or 4.</summary>
    static virtual int Planes => 1;

    /// <summary>Scales and minima of a block of eight rows. Where nothing else is said, a half at its beginning is the scale.</summary>
    /// <param name="rows">The rows, where their blocks begin.</param>
    /// <param name="scales">[Elements / GroupElements, 8 rows]</param>
    /// <param name="minima">The same, of whole numbers with the offset taken away; untouched where there are none.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static virtual void Scales(LaneRows rows, float* scales, float* minima) => rows.Halves(0).Store(scales);

    /// <summary>Reads a block, where its parts have four planes: they find it in what is kept. Else nothing is asked for beforehand.</summary>
    static virtual void Prepare(LaneRows rows, byte* kept)
    {
    }

    /// <summary>
    /// 32 columns of eight rows: w<i>k</i> holds columns 4k … 4k + 3. Part: which bytes, of Elements / 32 / Planes; plane: which of the groups in them, asked for in order. Kept:
    /// memory for what the planes and parts of a block share, 1,536 bytes.
    /// </summary>
    static abstract void Unpack(LaneRows rows, int part, int plane, byte* kept, out Vector256<byte> w0, out Vector256<byte> w1, out Vector256<byte> w2, out Vector256<byte> w3, out Vector256<byte> w4, out Vector256<byte> w5, out Vector256<byte> w6, out Vector256<byte> w7);
}
