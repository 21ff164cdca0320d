namespace DeepSeek.Core.Tests;

/// <summary>Where data for tests lies: small data inside the repository, large reference vectors in <c>../shared</c> beside it.</summary>
internal static class SharedData
{
    /// <summary>The repository's root: the nearest folder above the test binary that holds Library.sln.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>The folder of large reference vectors; it may be absent.</summary>
    public static string Folder { get; } = System.IO.Path.GetFullPath(System.IO.Path.Combine(Root, "..", "shared"));

    /// <summary>Why tests over the large vectors are skipped; null where the vectors are there.</summary>
    public static string? Absent { get; } = Directory.Exists(Folder) ? null : "The large reference vectors (../shared beside the repository) are not here.";

    /// <summary>A file or folder of the large vectors.</summary>
    public static string Path(params string[] parts) => System.IO.Path.Combine([Folder, .. parts]);

    /// <summary>A file or folder of tests/data, which every clone has.</summary>
    public static string Local(params string[] parts) => System.IO.Path.Combine([Root, "tests", "data", .. parts]);

    /// <summary>A file or folder of samples/models, which every clone has.</summary>
    public static string Model(params string[] parts) => System.IO.Path.Combine([Root, "samples", "models", .. parts]);

    private static string FindRoot()
    {
        for (DirectoryInfo? d = new(AppContext.BaseDirectory); d is not null; d = d.Parent)
            if (File.Exists(System.IO.Path.Combine(d.FullName, "Library.sln"))) return d.FullName;
        throw new InvalidOperationException("Library.sln is not in any folder above the tests.");
    }
}

/// <summary>A test over the large reference vectors, skipped where they are absent.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class SharedFactAttribute : FactAttribute
{
    public SharedFactAttribute() => Skip = SharedData.Absent;
}

/// <summary>A theory over the large reference vectors, skipped where they are absent.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class SharedTheoryAttribute : TheoryAttribute
{
    public SharedTheoryAttribute() => Skip = SharedData.Absent;
}
