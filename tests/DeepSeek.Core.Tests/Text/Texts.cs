using System.Text;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Core.Tests.Text;

/// <summary>Generators of texts that splitters stumble over.</summary>
internal static class Texts
{
    private static readonly string[] Awkward =
    [
        " ", "  ", "\n", "\r\n", "\t", "\u0085", "\u00A0", "\u3000", "a", "B", "ſ", "K", "é", "e\u0301", "\u0301", "1", "42", "٣", "²", "Ⅷ", "'", "'s", "'S", "'ll", "'RE", "’", ".", ",", "!", "_", "-", "+", "$",
        "<", "|", ">", "中", "の", "ー", "한", "ᄒ", "ᅡ", "ᆫ", "😀", "👩🏽‍🚀", "𝔄", "𐐀", "\U0001D7CE", "\U00020000", "\u200D", "\uFEFF", "\0", "\uFFFD", "\uE000", "ก็", "\u0344", "Å", "ﬁ", "߽",
    ];

    /// <summary>Well-formed texts of awkward characters and of any others.</summary>
    public static Gen<string> WellFormed { get; } = Gen.Sized(size => Gen.Frequency(
            (6, Gen.Elements(Awkward)),
            (1, Gen.Choose(0, 0x10F7FF).Select(c => char.ConvertFromUtf32(c < 0xD800 ? c : c + 0x800))),
            (1, Gen.Choose(0x20, 0x7E).Select(c => ((char)c).ToString())))
        .ArrayOf().Select(parts => string.Concat(parts)));

    /// <summary>Texts in which some names stand, whole and in parts.</summary>
    public static Gen<string> WithNames(string[] names) => Gen.Frequency(
            (2, Gen.Elements(names)),
            (1, Gen.Elements(names).Select(n => n[..(n.Length / 2)])),
            (1, Gen.Elements(names).Select(n => n[(n.Length / 2)..])),
            (3, WellFormed))
        .ArrayOf().Select(parts => string.Concat(parts));
}
