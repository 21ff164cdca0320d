using DeepSeek.Backends.Cpu.Dot;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu.Assembly;

/// <summary>
/// The assembled product of one format's stored blocks with few tokens; <see cref="PanelKernel"/> makes the same results of packed panels.
/// </summary>
/// <param name="unitColumns">Columns of a step: a row is a whole number of them.</param>
/// <param name="one">The kernel for tiles of one token.</param>
/// <param name="two">Of two.</param>
/// <param name="four">Of four.</param>
/// <param name="eight">Of eight.</param>
internal sealed unsafe class DotKernel(int unitColumns, delegate* unmanaged<long*, void> one, delegate* unmanaged<long*, void> two, delegate* unmanaged<long*, void> four, delegate* unmanaged<long*, void> eight) : StoredKernel(unitColumns)
{
    /// <summary>Tokens of all tiles but the last.</summary>
    public const int MostTokens = 8;

    /// <summary>Most tokens of a tile whose panels are of rows in far places.</summary>
    private const int FarTokens = 4;

    private const int Fields = 13, WorkingBytes = 16 * 64 + 256 * Rows;

    /// <summary>Stored blocks are unpacked in registers once for eight tokens; scales of 16 columns are more work. (Measured on Zen 4.)</summary>
    public override int MostWithoutPanels(BlockFormat format) => format.GroupElements == 16 ? 16 : 24;

    public override int MostWithWholeItems => MostTokens;

    /// <summary>Tokens of the tile that so many tokens are packed in, at most <see cref="MostTokens"/>.</summary>
    private static int TileTokens(int tokens) => tokens > 4 ? MostTokens : tokens == 3 ? 4 : tokens;

    public override int Tiles(int columns, int tokens) => (tokens + MostTokens - 1) / MostTokens;

    public override long TilesBytes(int columns, int tokens) => TileAt(columns, tokens & -MostTokens) + TileAt(columns, TileTokens(tokens % MostTokens));

    public override void Pack(QuantisedRows x, int tile, byte* tiles)
    {
        int first = tile * MostTokens, count = Math.Min(MostTokens, x.Rows - first);
        BytePanels.PackTokens(x, first, count, TileTokens(count), tiles + TileAt(x.Columns, first));
    }

    public override void Multiply(Weight w, int first, int count, byte* tiles, int tokens, Tensor y)
    {
        byte* working = stackalloc byte[WorkingBytes + 64];
        long* fields = stackalloc long[Fields];
        fields[1] = w.RowBytes;
        fields[3] = w.Columns / UnitColumns;
        fields[6] = (long)y.Stride * sizeof(float);
        fields[9] = (nint)working + 63 & -64;
        int* places = stackalloc int[Rows];
        fields[11] = (nint)places;
        int whole = count / Rows, rest = count % Rows;
        for (int t = 0; t < tokens; t += MostTokens)
        {
            int some = Math.Min(MostTokens, tokens - t);
            delegate* unmanaged<long*, void> kernel = TileTokens(some) switch { 1 => one, 2 => two, 4 => four, _ => eight };
            float* to = (float*)y.Address + (long)t * y.Stride + first;
            fields[4] = (nint)(tiles + TileAt(w.Columns, t));
            fields[8] = some;
            // With few tokens the rows of a panel lie far apart, each the beginning of a stream; else side by side.
            bool far = some <= FarTokens;
            int distance = far ? whole : 1;
            for (int i = 0; i < Rows; i++) places[i] = i * distance;
            fields[1] = w.RowBytes * distance;
            fields[10] = far ? w.RowBytes : w.RowBytes * Rows;
            fields[12] = (far ? 1 : Rows) * sizeof(float);
            if (whole > 0) Call(kernel, fields, w.Row(first), whole, (1 << Rows) - 1, to);
            if (rest == 0) continue;
            for (int i = 0; i < Rows; i++) places[i] = i;
            fields[1] = w.RowBytes;
            // A panel of the last rows, of which only the rest is stored; at the weight's beginning its first ones.
            int shift = Math.Max(0, first + count - Rows) - (first + whole * Rows);
            Call(kernel, fields, w.Row(first + whole * Rows + shift), 1, (1 << rest) - 1 << -shift, to + whole * Rows + shift);
        }
    }

    private static long TileAt(int columns, int tokens) => columns / 32 * (long)BytePanels.TileStep(tokens);

    private static void Call(delegate* unmanaged<long*, void> kernel, long* fields, nint weights, int panels, int rows, float* to)
    {
        fields[0] = weights;
        fields[2] = panels;
        fields[5] = (nint)to;
        fields[7] = rows;
        kernel(fields);
    }
}
