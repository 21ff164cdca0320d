using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace DeepSeek.Core.Tests.Backends.Cpu.Assembly;

/// <summary>Four rows of halves times one token, 64 columns a step: VCVTPH2PS, which .NET has no intrinsic for. Of each row 16 sums, in the order of the columns.</summary>
/// <remarks>Fields of the argument block, in 8-byte units.</remarks>
internal sealed class HalvesAssembly : KernelAssembler
{
    public const int Weights = 0, Distance = 1, Tokens = 2, Steps = 3, Lanes = 4;

    protected override void Body()
    {
        AssemblerRegister64[] rows = [r8, r9, r10, r11];
        C.mov(r8, __[rdi + 8 * Weights]);
        C.mov(rax, __[rdi + 8 * Distance]);
        for (int r = 1; r < rows.Length; r++) C.lea(rows[r], __[rows[r - 1] + rax]);
        C.mov(rsi, __[rdi + 8 * Tokens]);
        C.mov(rcx, __[rdi + 8 * Steps]);
        C.mov(rdx, __[rdi + 8 * Lanes]);
        for (int r = 0; r < rows.Length; r++) C.vpxord(Z[16 + r], Z[16 + r], Z[16 + r]);
        C.xor(eax, eax);
        Label step = C.CreateLabel();
        C.Label(ref step);
        for (int i = 0; i < 4; i++) C.vmovups(Z[i], __zmmword_ptr[rsi + 64 * i]);
        for (int r = 0; r < rows.Length; r++)
            for (int i = 0; i < 4; i++)
            {
                C.vcvtph2ps(Z[4 + i], __ymmword_ptr[rows[r] + rax + 32 * i]);
                C.vfmadd231ps(Z[16 + r], Z[4 + i], Z[i]);
            }
        C.add(rax, 128);
        C.add(rsi, 256);
        C.dec(rcx);
        C.jne(step);
        for (int r = 0; r < rows.Length; r++) C.vmovups(__zmmword_ptr[rdx + 64 * r], Z[16 + r]);
    }
}
