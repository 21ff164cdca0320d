using System.Text;

namespace DeepSeek.Text;

/// <summary>
/// GPT-2's printable stand-ins for bytes, in which byte-level vocabularies are written: bytes 33–126, 161–172 and 174–255 stand for themselves, the other 68,
/// in ascending order, are U+0100, U+0101, …
/// </summary>
internal static class ByteSymbols
{
    private static readonly char[] Symbols = new char[256];
    private static readonly short[] Bytes = new short[256 + 68];

    static ByteSymbols()
    {
        Array.Fill(Bytes, (short)-1);
        int next = 256;
        for (int b = 0; b < 256; b++)
        {
            Symbols[b] = b is (>= 33 and <= 126) or (>= 161 and <= 172) or (>= 174 and <= 255) ? (char)b : (char)next++;
            Bytes[Symbols[b]] = (short)b;
        }
    }

    /// <summary>The symbol of a byte.</summary>
    public static char SymbolOf(byte b) => Symbols[b];

    /// <summary>The byte of a symbol; -1 where the character is none.</summary>
    public static int ByteOf(char c) => c < Bytes.Length ? Bytes[c] : -1;

    /// <summary>
    /// The bytes that a token stands for: those of its symbols, or, where a character of it is no symbol, its text in UTF-8. Hugging Face's ByteLevel decoder
    /// does so with every token, added ones included.
    /// </summary>
    public static byte[] Decode(string token)
    {
        byte[] bytes = new byte[token.Length];
        for (int i = 0; i < token.Length; i++)
        {
            int b = ByteOf(token[i]);
            if (b < 0) return Encoding.UTF8.GetBytes(token);
            bytes[i] = (byte)b;
        }
        return bytes;
    }
}
