using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using DeepSeek.Backends.Cpu.Assembly;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// Packs weights and activations as bfloat16 for the product on AMX tiles. Steps of 32 columns, zeros behind the last. A panel is one of <see cref="BrainPanels"/>: of a step,
/// 16 pairs × 2 vectors of 16 rows × 2 columns, each half of which is a tile. Tokens: of a step, 2 tiles of 16 tokens × 32 columns.
/// </summary>
internal static unsafe class TilePanels
{
    /// <summary>Tokens that are packed together.</summary>
    public const int Tokens = 32;

    private const int StepColumns = 32, PanelStep = 2048, HalfTokens = 16, Line = 64;

    /// <summary>Steps over the columns.</summary>
    public static int Steps(int columns) => (columns + StepColumns - 1) / StepColumns;

    /// <summary>Bytes of a panel, and of 32 tokens.</summary>
    public static long Bytes(int columns) => Steps(columns) * (long)PanelStep;

    /// <summary>Bytes of working memory that <see cref="PackWeights"/> wants.</summary>
    public static long ScratchBytes(CpuWeight w) => w.Blocks is { } format
        ? w.Columns / 32 * (long)BytePanels.PanelStep(format) + BytePanels.ScratchBytes(w.Columns)
        : BrainPanels.ScratchBytes(Steps(w.Columns) * StepColumns);

    /// <summary>Packs rows [first, first + count), at most 32. Block formats are packed as bytes first, whose scales then multiply them.</summary>
    public static void PackWeights(Capabilities capabilities, CpuWeight w, int first, int count, byte* panel, byte* scratch)
    {
        if (w.Blocks is not { } format)
        {
            BrainPanels.PackWeights(capabilities, w.Source, first, count, Steps(w.Columns) * StepColumns, panel, scratch);
            return;
        }
        int step = BytePanels.PanelStep(format), steps = w.Columns / StepColumns;
        BytePanels.PackWeights(capabilities, format, w.Source, first, count, scratch, scratch + (long)steps * step);
        Scale(scratch, steps, step, 32 / format.GroupElements, format.HasMinima, panel);
    }

    /// <summary>A panel of <see cref="BytePanels"/> to bfloat16.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Scale(byte* bytes, int steps, int stepBytes, int groups, bool minima, byte* panel)
    {
        Vector512<float> nan = Vector512.Create(float.NaN);
        for (int s = 0; s < steps; s++, bytes += stepBytes, panel += PanelStep)
            for (int half = 0; half < 2; half++)
            {
                float* scales = (float*)(bytes + 1024) + 16 * half;
                for (int g = 0; g < groups; g++)
                {
                    Vector512<float> scale = Vector512.Load(scales + 32 * g);
                    // Rounding below would make a number of a NaN whose lower bits are all set.
                    scale = Vector512.ConditionalSelect(Vector512.Equals(scale, scale), scale, nan);
                    Vector512<float> offset = scale * -128f;
                    // Minima of 16 columns are stored as −1/128 of themselves.
                    if (minima) offset += groups == 1 ? Vector512.Load(scales + 32) : Vector512.Load(scales + 64 + 32 * g) * -128f;
                    for (int k = 8 / groups * g; k < 8 / groups * (g + 1); k++)
                    {
                        Vector512<uint> four = Vector512.Load((uint*)(bytes + 512 * half + 64 * k)), mask = Vector512.Create(255u);
                        Vector512<uint> a = Rounded(four & mask, scale, offset), b = Rounded(four >> 8 & mask, scale, offset);
                        Vector512<uint> c = Rounded(four >> 16 & mask, scale, offset), d = Rounded(four >> 24, scale, offset);
                        byte* to = panel + 256 * k + 64 * half;
                        (a >> 16 | b & Vector512.Create(0xFFFF_0000u)).Store((uint*)to);
                        (c >> 16 | d & Vector512.Create(0xFFFF_0000u)).Store((uint*)(to + 128));
                    }
                }
            }
    }

    /// <summary>scale·q + offset, its upper 16 bits rounded to nearest, ties to even.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Rounded(Vector512<uint> q, Vector512<float> scale, Vector512<float> offset)
    {
        Vector512<uint> bits = Avx512F.FusedMultiplyAdd(Avx512F.ConvertToVector512Single(q.AsInt32()), scale, offset).AsUInt32();
        return bits + Vector512.Create(0x7FFFu) + (bits >> 16 & Vector512<uint>.One);
    }

    /// <summary>Packs tokens [first, first + count) of the activations, at most 32; the others become zeros.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackTokens(Tensor x, int first, int count, byte* to)
    {
        int whole = x.Columns / StepColumns;
        if (count < Tokens || whole * StepColumns < x.Columns) new Span<byte>(to, (int)Bytes(x.Columns)).Clear();
        for (int t = 0; t < count; t++)
        {
            float* from = (float*)x.Address + (long)(first + t) * x.Stride;
            byte* row = to + t / HalfTokens * (HalfTokens * Line) + t % HalfTokens * Line;
            for (int s = 0; s < whole; s++) BrainPanels.Narrow(from + s * StepColumns, (ushort*)(row + (long)s * PanelStep), StepColumns);
            ushort* last = (ushort*)(row + (long)whole * PanelStep);
            for (int k = whole * StepColumns; k < x.Columns; k++) last[k - whole * StepColumns] = SmallFloats.ToBF16(from[k]);
        }
    }
}
