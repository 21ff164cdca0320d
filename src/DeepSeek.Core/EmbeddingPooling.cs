namespace DeepSeek;

/// <summary>How the hidden states of a text become one vector.</summary>
public enum EmbeddingPooling
{
    /// <summary>The state of the last token, which has seen all others: right for most decoder models.</summary>
    LastToken,
    /// <summary>The mean over all tokens.</summary>
    Mean,
}
