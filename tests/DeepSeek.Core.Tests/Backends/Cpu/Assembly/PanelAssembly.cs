using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace DeepSeek.Core.Tests.Backends.Cpu.Assembly;

/// <summary>
/// A panel of 32 weight rows times tiles of tokens: rows are the lanes of two vectors, each token's activations are broadcast, 2 × tokens sums stay in registers over all columns.
/// </summary>
/// <remarks>Fields of the argument block, in 8-byte units. Row masks: which of the 2 × 16 rows exist. Next: memory that is asked for, NextAdvance bytes a step.</remarks>
internal abstract class PanelAssembly(int tokens) : KernelAssembler
{
    public const int Panel = 0, Tile = 1, Steps = 2, Output = 3, OutputStride = 4, Tiles = 5, LowRows = 6, HighRows = 7, Next = 8, NextAdvance = 9;

    protected int Tokens { get; } = tokens;

    /// <summary>Bytes of the panel for a step of the loop over columns.</summary>
    protected abstract int PanelStep { get; }

    /// <summary>Bytes of a tile of activations for a step.</summary>
    protected abstract int TileStep { get; }

    /// <summary>Sum of 16 rows and a token.</summary>
    protected AssemblerRegisterZMM Acc(int half, int token) => Z[31 - (half * Tokens + token)];

    protected override void Body()
    {
        Prepare();
        C.mov(r9, __[rdi + 8 * Tile]);
        C.mov(r10, __[rdi + 8 * Output]);
        C.mov(r11, __[rdi + 8 * OutputStride]);
        C.mov(rdx, __[rdi + 8 * Tiles]);
        C.mov(r12, __[rdi + 8 * Next]);
        C.mov(r13, __[rdi + 8 * NextAdvance]);
        C.mov(rax, __[rdi + 8 * LowRows]);
        C.kmovw(k1, eax);
        C.mov(rax, __[rdi + 8 * HighRows]);
        C.kmovw(k2, eax);
        Label tile = C.CreateLabel(), step = C.CreateLabel();
        C.Label(ref tile);
        C.mov(r8, __[rdi + 8 * Panel]);
        C.mov(rcx, __[rdi + 8 * Steps]);
        for (int h = 0; h < 2; h++)
            for (int t = 0; t < Tokens; t++) C.vpxord(Acc(h, t), Acc(h, t), Acc(h, t));
        C.Label(ref step);
        // The weights of the next panel come from memory while this one keeps the arithmetic busy.
        C.prefetcht1(__byte_ptr[r12]);
        C.prefetcht1(__byte_ptr[r12 + 64]);
        C.add(r12, r13);
        Step();
        C.add(r8, PanelStep);
        C.add(r9, TileStep);
        C.dec(rcx);
        C.jne(step);
        for (int t = 0; t < Tokens; t++)
        {
            C.vmovups(__zmmword_ptr[r10].k1, Acc(0, t));
            C.vmovups(__zmmword_ptr[r10 + 64].k2, Acc(1, t));
            C.add(r10, r11);
        }
        C.dec(rdx);
        C.jne(tile);
    }

    protected virtual void Prepare()
    {
    }

    /// <summary>One step: the panel's part is at r8, the tile's at r9.</summary>
    protected abstract void Step();
}

/// <summary>
/// Bytes: a step is 32 columns. Panel: 2 × 8 vectors of 16 rows × 4 columns (unsigned: q + 128), then vectors of 16 scales for each half (and for each 16 columns), then of minima,
/// where there are two a step as −1/128 of what they are.
/// Tile: 8 × tokens × 4 columns, then for each token: −128·Σ q, scale, scale·Σ q, −128·Σ of the first and of the last 16.
/// </summary>
internal sealed class BytePanelAssembly(int tokens, int groups, bool minima) : PanelAssembly(tokens)
{
    protected override int PanelStep => 1024 + 128 * groups * (minima ? 2 : 1);

    protected override int TileStep => 52 * Tokens;

    private AssemblerRegisterZMM Sum(int half, int token) => Z[half * Tokens + token];

    private AssemblerMemoryOperand Factor(int index, int token) => r9 + 32 * Tokens + 4 * Tokens * index + 4 * token;

    protected override void Step()
    {
        AssemblerRegisterZMM[] w = [Z[2 * Tokens], Z[2 * Tokens + 1]];
        AssemblerRegisterZMM x = Z[2 * Tokens + 2], p = Z[2 * Tokens + 3];
        int each = 8 / groups;
        for (int g = 0; g < groups; g++)
        {
            for (int t = 0; t < Tokens; t++)
            {
                C.vpbroadcastd(Sum(0, t), __dword_ptr[Factor(groups == 1 ? 0 : 3 + g, t)]);
                C.vmovdqa64(Sum(1, t), Sum(0, t));
            }
            for (int k = each * g; k < each * (g + 1); k++)
            {
                C.vmovdqu64(w[0], __zmmword_ptr[r8 + 64 * k]);
                C.vmovdqu64(w[1], __zmmword_ptr[r8 + 512 + 64 * k]);
                for (int t = 0; t < Tokens; t++)
                {
                    C.vpbroadcastd(x, __dword_ptr[r9 + 4 * Tokens * k + 4 * t]);
                    C.vpdpbusd(Sum(0, t), w[0], x);
                    C.vpdpbusd(Sum(1, t), w[1], x);
                }
            }
            for (int h = 0; h < 2; h++) C.vmovups(w[h], __zmmword_ptr[r8 + 1024 + 128 * g + 64 * h]);
            for (int t = 0; t < Tokens; t++)
            {
                C.vbroadcastss(x, __dword_ptr[Factor(1, t)]);
                for (int h = 0; h < 2; h++)
                {
                    C.vcvtdq2ps(Sum(h, t), Sum(h, t));
                    C.vmulps(p, w[h], x);
                    C.vfmadd231ps(Acc(h, t), Sum(h, t), p);
                }
            }
            if (!minima || groups == 1) continue;
            for (int h = 0; h < 2; h++) C.vmovups(w[h], __zmmword_ptr[r8 + 1024 + 128 * groups + 128 * g + 64 * h]);
            for (int t = 0; t < Tokens; t++)
            {
                C.vpbroadcastd(x, __dword_ptr[Factor(3 + g, t)]);
                C.vbroadcastss(p, __dword_ptr[Factor(1, t)]);
                C.vcvtdq2ps(x, x);
                C.vmulps(x, x, p);
                for (int h = 0; h < 2; h++) C.vfmadd231ps(Acc(h, t), w[h], x);
            }
        }
        if (!minima || groups == 2) return;
        for (int h = 0; h < 2; h++) C.vmovups(w[h], __zmmword_ptr[r8 + 1024 + 128 * groups + 64 * h]);
        for (int t = 0; t < Tokens; t++)
        {
            C.vbroadcastss(x, __dword_ptr[Factor(2, t)]);
            for (int h = 0; h < 2; h++) C.vfmadd231ps(Acc(h, t), w[h], x);
        }
    }
}

/// <summary>bfloat16: a step is 8 columns, in pairs. Panel: for each pair 2 vectors of 16 rows × 2 columns. Tile: for each pair tokens × 2 columns.</summary>
internal sealed class BrainPanelAssembly(int tokens) : PanelAssembly(tokens)
{
    private const int Pairs = 4;

    protected override int PanelStep => 128 * Pairs;

    protected override int TileStep => 4 * Tokens * Pairs;

    protected override void Step()
    {
        AssemblerRegisterZMM x = Z[2];
        for (int k = 0; k < Pairs; k++)
        {
            C.vmovdqu64(Z[0], __zmmword_ptr[r8 + 128 * k]);
            C.vmovdqu64(Z[1], __zmmword_ptr[r8 + 128 * k + 64]);
            for (int t = 0; t < Tokens; t++)
            {
                C.vpbroadcastd(x, __dword_ptr[r9 + 4 * Tokens * k + 4 * t]);
                C.vdpbf16ps(Acc(0, t), Z[0], x);
                C.vdpbf16ps(Acc(1, t), Z[1], x);
            }
        }
    }
}
