using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace DeepSeek.Backends.Cpu.Assembly;

/// <summary>
/// Whether this process may use AMX tiles: the processor has palette 1 as the kernels configure it (8 tiles of 16 rows × 64 bytes; Intel SDM vol. 2A, CPUID leaf 1DH), and Linux
/// grants their state, which a process has to ask for (https://docs.kernel.org/arch/x86/xstate.html). Elsewhere tiles are not used.
/// </summary>
internal static partial class TileState
{
    private const int ArchPrctl = 158, RequestPermission = 0x1023, TileData = 18; // __NR_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA

    /// <summary>Whether tiles may be used. Asked for once in a process.</summary>
    public static bool Granted => Request.Granted;

    private static class Request
    {
        public static readonly bool Granted = OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64 && HasPalette() && Ask();
    }

    private static bool HasPalette()
    {
        if (X86Base.CpuId(0, 0).Eax < 0x1D || X86Base.CpuId(0x1D, 0).Eax < 1) return false;
        (int sizes, int names, int rows, _) = X86Base.CpuId(0x1D, 1);
        return IsPaletteOfKernels(sizes, names, rows);
    }

    /// <summary>EAX, EBX and ECX of leaf 1DH, subleaf 1: bytes of all tiles and of one; bytes of a row and how many tiles; rows.</summary>
    internal static bool IsPaletteOfKernels(int sizes, int names, int rows) => sizes == (1024 << 16 | 8192) && names == (8 << 16 | 64) && (rows & 0xFFFF) == 16;

    private static bool Ask()
    {
        try
        {
            return SystemCall(ArchPrctl, RequestPermission, TileData) == 0;
        }
        catch (EntryPointNotFoundException)
        {
            return false;
        }
        catch (DllNotFoundException)
        {
            return false;
        }
    }

    [LibraryImport("libc", EntryPoint = "syscall")]
    private static partial nint SystemCall(nint number, nint first, nint second);
}
