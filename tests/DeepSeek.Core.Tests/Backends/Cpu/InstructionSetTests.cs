using System.Diagnostics;
using DeepSeek.Backends;
using DeepSeek.Backends.Cpu;

namespace DeepSeek.Core.Tests.Backends.Cpu;

/// <summary>
/// The runtime's own switches: products, attention and what is detected, in child processes with an instruction set switched off. In this process <see cref="ProductsOfThisProcess"/>
/// sees the machine as it is.
/// </summary>
public sealed class InstructionSetTests
{
    [Fact]
    public void ProductsOfThisProcess()
    {
        Capabilities capabilities = Capabilities.Detect();
        bool Off(string name) => Environment.GetEnvironmentVariable(name) == "0";
        if (Off("DOTNET_EnableHWIntrinsic")) Assert.Equal(Capabilities.None with { ArmDot = capabilities.ArmDot }, capabilities);
        if (Off("DOTNET_EnableAVX2")) Assert.False(capabilities.Avx2 || capabilities.AvxVnni || capabilities.Avx512);
        if (Off("DOTNET_EnableAVX512")) Assert.False(capabilities.Avx512 || capabilities.Avx512Vnni || capabilities.Avx512Bf16 || capabilities.AmxBf16);
        MatMulTests.CheckCommonFormats(new CpuBackendOptions { Threads = 2 });
        AttentionTests attention = new();
        foreach (CacheFormat format in Enum.GetValues<CacheFormat>()) attention.Grouped_attention_equals_the_scalar_one(6, 2, 64, (int)format);
    }

    [Theory]
    [InlineData("DOTNET_EnableAVX512")]
    [InlineData("DOTNET_EnableAVX2")]
    [InlineData("DOTNET_EnableHWIntrinsic")]
    public async Task WithoutAnInstructionSet(string variable)
    {
        ProcessStartInfo start = new("dotnet", ["vstest", typeof(InstructionSetTests).Assembly.Location, $"--TestCaseFilter:FullyQualifiedName={typeof(InstructionSetTests).FullName}.{nameof(ProductsOfThisProcess)}"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment[variable] = "0";
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(), errors = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        string said = await output + await errors;
        Assert.True(process.ExitCode == 0 && System.Text.RegularExpressions.Regex.IsMatch(said, @"Passed:\s+1\b"), said);
    }
}
