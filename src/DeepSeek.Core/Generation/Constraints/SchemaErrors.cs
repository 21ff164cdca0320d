namespace DeepSeek.Generation.Constraints;

/// <summary>The errors of schema compilation; each names a keyword and where it stands.</summary>
internal static class SchemaErrors
{
    /// <summary>The key under which <see cref="Exception.Data"/> holds the keyword.</summary>
    public const string KeywordKey = "keyword";

    public static UnsupportedModelException Refused(string keyword, string pointer, string reason)
    {
        var e = new UnsupportedModelException($"The schema keyword '{keyword}' at '{Place(pointer)}' cannot be enforced: {reason.TrimEnd('.')}. Leave it out, or check the answer yourself.");
        e.Data[KeywordKey] = keyword;
        return e;
    }

    public static InvalidOptionException Malformed(string keyword, string pointer, string reason) =>
        new($"The schema is malformed: '{keyword}' at '{Place(pointer)}' {reason}.");

    private static string Place(string pointer) => pointer.Length == 0 ? "#" : "#" + (pointer.Length > 200 ? pointer[..200] + "…" : pointer);
}
