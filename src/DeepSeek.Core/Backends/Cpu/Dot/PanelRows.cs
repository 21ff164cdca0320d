using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>
/// 16 rows of a weight, of which panels are packed: <see cref="Columns"/> transposes, so that a vector holds four columns of all rows, a row in each 32-bit lane.
/// AVX-512.
/// </summary>
internal readonly unsafe ref struct PanelRows
{
    public const int Count = 16;

    private readonly byte** rows;

    /// <param name="rows">Addresses of the 16 rows.</param>
    public PanelRows(byte** rows) => this.rows = rows;

    /// <summary>Byte <paramref name="offset"/> of a row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte* Row(int row, long offset) => rows[row] + offset;

    /// <summary>16 bytes of each row: bytes 4k … 4k + 3 of all rows in vector k.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Columns(long offset, out Vector512<byte> c0, out Vector512<byte> c1, out Vector512<byte> c2, out Vector512<byte> c3)
    {
        Vector512<int> r0 = Quarter(0, offset), r1 = Quarter(1, offset), r2 = Quarter(2, offset), r3 = Quarter(3, offset);
        Vector512<long> a = Avx512F.UnpackLow(r0, r1).AsInt64(), b = Avx512F.UnpackHigh(r0, r1).AsInt64();
        Vector512<long> c = Avx512F.UnpackLow(r2, r3).AsInt64(), d = Avx512F.UnpackHigh(r2, r3).AsInt64();
        c0 = Avx512F.UnpackLow(a, c).AsByte();
        c1 = Avx512F.UnpackHigh(a, c).AsByte();
        c2 = Avx512F.UnpackLow(b, d).AsByte();
        c3 = Avx512F.UnpackHigh(b, d).AsByte();
    }

    /// <summary>Rows i, i + 4, i + 8, i + 12 in the four lanes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Vector512<int> Quarter(int i, long offset)
    {
        Vector512<int> v = Vector128.Load((int*)Row(i, offset)).ToVector256Unsafe().ToVector512Unsafe();
        v = Avx512F.InsertVector128(v, Vector128.Load((int*)Row(i + 4, offset)), 1);
        v = Avx512F.InsertVector128(v, Vector128.Load((int*)Row(i + 8, offset)), 2);
        return Avx512F.InsertVector128(v, Vector128.Load((int*)Row(i + 12, offset)), 3);
    }

    /// <summary>The half at an offset of each row, as float32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<float> Halves(long offset)
    {
        // Through general registers: vectors of halves that were just stored one by one would wait for the stores.
        Vector256<ulong> halves = Vector256.Create(Four(0, offset), Four(4, offset), Four(8, offset), Four(12, offset));
        return LoadF16.Convert(halves.AsUInt16());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ulong Four(int row, long offset)
        => *(ushort*)Row(row, offset) | (uint)*(ushort*)Row(row + 1, offset) << 16 | (ulong)(*(ushort*)Row(row + 2, offset) | (uint)*(ushort*)Row(row + 3, offset) << 16) << 32;

    /// <summary>Stores half-bytes of 16 transposed bytes: the low ones as columns 0 … 15 of a step, the high ones as the following 16 (or at <paramref name="high"/>).</summary>
    /// <param name="offset">Where the bytes are in the rows.</param>
    /// <param name="add">Added to each.</param>
    /// <param name="low">Vectors of 4 columns.</param>
    /// <param name="high">The same.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Nibbles(long offset, byte add, byte* low, byte* high)
    {
        Columns(offset, out Vector512<byte> c0, out Vector512<byte> c1, out Vector512<byte> c2, out Vector512<byte> c3);
        Vector512<byte> mask = Vector512.Create((byte)15), plus = Vector512.Create(add);
        ((c0 & mask) + plus).Store(low);
        ((c1 & mask) + plus).Store(low + 64);
        ((c2 & mask) + plus).Store(low + 128);
        ((c3 & mask) + plus).Store(low + 192);
        (((c0.AsUInt16() >> 4).AsByte() & mask) + plus).Store(high);
        (((c1.AsUInt16() >> 4).AsByte() & mask) + plus).Store(high + 64);
        (((c2.AsUInt16() >> 4).AsByte() & mask) + plus).Store(high + 128);
        (((c3.AsUInt16() >> 4).AsByte() & mask) + plus).Store(high + 192);
    }

    /// <summary>As <see cref="Nibbles"/>, through a table.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Levels(long offset, Vector128<sbyte> table, byte* low, byte* high)
    {
        Columns(offset, out Vector512<byte> c0, out Vector512<byte> c1, out Vector512<byte> c2, out Vector512<byte> c3);
        Vector128<byte> unsigned = table.AsByte() ^ Vector128.Create((byte)0x80);
        Vector512<byte> mask = Vector512.Create((byte)15), levels = Vector512.Create(Vector256.Create(unsigned, unsigned), Vector256.Create(unsigned, unsigned));
        Avx512BW.Shuffle(levels, c0 & mask).Store(low);
        Avx512BW.Shuffle(levels, c1 & mask).Store(low + 64);
        Avx512BW.Shuffle(levels, c2 & mask).Store(low + 128);
        Avx512BW.Shuffle(levels, c3 & mask).Store(low + 192);
        Avx512BW.Shuffle(levels, (c0.AsUInt16() >> 4).AsByte() & mask).Store(high);
        Avx512BW.Shuffle(levels, (c1.AsUInt16() >> 4).AsByte() & mask).Store(high + 64);
        Avx512BW.Shuffle(levels, (c2.AsUInt16() >> 4).AsByte() & mask).Store(high + 128);
        Avx512BW.Shuffle(levels, (c3.AsUInt16() >> 4).AsByte() & mask).Store(high + 192);
    }

    /// <summary>Adds 16 to the bytes of a step whose bit is set: 32 bits of each row at an offset, bit i for column i.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void FifthBits(long offset, byte* step)
    {
        Vector512<uint> all = Vector512.Create(
            *(uint*)Row(0, offset), *(uint*)Row(1, offset), *(uint*)Row(2, offset), *(uint*)Row(3, offset), *(uint*)Row(4, offset), *(uint*)Row(5, offset), *(uint*)Row(6, offset), *(uint*)Row(7, offset),
            *(uint*)Row(8, offset), *(uint*)Row(9, offset), *(uint*)Row(10, offset), *(uint*)Row(11, offset), *(uint*)Row(12, offset), *(uint*)Row(13, offset), *(uint*)Row(14, offset), *(uint*)Row(15, offset));
        // Four bits to the low bit of four bytes each: times 1 + 2^7 + 2^14 + 2^21 moves them there, and no two meet.
        for (int k = 0; k < 8; k++)
        {
            Vector512<uint> four = all >> 4 * k & Vector512.Create(15u);
            Vector512<uint> spread = four | four << 7 | four << 14 | four << 21;
            (Vector512.Load((uint*)(step + 64 * k)) + ((spread & Vector512.Create(0x01010101u)) << 4)).Store((uint*)(step + 64 * k));
        }
    }
}

/// <summary>A block format that packs 16 rows of a panel at once, faster than row by row.</summary>
internal unsafe interface IPanelFormat : IBlockFormat
{
    /// <summary>Packs one block of 16 rows.</summary>
    /// <param name="rows">The rows.</param>
    /// <param name="offset">Where the block begins in the rows.</param>
    /// <param name="step">Bytes of the block's first step: 8 vectors of 4 columns of all rows, q + 128.</param>
    /// <param name="scales">Scales of the first step, 16 rows; of the second group of 16 columns, where scales belong to 16, 32 numbers on; then the minima, where there are any.</param>
    /// <param name="stepBytes">Bytes from step to step.</param>
    static abstract void Pack(PanelRows rows, long offset, byte* step, float* scales, int stepBytes);
}
