namespace DeepSeek;

/// <summary>A conversation as the model sees it.</summary>
/// <param name="Text">The prompt that the chat template wrote; calls that the model wrote lately stand as it wrote them.</param>
/// <param name="Tokens">The same as token ids; what is processed.</param>
public sealed record PromptPreview(string Text, IReadOnlyList<int> Tokens)
{
    /// <summary>Length in tokens.</summary>
    public int TokenCount => Tokens.Count;
}
