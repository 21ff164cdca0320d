namespace DeepSeek.Formats;

/// <summary>Reads the small files of a model's folder.</summary>
internal static class FolderFiles
{
    /// <summary>More than any published index or tokenizer needs.</summary>
    private const long MaxBytes = 1L << 28;

    /// <summary>The bytes of a file; null where there is none.</summary>
    /// <exception cref="InvalidModelFileException">It cannot be read, or is implausibly large.</exception>
    public static byte[]? Bytes(string folder, string name)
    {
        string path = Path.Combine(folder, name);
        if (!File.Exists(path)) return null;
        try
        {
            long length = new FileInfo(path).Length;
            return length <= MaxBytes ? File.ReadAllBytes(path) : throw new InvalidModelFileException($"'{path}' has {length} bytes, which cannot be: expected at most {MaxBytes}.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InvalidModelFileException($"The file '{path}' cannot be read: {e.Message}", e);
        }
    }

    /// <summary>A JSON object; null where there is no such file.</summary>
    /// <exception cref="InvalidModelFileException">It cannot be read or is no JSON object.</exception>
    public static ModelConfig? Json(string folder, string name) => Bytes(folder, name) is { } bytes ? ModelConfig.Parse(bytes, Path.Combine(folder, name)) : null;
}
