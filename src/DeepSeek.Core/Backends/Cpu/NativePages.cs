using System.Runtime.InteropServices;

namespace DeepSeek.Backends.Cpu;

/// <summary>Large native memory: not cleared, committed by the system as it is touched, in huge pages where the system gives them.</summary>
internal static unsafe partial class NativePages
{
    private const nuint HugePage = 2 << 20;
    private const int AdviseHugePage = 14; // MADV_HUGEPAGE of linux/mman.h

    /// <summary>Memory of that size, 64-byte aligned at least.</summary>
    /// <exception cref="OutOfMemoryException">The system refuses.</exception>
    public static void* Allocate(nuint bytes)
    {
        if (bytes < 2 * HugePage) return NativeMemory.AlignedAlloc(bytes, 64);
        void* address = NativeMemory.AlignedAlloc(bytes, HugePage);
        // Advice only: a refusal changes nothing but speed.
        if (OperatingSystem.IsLinux()) _ = Advise(address, bytes / HugePage * HugePage, AdviseHugePage);
        return address;
    }

    /// <summary>Gives back what <see cref="Allocate"/> gave.</summary>
    public static void Free(void* address) => NativeMemory.AlignedFree(address);

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* address, nuint length, int advice);
}
