using System.Text.RegularExpressions;
using DeepSeek.Core.Tests;
using DeepSeek.Tests;

namespace DeepSeek.Gpu.Tests;

/// <summary>Rules of this package that a compiler does not know.</summary>
public partial class HouseTests
{
    private static readonly string Folder = Path.Combine(SharedData.Root, "src", "DeepSeek.Gpu");

    /// <summary>What a device's compiler has to understand: plain C# over its own folder, with no class, no exception, no allocation, no span and no standard library in it.</summary>
    [Fact]
    public void KernelsArePlain()
    {
        string[] files = [.. Directory.EnumerateFiles(Path.Combine(Folder, "Kernels"), "*.cs", SearchOption.AllDirectories)];
        Assert.NotEmpty(files);
        foreach (string file in files)
        {
            string code = Comment().Replace(File.ReadAllText(file), "");
            Assert.All(Using().Matches(code), m => Assert.StartsWith("DeepSeek.Gpu.Kernels", m.Groups[1].Value));
            Assert.DoesNotMatch(Forbidden(), code);
        }
    }

    /// <summary>Only the binding may know the library that reaches devices.</summary>
    [Fact]
    public void OnlyTheBindingNamesIlgpu()
    {
        foreach (string file in Directory.EnumerateFiles(Folder, "*.cs", SearchOption.AllDirectories))
            if (Path.GetRelativePath(Folder, file).Split(Path.DirectorySeparatorChar)[0] is not ("Ilgpu" or "obj" or "bin")) Assert.DoesNotContain("using ILGPU", File.ReadAllText(file));
    }

    /// <summary>This package stands on the table of operations, not on models or the engine.</summary>
    [Fact]
    public void OnlyTheTableOfOperationsIsUsed()
    {
        foreach (string file in Directory.EnumerateFiles(Folder, "*.cs", SearchOption.AllDirectories))
            Assert.All(Using().Matches(File.ReadAllText(file)), m => Assert.DoesNotMatch("^DeepSeek\\.(Caching|Models|Generation|Text|Formats)", m.Groups[1].Value));
    }

    [Fact]
    public void ThePublicFaceIsAsListed() => PublicApi.Check(typeof(GpuDevice).Assembly, Path.Combine(SharedData.Root, "tests", "DeepSeek.Gpu.Tests", "PublicApi.txt"));

    [GeneratedRegex(@"^using ([\w.]+);", RegexOptions.Multiline)]
    private static partial Regex Using();

    [GeneratedRegex(@"//[^\n]*")]
    private static partial Regex Comment();

    [GeneratedRegex(@"\b(throw|try|Span|ReadOnlySpan|string|new \w+\[|stackalloc|MathF?\.|BitConverter|sbyte|short|(?<!static )class)\b")]
    private static partial Regex Forbidden();
}
