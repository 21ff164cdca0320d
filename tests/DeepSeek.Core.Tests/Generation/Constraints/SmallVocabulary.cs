using System.Text;
using DeepSeek.Generation.Constraints;

namespace DeepSeek.Core.Tests.Generation.Constraints;

/// <summary>Every byte, some pieces of JSON and half characters, a named token, an end token, and rows that stand for nothing.</summary>
internal static class SmallVocabulary
{
    private static readonly string[] Pieces =
    [
        "{\"", "\":", "\": ", "\",\"", "\", \"", "\"}", "}}", "\"]", "]}", "[]", "{}", "[[", "null", "true", "false", "nu", "ll", "12", "00", "-1", ".5", "e5", "name", "kind", "age",
        "\\u", "\\n", "\\\\", "\\\"", "00e", "é", "漢字", "😀", "aa", "ab", "ba", "  ", ", ", "1,", "2]", "\"a\"", "\"a\":", "\"a\":1", "}, {\"", "-", "202", "T1", "red", "green", "\"red\"",
    ];

    private static readonly byte[][] Halves = [[0xE6, 0xBC], [0xA2, 0x22], [0xF0, 0x9F], [0x98, 0x80, 0x22, 0x7D], [0xC3], [0x61, 0xC3]];

    private static readonly byte[][] Spellings = [.. Enumerable.Range(0, 256).Select(b => new[] { (byte)b }), .. Pieces.Select(Encoding.UTF8.GetBytes), .. Halves, [], Encoding.UTF8.GetBytes("<end>")];

    public static int Named => Spellings.Length - 2;

    public static int End => Spellings.Length - 1;

    public static int Rows => Spellings.Length + 13;

    public static TokenTrie Trie { get; } = TokenTrie.Of(Spellings.Length, Rows, id => Spellings[id], id => id == Named, [End]);

    public static ReadOnlySpan<byte> Bytes(int token) => Spellings[token];

    /// <summary>Without some single bytes.</summary>
    public static TokenTrie Without(params byte[] bytes) => TokenTrie.Of(Spellings.Length, Rows, id => Spellings[id] is [var b] && bytes.Contains(b) ? [] : Spellings[id], id => id == Named, [End]);
}
