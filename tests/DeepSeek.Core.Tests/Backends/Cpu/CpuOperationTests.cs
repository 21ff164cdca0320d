using DeepSeek.Backends.Cpu;

namespace DeepSeek.Core.Tests.Backends.Cpu;

/// <summary>The CPU backend against the scalar one, operation by operation.</summary>
public class CpuOperationTests
{
    public static TheoryData<string> Names => OperationCases.Names;

    [Theory]
    [MemberData(nameof(Names))]
    public void AgreesWithTheReference(string name) => OperationCases.Check(name, () => new CpuBackend(new CpuBackendOptions { Threads = 2 }));
}
