using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu;

/// <summary>Packs for attention by products of bfloat16 (<see cref="BrainPanels"/> says how panels and tiles look): for many queries over a cache of bfloat16, or of bytes, which are made bfloat16 a chunk at a time.</summary>
internal static unsafe class BrainAttention
{
    /// <summary>Tokens of a sequence in a step from which on it is used: fewer are computed as single tokens are.</summary>
    public const int FewestTokens = 16;

    /// <summary>Puts a row of queries or weights into its tile, to nearest, ties to even. count: even.</summary>
    /// <param name="source">The numbers.</param>
    /// <param name="count">How many.</param>
    /// <param name="scale">Multiplies them.</param>
    /// <param name="tile">The tile.</param>
    /// <param name="tokens">Rows of a tile.</param>
    /// <param name="row">The row of the tile.</param>
    [SkipLocalsInit, MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackRow(float* source, int count, float scale, uint* tile, int tokens, int row)
    {
        uint* words = stackalloc uint[16];
        tile += row;
        for (int i = 0; i < count; i += 16)
        {
            // Each 32-bit lane of 'rounded' holds a bfloat16 in its upper half; neighbours are joined.
            Vector512<uint> bits = (Vector512.Load(source + i) * Vector512.Create(scale)).AsUInt32();
            Vector512<uint> rounded = bits + Vector512.Create(0x7FFFu) + (bits >>> 16 & Vector512<uint>.One);
            Vector512<uint> isNan = Vector512.GreaterThan(bits & Vector512.Create(0x7FFF_FFFFu), Vector512.Create(0x7F80_0000u));
            rounded = Vector512.ConditionalSelect(isNan, bits | Vector512.Create(0x40_0000u), rounded);
            Vector512<ulong> pairs = rounded.AsUInt64();
            (pairs >>> 16 & Vector512.Create(0xFFFFul) | pairs >>> 32 & Vector512.Create(0xFFFF_0000ul)).AsUInt32().Store(words);
            for (int p = 0, end = Math.Min(16, count - i); p < end; p += 2, tile += tokens) *tile = words[p];
        }
    }

    /// <summary>Numbers [first, first + size) of rows of bytes as bfloat16, to nearest, ties to even; the addresses become those of the results. size: a multiple of 32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Narrow(nint* rows, int count, int width, int first, int size, ushort* to)
    {
        for (int k = 0; k < count; k++, to += size)
        {
            byte* row = (byte*)rows[k];
            for (int d = 0; d < size; d += 32)
            {
                Q8Rows.LoadTwo(row, width, first + d, out Vector512<float> low, out Vector512<float> high);
                Vector512.Narrow(CacheRows.ToBrain(low.AsUInt32()), CacheRows.ToBrain(high.AsUInt32())).Store(to + d);
            }
            rows[k] = (nint)to;
        }
    }

    /// <summary>A panel of 32 columns of values: for each pair of keys the two keys' numbers side by side.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackValues(nint* rows, int keys, int first, uint* panel)
    {
        for (int k = 0; k < keys; k += 2, panel += 32)
        {
            ushort* even = (ushort*)rows[k] + first, odd = (ushort*)rows[k + 1] + first;
            (F16Rows.Widen(Vector256.Load(even)) | F16Rows.Widen(Vector256.Load(odd)) << 16).Store(panel);
            (F16Rows.Widen(Vector256.Load(even + 16)) | F16Rows.Widen(Vector256.Load(odd + 16)) << 16).Store(panel + 16);
        }
    }
}
