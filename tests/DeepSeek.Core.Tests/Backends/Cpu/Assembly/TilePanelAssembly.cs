using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace DeepSeek.Core.Tests.Backends.Cpu.Assembly;

/// <summary>
/// A panel of 32 weight rows times blocks of 32 tokens on AMX tiles, of bfloat16: four tiles of 16 × 16 sums stay over all columns. Panel and tokens are packed by the library's TilePanels; tokens
/// are rows of tiles, so sums come out as rows of the result.
/// </summary>
/// <remarks>
/// Fields of the argument block, in 8-byte units. Next: memory that is asked for, NextAdvance bytes a step. (Run by an interpreter in tests; on a processor with AMX not yet.)
/// </remarks>
internal sealed class TilePanelAssembly : KernelAssembler
{
    public const int Panel = 0, Tokens = 1, Steps = 2, Output = 3, OutputStride = 4, Blocks = 5, Next = 6, NextAdvance = 7;

    private const int StepBytes = 2048, TileBytes = 1024, RowBytes = 64, PairBytes = 128, Lines = 4;

    private static readonly AssemblerRegisterTMM[] Sums = [tmm0, tmm1, tmm2, tmm3], Inputs = [tmm4, tmm5], Weights = [tmm6, tmm7];

    protected override void Body()
    {
        // Palette 1; from byte 16 on a row's bytes, from byte 48 on the rows of each tile.
        byte[] configuration = new byte[64];
        configuration[0] = 1;
        for (int i = 0; i < 8; i++)
        {
            configuration[16 + 2 * i] = RowBytes;
            configuration[48 + i] = 16;
        }
        C.ldtilecfg(__[Constant(configuration)]);
        C.mov(r9, __[rdi + 8 * Tokens]);
        C.mov(r11, __[rdi + 8 * Output]);
        C.mov(rbx, __[rdi + 8 * OutputStride]);
        C.mov(rdx, __[rdi + 8 * Blocks]);
        C.mov(r12, __[rdi + 8 * Next]);
        C.mov(r13, __[rdi + 8 * NextAdvance]);
        C.mov(esi, RowBytes);
        C.mov(eax, PairBytes);
        Label block = C.CreateLabel(), step = C.CreateLabel();
        C.Label(ref block);
        C.mov(r8, __[rdi + 8 * Panel]);
        C.mov(rcx, __[rdi + 8 * Steps]);
        foreach (AssemblerRegisterTMM sum in Sums) C.tilezero(sum);
        C.Label(ref step);
        for (int i = 0; i < Lines; i++) C.prefetcht1(__byte_ptr[r12 + 64 * i]);
        C.add(r12, r13);
        C.tileloadd(Inputs[0], __[r9 + rsi]);
        C.tileloadd(Weights[0], __[r8 + rax]);
        C.tileloadd(Weights[1], __[r8 + rax + RowBytes]);
        C.tileloadd(Inputs[1], __[r9 + rsi + TileBytes]);
        for (int i = 0; i < 2; i++)
            for (int w = 0; w < 2; w++) C.tdpbf16ps(Sums[2 * i + w], Inputs[i], Weights[w]);
        C.add(r8, StepBytes);
        C.add(r9, StepBytes);
        C.dec(rcx);
        C.jne(step);
        for (int i = 0; i < 2; i++)
        {
            for (int w = 0; w < 2; w++) C.tilestored(__[r11 + rbx + RowBytes * w], Sums[2 * i + w]);
            C.mov(rcx, rbx);
            C.shl(rcx, 4);
            C.add(r11, rcx);
        }
        C.dec(rdx);
        C.jne(block);
        C.tilerelease();
    }
}
