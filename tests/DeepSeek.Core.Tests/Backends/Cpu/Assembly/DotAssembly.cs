using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace DeepSeek.Core.Tests.Backends.Cpu.Assembly;

/// <summary>
/// Matrix-vector products on stored blocks with 512-bit VNNI: for each weight row, Σ over groups of scale·Σ q·x. One token takes four rows at a time, from four far
/// places (each stream is sequential for itself, which is what the processor's prefetchers want); several tokens take one row, unpacked once. A result is made by the
/// same operations in the same order in every variant.
/// </summary>
/// <remarks>Fields of the argument block, in 8-byte units.</remarks>
internal abstract class DotAssembly(int tokens) : KernelAssembler
{
    public const int Weights = 0, StreamBytes = 1, Rows = 2, Units = 3, Q = 4, Scales = 5, Sums = 6, Lanes = 7, Output = 8, Columns = 9, OutputStride = 10, StreamOutput = 11;

    /// <summary>Row streams of a call with one token.</summary>
    private const int Streams = 4;

    /// <summary>Token pointers: base, and base + 3 strides; [0], [1·s], [2·s] from the first, [0] from the second.</summary>
    private static readonly (AssemblerRegister64 First, AssemblerRegister64 Fourth)[] Arrays = [(rsi, r9), (rdx, r10), (rbx, r11), (rbp, r12)];

    private static readonly AssemblerRegister64[] RowPointers = [r8, r9, r10, r11];

    protected const int ArrayQ = 0, ArrayScales = 1, ArraySums = 2, ArrayLanes = 3;

    protected int Tokens { get; } = tokens;

    protected int RowsAtOnce { get; private set; }

    /// <summary>Columns of a loop's step: 64 or 256.</summary>
    protected abstract int StepColumns { get; }

    /// <summary>Bytes of weights of a loop's step.</summary>
    protected abstract int StepBytes { get; }

    /// <summary>Whether activations' sums are read.</summary>
    protected abstract bool HasMinima { get; }

    /// <summary>Accumulator of a row and token.</summary>
    protected AssemblerRegisterZMM Acc(int row, int token) => Z[31 - (row * Tokens + token)];

    /// <summary>Accumulator of the minima.</summary>
    protected AssemblerRegisterZMM AccMin(int row, int token) => Z[31 - RowsAtOnce * Tokens - (row * Tokens + token)];

    /// <summary>Weights of a row, relative to the loop's step.</summary>
    protected AssemblerMemoryOperand W(int row, int offset) => RowPointers[row] + rax + offset;

    /// <summary>Activations of a token, relative to the loop's step.</summary>
    protected AssemblerMemoryOperand A(int array, int token, int offset)
    {
        (AssemblerRegister64 first, AssemblerRegister64 fourth) = Arrays[array];
        AssemblerRegister64 stride = array is ArrayQ or ArrayLanes ? r13 : r14;
        return token switch { 0 => first + offset, 1 => first + stride + offset, 2 => first + stride * 2 + offset, _ => fourth + offset };
    }

    protected override void Body()
    {
        Prepare();
        C.mov(r15, __[rdi + 8 * Rows]);
        C.mov(r8, __[rdi + 8 * Weights]);
        Label next = C.CreateLabel(), single = C.CreateLabel(), end = C.CreateLabel();
        if (Tokens == 1)
        {
            C.cmp(__qword_ptr[rdi + 8 * StreamBytes], 0);
            C.je(single);
            C.Label(ref next);
            RowLoop(Streams);
            C.jg(next);
            C.jmp(end);
        }
        C.Label(ref single);
        RowLoop(1);
        C.jg(single);
        C.Label(ref end);
    }

    /// <summary>Constants that stay in registers.</summary>
    protected abstract void Prepare();

    /// <summary>One step of the loop over columns, for RowsAtOnce rows and all tokens.</summary>
    protected abstract void Step();

    private void RowLoop(int rows)
    {
        RowsAtOnce = rows;
        C.mov(rsi, __[rdi + 8 * Q]);
        C.mov(rdx, __[rdi + 8 * Scales]);
        C.mov(rbx, __[rdi + 8 * Sums]);
        C.mov(rbp, __[rdi + 8 * Lanes]);
        if (Tokens > 1)
        {
            C.mov(r13, __[rdi + 8 * Columns]);
            C.mov(r14, r13);
            C.shr(r14, 3);
            if (Tokens > 3)
                foreach ((AssemblerRegister64 first, AssemblerRegister64 fourth) in Arrays)
                {
                    AssemblerRegister64 stride = first == rsi || first == rbp ? r13 : r14;
                    C.lea(fourth, __[first + stride * 2]);
                    C.add(fourth, stride);
                }
        }
        else
        {
            C.mov(r12, __[rdi + 8 * StreamBytes]);
            for (int r = 1; r < rows; r++) C.lea(RowPointers[r], __[RowPointers[r - 1] + r12]);
        }
        for (int r = 0; r < rows; r++)
            for (int t = 0; t < Tokens; t++)
            {
                C.vpxord(Acc(r, t), Acc(r, t), Acc(r, t));
                if (HasMinima) C.vpxord(AccMin(r, t), AccMin(r, t), AccMin(r, t));
            }
        C.xor(eax, eax);
        C.mov(rcx, __[rdi + 8 * Units]);
        Label loop = C.CreateLabel();
        C.Label(ref loop);
        Step();
        C.add(rax, StepBytes);
        for (int array = 0; array < Arrays.Length; array++)
        {
            if (array == ArraySums && !HasMinima) continue;
            int advance = array is ArrayQ or ArrayLanes ? StepColumns : StepColumns / 8;
            C.add(Arrays[array].First, advance);
            if (Tokens > 3) C.add(Arrays[array].Fourth, advance);
        }
        C.dec(rcx);
        C.jne(loop);
        // Sums of the lanes; y[t·stride + row].
        C.mov(rcx, __[rdi + 8 * Output]);
        if (rows > 1) C.mov(rdx, __[rdi + 8 * StreamOutput]);
        for (int t = 0; t < Tokens; t++)
        {
            for (int r = 0; r < rows; r++)
            {
                if (HasMinima) C.vaddps(Acc(r, t), Acc(r, t), AccMin(r, t));
                C.vextractf64x4(Y[12], Acc(r, t), 1);
                C.vaddps(Y[12], Y[12], Y[31 - (r * Tokens + t)]);
                C.vextractf32x4(X[13], Y[12], 1);
                C.vaddps(X[12], X[12], X[13]);
                C.vpermilps(X[13], X[12], 0b01_00_11_10);
                C.vaddps(X[12], X[12], X[13]);
                C.vmovshdup(X[13], X[12]);
                C.vaddss(X[12], X[12], X[13]);
                C.vmovss(__dword_ptr[rcx], X[12]);
                if (r + 1 < rows) C.add(rcx, rdx);
            }
            if (t + 1 < Tokens) C.add(rcx, __[rdi + 8 * OutputStride]);
        }
        C.add(__qword_ptr[rdi + 8 * Output], 4);
        C.add(r8, rax); // the next row lies behind this one
        C.dec(r15);
    }
}
