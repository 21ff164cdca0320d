using DeepSeek.Backends;
using DeepSeek.Core.Tests.Backends;
using DeepSeek.Gpu.Host;

namespace DeepSeek.Gpu.Tests;

/// <summary>Every operation of the table, run by the kernels on the host, against the scalar reference.</summary>
public class OperationTests
{
    public static TheoryData<string> Cases => OperationCases.Names;

    [Theory]
    [MemberData(nameof(Cases))]
    public void Agrees(string name) => OperationCases.Check(name, () => Host(1, 1));

    internal static Backend Host(int edge, int lanes, bool reproducible = false) => new GpuBackend<HostThread, HostMemory>(new HostRuntime(edge, lanes), reproducible);
}
