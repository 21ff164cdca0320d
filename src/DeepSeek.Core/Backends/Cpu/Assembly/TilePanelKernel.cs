using System.Runtime.Intrinsics.X86;

namespace DeepSeek.Backends.Cpu.Assembly;

/// <summary>
/// The assembled product on AMX tiles (TDPBF16PS): a panel of 32 weight rows with blocks of 32 tokens, both packed by <see cref="TilePanels"/>. Every call configures the tiles of its
/// thread and releases them, so that nothing else that runs there ever sees them in use.
/// </summary>
internal sealed unsafe class TilePanelKernel(delegate* unmanaged<long*, void> kernel) : PanelKernel(TilePanels.Tokens, PanelLayout.Tiles)
{
    private const int Fields = 8, LinesAStep = 4, Line = 64;

    public override void Run(byte* panel, byte* tiles, long tileBytes, long steps, int rows, int tokenCount, float* y, int stride, byte* next = null, long nextBytes = 0)
    {
        long* fields = stackalloc long[Fields];
        int blocks = (tokenCount + Tokens - 1) / Tokens, whole = rows == Rows ? tokenCount / Tokens : 0;
        long total = steps * blocks, covered = Math.Min(nextBytes, total * LinesAStep * Line);
        if (Sse.IsSupported)
            for (long i = covered; i < nextBytes; i += Line) Sse.Prefetch1(next + i);
        if (next is null) next = panel;
        fields[0] = (nint)panel;
        fields[1] = (nint)tiles;
        fields[2] = steps;
        fields[3] = (nint)y;
        fields[4] = (long)stride * sizeof(float);
        fields[5] = whole;
        fields[6] = (nint)next;
        fields[7] = (covered + total - 1) / total;
        if (whole > 0) kernel(fields);
        if (whole == blocks) return;
        // Blocks with rows or tokens that do not exist are computed beside y.
        float* beside = stackalloc float[Tokens * Rows];
        fields[3] = (nint)beside;
        fields[4] = Rows * sizeof(float);
        fields[5] = 1;
        for (int b = whole; b < blocks; b++)
        {
            fields[1] = (nint)(tiles + b * tileBytes);
            fields[6] = (nint)next + b * steps * fields[7];
            kernel(fields);
            for (int t = b * Tokens; t < Math.Min(tokenCount, (b + 1) * Tokens); t++)
                new ReadOnlySpan<float>(beside + t % Tokens * Rows, rows).CopyTo(new Span<float>(y + (long)t * stride, rows));
        }
    }
}
