using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace DeepSeek.Core.Tests.Backends.Cpu.Assembly;

/// <summary>
/// Stands before a kernel on Windows: the argument comes in rcx, and rdi, rsi and the lower halves of vector registers 6 to 15 belong to the caller
/// (https://learn.microsoft.com/cpp/build/x64-calling-convention). Calls the kernel behind it.
/// </summary>
internal static class WindowsEntryAssembly
{
    public static byte[] Assemble()
    {
        Assembler c = new(64);
        AssemblerRegisterXMM[] saved = [xmm6, xmm7, xmm8, xmm9, xmm10, xmm11, xmm12, xmm13, xmm14, xmm15];
        Label kernel = c.CreateLabel();
        c.push(rdi);
        c.push(rsi);
        c.sub(rsp, 16 * saved.Length + 8);
        for (int i = 0; i < saved.Length; i++) c.vmovups(__xmmword_ptr[rsp + 16 * i], saved[i]);
        c.mov(rdi, rcx);
        c.call(kernel);
        for (int i = 0; i < saved.Length; i++) c.vmovups(saved[i], __xmmword_ptr[rsp + 16 * i]);
        c.add(rsp, 16 * saved.Length + 8);
        c.pop(rsi);
        c.pop(rdi);
        c.ret();
        c.Label(ref kernel);
        c.nop();
        MemoryStream code = new();
        c.Assemble(new StreamCodeWriter(code), 0);
        return code.ToArray();
    }
}
