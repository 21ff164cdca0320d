namespace DeepSeek.Backends.Cpu;

/// <summary>
/// Products with the small matrices of latent attention's heads, for few rows, by one thread: the weight is read once, in its stored form, some rows at a time. Sums run
/// in one order whatever the number of rows.
/// </summary>
internal static unsafe class HeadProducts
{
    /// <summary>Most rows of activations.</summary>
    public const int MaxRows = 64;

    private const int Panel = AttentionKernels.PanelKeys;

    /// <summary>Numbers of working memory.</summary>
    public static long MemoryLength(int rows, int columns)
    {
        long line = Line(Math.Max(rows, columns));
        return MaxRows * line + 2 * Panel * line + MaxRows * (AttentionKernels.ChunkKeys + 2) + 2 * Panel + AttentionKernels.RowBlock * Panel + 64;
    }

    /// <summary>y = W·x. x: [rows, W.Columns], y: [rows, W.Rows]</summary>
    public static void Multiply(CpuWeight w, float* x, int xStride, int rows, float* y, int yStride, float* memory)
    {
        int columns = w.Columns, line = Line(columns);
        nint* addresses = (nint*)memory;
        float* results = memory + 2 * Panel, lines = results + AttentionKernels.RowBlock * Panel, packed = lines + Panel * line, queries = packed + Panel * line;
        for (int t = 0, n; t < rows; t += n)
        {
            n = AttentionKernels.BlockRows(rows - t);
            for (int i = 0; i < n; i++) AttentionKernels.PackRow(x + (long)(t + i) * xStride, n, i, columns, 1, queries + (long)t * columns);
        }
        for (int r = 0; r < w.Rows; r += Panel)
        {
            int count = Math.Min(Panel, w.Rows - r);
            for (int i = 0; i < count; i++) w.ReadRow(r + i, lines + i * line);
            for (int i = 0; i < Panel; i++) addresses[i] = (nint)(lines + Math.Min(i, count - 1) * line);
            AttentionKernels.Pack<F32Rows>(addresses, columns, 0, columns, packed, Panel);
            for (int t = 0, n; t < rows; t += n)
            {
                n = AttentionKernels.BlockRows(rows - t);
                AttentionKernels.Scores(queries + (long)t * columns, n, packed, columns, results, Panel);
                for (int i = 0; i < n; i++) Copy(results + i * Panel, y + (long)(t + i) * yStride + r, count);
            }
        }
    }

    /// <summary>y = Wᵀ·x. x: [rows, W.Rows], y: [rows, W.Columns]</summary>
    public static void MultiplyTransposed(CpuWeight w, float* x, int xStride, int rows, float* y, int yStride, float* memory)
    {
        int columns = w.Columns, line = Line(columns), stride = AttentionKernels.ChunkKeys;
        nint* addresses = (nint*)memory;
        float* lines = memory + 2 * Panel, sums = lines + Panel * line, weights = sums + MaxRows * line, keep = weights + MaxRows * stride, take = keep + MaxRows;
        new Span<float>(sums, rows * line).Clear();
        new Span<float>(keep, 2 * MaxRows).Fill(1);
        for (int i = 0; i < Panel; i++) addresses[i] = (nint)(lines + i * line);
        for (int r = 0; r < w.Rows; r += Panel)
        {
            int count = Math.Min(Panel, w.Rows - r);
            for (int i = 0; i < count; i++) w.ReadRow(r + i, lines + i * line);
            for (int t = 0, n; t < rows; t += n)
            {
                n = AttentionKernels.BlockRows(rows - t);
                for (int i = 0; i < n; i++) Copy(x + (long)(t + i) * xStride + r, weights + i * stride, count);
                AttentionKernels.WeightedSum<F32Rows>(weights, n, count, addresses, columns, 0, columns, sums + (long)t * line, line, keep, take);
            }
        }
        for (int t = 0; t < rows; t++) Copy(sums + (long)t * line, y + (long)t * yStride, columns);
    }

    /// <summary>Numbers that a row of that many columns takes here: kernels work on 32 and may read 31 more.</summary>
    private static int Line(int columns) => (columns + 63) & -32;

    private static void Copy(float* from, float* to, int count) => Buffer.MemoryCopy(from, to, 4L * count, 4L * count);
}
