using System.Runtime.Intrinsics.X86;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// The product with a transposed matrix, which latent attention takes its queries to the latent space with: for few rows, by one thread. The weight is read once, in its
/// stored form, some rows at a time; sums run in one order whatever the number of rows.
/// </summary>
internal static unsafe class TransposedProduct
{
    /// <summary>Most rows of activations.</summary>
    public const int MaxRows = 64;

    private const int Panel = AttentionKernels.PanelKeys;

    /// <summary>Numbers of working memory.</summary>
    public static long MemoryLength(int columns) => (MaxRows + Panel) * (long)Line(columns) + MaxRows * (AttentionKernels.ChunkKeys + 2) + 2 * Panel;

    /// <summary>y = Wᵀ·x. x: [rows, W.Rows], y: [rows, W.Columns]</summary>
    public static void Run(CpuWeight w, float* x, int xStride, int rows, float* y, int yStride, float* memory)
    {
        int columns = w.Columns, line = Line(columns), stride = AttentionKernels.ChunkKeys;
        nint* addresses = (nint*)memory;
        float* lines = memory + 2 * Panel, sums = lines + Panel * line, weights = sums + MaxRows * line, keep = weights + MaxRows * stride, take = keep + MaxRows;
        new Span<float>(sums, rows * line).Clear();
        new Span<float>(keep, 2 * MaxRows).Fill(1);
        // bfloat16 rows are read in place; kernels work on 32 columns and would read beyond the last row of another matrix.
        bool inPlace = w.Source.Type == DType.BF16 && columns % 32 == 0;
        for (int r = 0; r < w.Rows; r += Panel)
        {
            int count = Math.Min(Panel, w.Rows - r);
            for (int i = 0; i < count; i++)
            {
                addresses[i] = inPlace ? w.Source.Row(r + i) : (nint)(lines + i * line);
                if (!inPlace) w.ReadRow(r + i, lines + i * line);
            }
            for (int t = 0, n; t < rows; t += n)
            {
                n = AttentionKernels.BlockRows(rows - t);
                for (int i = 0; i < n; i++) Copy(x + (long)(t + i) * xStride + r, weights + i * stride, count);
                for (int c = 0; inPlace && c < columns; c += 32)
                {
                    if (t == 0) Prefetch((byte*)w.Source.Row(r + Panel) + c * 64L);
                    AttentionKernels.WeightedSum<BF16Rows>(weights, n, count, addresses, columns, c, 32, sums + (long)t * line + c, line, keep, take);
                }
                if (!inPlace) AttentionKernels.WeightedSum<F32Rows>(weights, n, count, addresses, columns, 0, columns, sums + (long)t * line, line, keep, take);
            }
        }
        for (int t = 0; t < rows; t++) Copy(sums + (long)t * line, y + (long)t * yStride, columns);
    }

    /// <summary>Asks for the 2 KiB of the next rows that are the share of 32 columns of these. Beyond the matrix it asks for what nobody needs, which does no harm.</summary>
    private static void Prefetch(byte* at)
    {
        if (!Sse.IsSupported) return;
        for (int b = 0; b < 2048; b += 64) Sse.Prefetch1(at + b);
    }

    /// <summary>Numbers that a row of that many columns takes here: kernels work on 32 and may read 31 more.</summary>
    private static int Line(int columns) => (columns + 63) & -32;

    private static void Copy(float* from, float* to, int count) => Buffer.MemoryCopy(from, to, 4L * count, 4L * count);
}
