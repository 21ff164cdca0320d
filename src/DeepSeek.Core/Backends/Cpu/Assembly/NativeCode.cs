using System.Runtime.InteropServices;

namespace DeepSeek.Backends.Cpu.Assembly;

/// <summary>
/// Memory that holds machine code: written first, then made executable and read-only. Functions take one pointer in rdi; on Windows, where arguments come in rcx and
/// more registers belong to the caller, each is preceded by a thunk. (Windows and macOS: written to their documentation, not run yet.)
/// </summary>
internal sealed unsafe partial class NativeCode : IDisposable
{
    private const int ReadWrite = 3, ReadExecute = 5; // PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC
    private const int PrivateLinux = 0x22, PrivateMac = 0x1002; // MAP_PRIVATE | MAP_ANONYMOUS
    private const uint CommitReserve = 0x3000, Release = 0x8000, PageReadWrite = 4, PageExecuteRead = 0x20;
    private const int Alignment = 64;

    private readonly nuint size;
    private readonly byte* memory;
    private nuint used;

    private NativeCode(byte* memory, nuint size)
    {
        this.memory = memory;
        this.size = size;
    }

    /// <summary>Memory for code, writable; null where the system refuses.</summary>
    public static NativeCode? TryCreate(int bytes)
    {
        nuint size = ((nuint)bytes + 0xFFFF) & ~(nuint)0xFFFF;
        byte* memory;
        if (OperatingSystem.IsWindows()) memory = (byte*)VirtualAlloc(null, size, CommitReserve, PageReadWrite);
        else if (OperatingSystem.IsLinux() || OperatingSystem.IsMacOS()) memory = (byte*)MemoryMap(null, size, ReadWrite, OperatingSystem.IsMacOS() ? PrivateMac : PrivateLinux, -1, 0);
        else return null;
        return memory is null || memory == (byte*)-1 ? null : new NativeCode(memory, size);
    }

    /// <summary>Copies a function in.</summary>
    public delegate* unmanaged<long*, void> Add(ReadOnlySpan<byte> code)
    {
        byte* at = memory + used;
        int thunk = 0;
        if (OperatingSystem.IsWindows())
        {
            KernelCode.WindowsEntry.CopyTo(new Span<byte>(at, (int)(size - used)));
            thunk = KernelCode.WindowsEntry.Length;
        }
        code.CopyTo(new Span<byte>(at + thunk, (int)(size - used) - thunk));
        used = (used + (nuint)(thunk + code.Length) + Alignment - 1) & ~(nuint)(Alignment - 1);
        return (delegate* unmanaged<long*, void>)at;
    }

    /// <summary>Bytes that a function takes.</summary>
    public static int BytesOf(int codeLength) => codeLength + KernelCode.WindowsEntry.Length + Alignment;

    /// <summary>Makes the memory executable and no longer writable. False where the system refuses.</summary>
    public bool TrySeal() => OperatingSystem.IsWindows() ? VirtualProtect(memory, size, PageExecuteRead, out _) != 0 : Protect(memory, size, ReadExecute) == 0;

    public void Dispose()
    {
        if (OperatingSystem.IsWindows()) _ = VirtualFree(memory, 0, Release);
        else _ = Unmap(memory, size);
    }

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial void* MemoryMap(void* address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    private static partial int Protect(void* address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(void* address, nuint length);

    [LibraryImport("kernel32", EntryPoint = "VirtualAlloc")]
    private static partial void* VirtualAlloc(void* address, nuint size, uint type, uint protection);

    [LibraryImport("kernel32", EntryPoint = "VirtualProtect")]
    private static partial int VirtualProtect(void* address, nuint size, uint protection, out uint before);

    [LibraryImport("kernel32", EntryPoint = "VirtualFree")]
    private static partial int VirtualFree(void* address, nuint size, uint type);
}
