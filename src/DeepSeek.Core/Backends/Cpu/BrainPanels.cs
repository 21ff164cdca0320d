using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using DeepSeek.Backends.Cpu.Dot;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// Packs weights and activations as bfloat16 for the assembled product. Columns go in pairs, steps of 8 columns, zeros behind the last. Panel: for each pair 2 vectors of 16 rows ×
/// 2 columns. Tile: for each pair tokens × 2 columns.
/// </summary>
internal static unsafe class BrainPanels
{
    private const int HalfRows = 16, StepColumns = 8;

    /// <summary>Steps over the columns.</summary>
    public static int Steps(int columns) => (columns + StepColumns - 1) / StepColumns;

    /// <summary>Bytes of a panel.</summary>
    public static long PanelBytes(int columns) => Steps(columns) * 512L;

    /// <summary>Bytes of a tile.</summary>
    public static long TileBytes(int columns, int tokens) => Steps(columns) * 16L * tokens;

    /// <summary>Bytes of working memory that <see cref="PackWeights"/> wants.</summary>
    public static long ScratchBytes(int columns) => (long)Steps(columns) * StepColumns * (HalfRows * sizeof(ushort) + sizeof(float)) + 128;

    /// <summary>Columns with the zeros behind the last.</summary>
    public static int Padded(int columns) => Steps(columns) * StepColumns;

    /// <summary>Packs rows [first, first + count), at most 32, with so many columns: zeros behind the last.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackWeights(Capabilities capabilities, Weight w, int first, int count, int padded, byte* panel, byte* scratch)
    {
        float* row = (float*)scratch;
        ushort* brains = (ushort*)(row + padded);
        byte** addresses = stackalloc byte*[HalfRows];
        // Whole rows of bfloat16 are transposed where they lie.
        bool direct = w.Type == DType.BF16 && padded == w.Columns, looks = w.Type == DType.F8E4M3 && capabilities.Avx512Vbmi;
        for (int half = 0; half < 2; half++)
        {
            int rows = Math.Clamp(count - half * HalfRows, 0, HalfRows);
            for (int r = 0; r < rows; r++)
            {
                int n = first + half * HalfRows + r;
                addresses[r] = direct ? (byte*)w.Row(n) : (byte*)(brains + r * padded);
                if (direct) continue;
                if (looks)
                {
                    FloatRows.ReadBrains(w, n, brains + r * padded);
                    new Span<ushort>(brains + r * padded + w.Columns, padded - w.Columns).Clear();
                    continue;
                }
                new Span<float>(row + w.Columns, padded - w.Columns).Clear();
                FloatRows.Read(w, n, row);
                Narrow(row, brains + r * padded, padded);
            }
            // Rows that do not exist repeat the last one; nobody reads what comes of them.
            for (int r = rows; r < HalfRows; r++) addresses[r] = rows == 0 ? (byte*)brains : addresses[rows - 1];
            PanelRows sixteen = new(addresses);
            byte* to = panel + 64 * half;
            for (int step = 0; step < padded / StepColumns; step++, to += 512)
            {
                sixteen.Columns(16L * step, out Vector512<byte> c0, out Vector512<byte> c1, out Vector512<byte> c2, out Vector512<byte> c3);
                c0.Store(to);
                c1.Store(to + 128);
                c2.Store(to + 256);
                c3.Store(to + 384);
            }
        }
    }

    /// <summary>Packs one tile (rows of activations are read to a whole number of 16): tokens [first, first + count) of the activations; the tile's other tokens become zeros.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackTokens(Tensor x, int first, int count, int tileTokens, byte* tile)
    {
        int padded = Steps(x.Columns) * StepColumns;
        if (count < tileTokens || padded > x.Columns) new Span<byte>(tile, (int)TileBytes(x.Columns, tileTokens)).Clear();
        for (int t = 0; t < count; t++)
        {
            float* from = (float*)x.Address + (long)(first + t) * x.Stride;
            BrainAttention.PackRow(from, x.Columns & ~1, 1, (uint*)tile, tileTokens, t);
            if ((x.Columns & 1) != 0) ((uint*)tile)[x.Columns / 2 * tileTokens + t] = SmallFloats.ToBF16(from[x.Columns - 1]);
        }
    }

    /// <summary>float32 to bfloat16, to nearest, ties to even; a whole number of 8.</summary>
    public static void Narrow(float* from, ushort* to, int count)
    {
        for (int i = 0; i < count; i += 8)
        {
            Vector256<uint> bits = Vector256.Load((uint*)from + i);
            Vector256<uint> rounded = bits + Vector256.Create(0x7FFFu) + (bits >> 16 & Vector256.Create(1u)) >> 16;
            Vector256<uint> isNaN = Vector256.GreaterThan(bits & Vector256.Create(0x7FFF_FFFFu), Vector256.Create(0x7F80_0000u));
            Vector256<uint> value = Vector256.ConditionalSelect(isNaN, bits >> 16 | Vector256.Create(0x40u), rounded);
            Vector128.Narrow(value.GetLower(), value.GetUpper()).Store(to + i);
        }
    }
}
