using DeepSeek.Backends.Cpu;
using DeepSeek.Backends.Cpu.Assembly;

namespace DeepSeek.Core.Tests.Backends.Cpu.Assembly;

/// <summary>The constants are what the sources assemble to; executable memory holds what was written.</summary>
public sealed unsafe class KernelTests
{
    [Fact]
    public void ConstantsAreWhatTheSourcesAssembleTo()
    {
        string committed = File.ReadAllText(Path.Combine(SharedData.Root, KernelCatalogue.SourcePath));
        Assert.True(committed == KernelCatalogue.Source(), $"{KernelCatalogue.SourcePath} is stale: dotnet run --project tests/DeepSeek.Benchmarks assemble");
    }

    [Fact]
    public void CodeRunsOnceSealed()
    {
        if (System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture != System.Runtime.InteropServices.Architecture.X64) return;
        using NativeCode code = NativeCode.TryCreate(4096)!;
        Assert.NotNull(code);
        delegate* unmanaged<long*, void> increment = code.Add([0x48, 0xFF, 0x07, 0xC3]); // inc qword [rdi]; ret
        Assert.True(code.TrySeal());
        long value = 41;
        increment(&value);
        Assert.Equal(42, value);
    }
}
