namespace DeepSeek.Text.Unicode;

/// <summary>What a code point is to a pre-tokenizer and to NFC. The values are those of the generated table.</summary>
[Flags]
internal enum CharacterClass : byte
{
    None = 0,

    /// <summary><c>\p{L}</c></summary>
    Letter = 1,

    /// <summary><c>\p{M}</c></summary>
    Mark = 2,

    /// <summary><c>\p{N}</c> of the regular expressions</summary>
    Number = 4,

    /// <summary><c>\p{P}</c></summary>
    Punctuation = 8,

    /// <summary><c>\p{S}</c></summary>
    Symbol = 16,

    /// <summary><c>\s</c></summary>
    Space = 32,

    /// <summary>What the Digits splitter takes (a newer Unicode version than <see cref="Number"/>).</summary>
    Digit = 64,

    /// <summary>Combining class is not 0, or the code point may change or combine with what stands before it under NFC.</summary>
    Unstable = 128,
}
