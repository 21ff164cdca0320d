using System.Runtime.Intrinsics.X86;

namespace DeepSeek.Backends.Cpu.Assembly;

/// <summary>How a panel's product wants weights and tokens packed.</summary>
internal enum PanelLayout
{
    /// <summary><see cref="BytePanels"/>.</summary>
    Bytes,

    /// <summary><see cref="BrainPanels"/>.</summary>
    Brains,

    /// <summary><see cref="TilePanels"/>.</summary>
    Tiles,
}

/// <summary>A product of a panel of 32 packed weight rows with tiles of packed tokens, assembled or .NET's own.</summary>
internal abstract unsafe class PanelKernel(int tokens, PanelLayout layout)
{
    /// <summary>Rows of a panel.</summary>
    public const int Rows = 32;

    /// <summary>Tokens of a tile.</summary>
    public int Tokens { get; } = tokens;

    /// <summary>How weights and tokens are packed.</summary>
    public PanelLayout Layout { get; } = layout;

    /// <summary>y[t][n] of the panel's first <paramref name="rows"/> rows and <paramref name="tokenCount"/> tokens.</summary>
    /// <param name="panel">The packed panel.</param>
    /// <param name="tiles">Packed tokens, tile after tile; the last tile may be partial.</param>
    /// <param name="tileBytes">Bytes of a tile.</param>
    /// <param name="steps">Steps over the columns.</param>
    /// <param name="rows">Rows that exist, at most 32.</param>
    /// <param name="tokenCount">Tokens that exist.</param>
    /// <param name="y">Where the panel's first row and the first token go.</param>
    /// <param name="stride">Numbers between tokens.</param>
    /// <param name="next">Memory that is read afterwards, and asked for meanwhile; or null.</param>
    /// <param name="nextBytes">Its size.</param>
    public abstract void Run(byte* panel, byte* tiles, long tileBytes, long steps, int rows, int tokenCount, float* y, int stride, byte* next = null, long nextBytes = 0);
}

/// <summary>The products with vectors: sums of a tile stay in registers over all columns.</summary>
internal sealed unsafe class VectorPanelKernel(delegate* unmanaged<long*, void> kernel, int tokens, PanelLayout layout) : PanelKernel(tokens, layout)
{
    private const int Fields = 11, LinesAStep = 2, Line = 64;

    private readonly delegate*<long*, void> own;
    private readonly int least;

    /// <param name="own">The product of bytes by .NET's intrinsics, which takes the same argument block.</param>
    /// <param name="tokens">Tokens of a tile.</param>
    /// <param name="least">The least whole number of the format.</param>
    public VectorPanelKernel(delegate*<long*, void> own, int tokens, int least) : this(null, tokens, PanelLayout.Bytes)
    {
        this.own = own;
        this.least = least;
    }

    public override void Run(byte* panel, byte* tiles, long tileBytes, long steps, int rows, int tokenCount, float* y, int stride, byte* next = null, long nextBytes = 0)
    {
        long* fields = stackalloc long[Fields];
        fields[0] = (nint)panel;
        fields[1] = (nint)tiles;
        fields[2] = steps;
        fields[3] = (nint)y;
        fields[4] = (long)stride * sizeof(float);
        fields[5] = tokenCount / Tokens;
        fields[6] = rows >= 16 ? 0xFFFF : (1 << rows) - 1;
        fields[7] = rows >= 32 ? 0xFFFF : rows > 16 ? (1 << rows - 16) - 1 : 0;
        // What the steps do not cover is asked for at once.
        long total = steps * ((tokenCount + Tokens - 1) / Tokens), covered = Math.Min(nextBytes, total * LinesAStep * Line);
        if (Sse.IsSupported)
            for (long i = covered; i < nextBytes; i += Line) Sse.Prefetch1(next + i);
        if (next is null) next = panel;
        fields[8] = (nint)next;
        fields[9] = (covered + total - 1) / total;
        fields[10] = least;
        if (fields[5] > 0) Call(fields);
        int rest = tokenCount % Tokens, whole = tokenCount - rest;
        if (rest == 0) return;
        // The partial tile is computed whole, beside y, and its tokens that exist are copied.
        float* beside = stackalloc float[Tokens * Rows];
        fields[1] = (nint)(tiles + whole / Tokens * tileBytes);
        fields[3] = (nint)beside;
        fields[4] = Rows * sizeof(float);
        fields[8] = (nint)next + fields[5] * steps * fields[9];
        fields[5] = 1;
        Call(fields);
        for (int t = 0; t < rest; t++) new ReadOnlySpan<float>(beside + t * Rows, rows).CopyTo(new Span<float>(y + (long)(whole + t) * stride, rows));
    }

    private void Call(long* fields)
    {
        if (kernel != null) kernel(fields);
        else own(fields);
    }
}
