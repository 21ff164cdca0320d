using System.Reflection;
using System.Runtime.CompilerServices;
using DeepSeek.Tests;

namespace DeepSeek.Extensions.Tests;

public class HouseTests
{
    private static readonly Assembly Extensions = typeof(LanguageModelExtensions).Assembly;

    [Fact]
    public void ThePublicFaceIsAsListed() => PublicApi.Check(Extensions, Path.Combine(Models.Root, "tests", "DeepSeek.Extensions.Tests", "PublicApi.txt"));

    /// <summary>A friend could reach inside; this package must be possible for anybody to write.</summary>
    [Fact]
    public void OnlyThePublicFaceOfCoreIsUsed()
        => Assert.DoesNotContain(typeof(LanguageModel).Assembly.GetCustomAttributes<InternalsVisibleToAttribute>(), a => a.AssemblyName.Split(',')[0] == Extensions.GetName().Name);

    /// <summary>Besides abstractions, only options and what binds them (<c>Bind</c> is compiled in from Microsoft.Extensions.Configuration).</summary>
    [Fact]
    public void OnlyAbstractionsAreReferenced()
    {
        string[] allowed = ["DeepSeek.Core", "Microsoft.Extensions.Options", "Microsoft.Extensions.Options.ConfigurationExtensions", "Microsoft.Extensions.Configuration.Binder", "Microsoft.Extensions.Configuration"];
        Assert.DoesNotContain(Extensions.GetReferencedAssemblies().Select(a => a.Name!),
            n => !n.StartsWith("System.", StringComparison.Ordinal) && !n.EndsWith(".Abstractions", StringComparison.Ordinal) && !allowed.Contains(n));
    }
}
