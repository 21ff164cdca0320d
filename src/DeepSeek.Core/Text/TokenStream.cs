using System.Text;

namespace DeepSeek.Text;

/// <summary>
/// Turns tokens into text while they come: releases every complete character at once, never half of one and never one again. Ill-formed bytes become U+FFFD
/// as soon as they are known to be ill-formed, one for each maximal subpart (The Unicode Standard, section 3.9). All released text together equals <see
/// cref="Tokenizer.Decode"/> of all tokens. For one thread.
/// </summary>
/// <param name="tokenizer">Whose tokens they are.</param>
/// <param name="skipSpecialTokens">Whether special tokens release nothing.</param>
internal sealed class TokenStream(Tokenizer tokenizer, bool skipSpecialTokens = false)
{
    private readonly Decoder decoder = Encoding.UTF8.GetDecoder();
    private char[] buffer = new char[64];

    /// <summary>What a token releases; valid until the next call.</summary>
    public ReadOnlySpan<char> Add(int id) => skipSpecialTokens && tokenizer.IsControl(id) ? [] : Convert(tokenizer.TokenBytes(id), flush: false);

    /// <summary>What the end of the stream releases: U+FFFD for a character that was never completed. The stream can be used anew afterwards.</summary>
    public ReadOnlySpan<char> Flush() => Convert([], flush: true);

    private ReadOnlySpan<char> Convert(ReadOnlySpan<byte> bytes, bool flush)
    {
        int max = Encoding.UTF8.GetMaxCharCount(bytes.Length);
        if (buffer.Length < max) buffer = new char[max];
        return buffer.AsSpan(0, decoder.GetChars(bytes, buffer, flush));
    }
}
