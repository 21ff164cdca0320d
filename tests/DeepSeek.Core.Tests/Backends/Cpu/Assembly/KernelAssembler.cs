using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace DeepSeek.Core.Tests.Backends.Cpu.Assembly;

/// <summary>
/// What all kernels share: one argument, a pointer to a block of 8-byte fields, in rdi (System V; on Windows a thunk moves it there); all vector registers are free,
/// callee-saved general registers are pushed. Constants lie behind the code and are addressed relative to it.
/// </summary>
internal abstract class KernelAssembler
{
    protected static readonly AssemblerRegisterZMM[] Z =
    [
        zmm0, zmm1, zmm2, zmm3, zmm4, zmm5, zmm6, zmm7, zmm8, zmm9, zmm10, zmm11, zmm12, zmm13, zmm14, zmm15,
        zmm16, zmm17, zmm18, zmm19, zmm20, zmm21, zmm22, zmm23, zmm24, zmm25, zmm26, zmm27, zmm28, zmm29, zmm30, zmm31,
    ];

    protected static readonly AssemblerRegisterYMM[] Y =
    [
        ymm0, ymm1, ymm2, ymm3, ymm4, ymm5, ymm6, ymm7, ymm8, ymm9, ymm10, ymm11, ymm12, ymm13, ymm14, ymm15,
        ymm16, ymm17, ymm18, ymm19, ymm20, ymm21, ymm22, ymm23, ymm24, ymm25, ymm26, ymm27, ymm28, ymm29, ymm30, ymm31,
    ];

    protected static readonly AssemblerRegisterXMM[] X =
    [
        xmm0, xmm1, xmm2, xmm3, xmm4, xmm5, xmm6, xmm7, xmm8, xmm9, xmm10, xmm11, xmm12, xmm13, xmm14, xmm15,
        xmm16, xmm17, xmm18, xmm19, xmm20, xmm21, xmm22, xmm23, xmm24, xmm25, xmm26, xmm27, xmm28, xmm29, xmm30, xmm31,
    ];

    private static readonly AssemblerRegister64[] Saved = [rbx, rbp, r12, r13, r14, r15];

    private readonly List<(Label Label, byte[] Bytes)> constants = [];

    protected Assembler C { get; } = new(64) { PreferVex = false }; // registers 16 to 31 need EVEX

    /// <summary>The kernel's machine code.</summary>
    public byte[] Assemble()
    {
        foreach (AssemblerRegister64 r in Saved) C.push(r);
        Body();
        C.vzeroupper();
        for (int i = Saved.Length - 1; i >= 0; i--) C.pop(Saved[i]);
        C.ret();
        foreach ((Label label, byte[] bytes) in constants)
        {
            Label l = label;
            C.Label(ref l);
            C.db(bytes);
        }
        MemoryStream code = new();
        C.Assemble(new StreamCodeWriter(code), 0);
        return code.ToArray();
    }

    protected abstract void Body();

    /// <summary>Bytes behind the code; the label stands for their address.</summary>
    protected Label Constant(byte[] bytes)
    {
        Label label = C.CreateLabel();
        constants.Add((label, bytes));
        return label;
    }

    protected Label Constant(Func<int, int> dword, int count = 16) => Constant([.. Enumerable.Range(0, count).SelectMany(i => BitConverter.GetBytes(dword(i)))]);

    /// <summary>A vector constant in a register.</summary>
    protected void Load(AssemblerRegisterZMM to, Label constant) => C.vmovdqu64(to, __zmmword_ptr[constant]);

    /// <summary>Sets mask register k to a 16-bit (or wider) pattern.</summary>
    protected void Mask(AssemblerRegisterK k, uint bits)
    {
        C.mov(eax, bits);
        C.kmovd(k, eax);
    }
}
