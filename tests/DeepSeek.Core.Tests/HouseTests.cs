using System.Text.RegularExpressions;
using DeepSeek.Tests;

namespace DeepSeek.Core.Tests;

/// <summary>Rules of the house that a compiler does not know: the floors of src/README.md, and the public face.</summary>
public partial class HouseTests
{
    /// <summary>Folder of Core → floor. Files in Core's root are floor 0, but for the façade.</summary>
    private static readonly Dictionary<string, int> Floors = new()
    {
        ["Tensors"] = 0, ["Formats"] = 1, ["Text"] = 2, ["Backends"] = 2, ["Caching"] = 3, ["Models"] = 4, ["Generation"] = 5,
    };

    [Fact]
    public void NoFloorUsesOneAbove()
    {
        var wrong = new List<string>();
        string core = Path.Combine(SharedData.Root, "src", "DeepSeek.Core");
        foreach (string file in Sources(core))
        {
            string[] path = Path.GetRelativePath(core, file).Split(Path.DirectorySeparatorChar);
            string folder = path.Length == 1 ? "" : path[0];
            if (path.Length == 1 && (path[0].StartsWith("LanguageModel", StringComparison.Ordinal) && path[0] != "LanguageModelOptions.cs")) continue; // floor 6: the façade may use everything
            Assert.True(folder.Length == 0 || Floors.ContainsKey(folder), $"{folder} is a folder without a floor: give it one in this test and in src/README.md.");
            int floor = folder.Length == 0 ? 0 : Floors[folder];
            foreach (Match m in Reference().Matches(WithoutComments(File.ReadAllText(file))))
            {
                string used = m.Groups[1].Value;
                if (Floors.TryGetValue(used, out int below) && used != folder && (below > floor || (below == floor && floor > 0))) wrong.Add($"{string.Join('/', path)} uses DeepSeek.{used}");
            }
        }
        Assert.Empty(wrong.Distinct());
    }

    [Fact]
    public void WhatIsInAFolderIsInternal()
    {
        string[] allowed = ["DeepSeek.Tokenizer"];
        Assert.DoesNotContain(typeof(Message).Assembly.GetExportedTypes(), t => t.Namespace != "DeepSeek" && !allowed.Contains(t.FullName));
    }

    [Fact]
    public void NamespaceIsFolder()
    {
        var wrong = new List<string>();
        foreach (string project in Directory.GetDirectories(Path.Combine(SharedData.Root, "src")))
        {
            string root = Path.GetFileName(project) == "DeepSeek.Core" ? "DeepSeek" : Path.GetFileName(project);
            foreach (string file in Sources(project))
            {
                string expected = string.Join('.', [root, .. Path.GetRelativePath(project, file).Split(Path.DirectorySeparatorChar)[..^1]]);
                string declared = Namespace().Match(File.ReadAllText(file)).Groups[1].Value;
                // The one public type of a folder is where its users look for it; extension methods for others' types may live in those types' namespace.
                bool exception = (Path.GetFileName(file) == "Tokenizer.cs" && declared == "DeepSeek") || (root == "DeepSeek.Extensions" && declared.StartsWith("Microsoft.Extensions.", StringComparison.Ordinal));
                if (declared != expected && !exception) wrong.Add($"{file}: {declared}, expected {expected}");
            }
        }
        Assert.Empty(wrong);
    }

    [Fact]
    public void ThePublicFaceIsAsListed() => PublicApi.Check(typeof(Message).Assembly, Path.Combine(SharedData.Root, "tests", "DeepSeek.Core.Tests", "PublicApi.txt"));

    private static IEnumerable<string> Sources(string project)
        => Directory.EnumerateFiles(project, "*.cs", SearchOption.AllDirectories).Where(f => !f.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}") && !f.Contains($"{Path.DirectorySeparatorChar}bin{Path.DirectorySeparatorChar}"));

    private static string WithoutComments(string source) => Comment().Replace(source, "");

    [GeneratedRegex(@"\bDeepSeek\.([A-Z]\w*)")]
    private static partial Regex Reference();

    [GeneratedRegex(@"//[^\n]*")]
    private static partial Regex Comment();

    [GeneratedRegex(@"^namespace ([\w.]+);", RegexOptions.Multiline)]
    private static partial Regex Namespace();
}
