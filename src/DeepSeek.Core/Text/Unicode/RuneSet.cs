using System.Globalization;

namespace DeepSeek.Text.Unicode;

/// <summary>A set of code points, one bit each (136 KiB): membership is one lookup, whatever the set was made of.</summary>
internal sealed class RuneSet
{
    private readonly ulong[] bits = new ulong[0x110000 / 64];

    public bool Contains(int codePoint) => (bits[codePoint >> 6] >> (codePoint & 63) & 1) != 0;

    /// <summary>Whether the code point at <paramref name="index"/> is in the set, and its length in UTF-16 units.</summary>
    public bool ContainsAt(ReadOnlySpan<char> text, int index, out int length) => Contains(CharacterTables.CodePointAt(text, index, out length));

    public RuneSet Add(int codePoint)
    {
        bits[codePoint >> 6] |= 1UL << (codePoint & 63);
        return this;
    }

    public RuneSet Add(int first, int last)
    {
        for (int c = first; c <= last;)
        {
            if ((c & 63) == 0 && last - c >= 63) { bits[c >> 6] = ulong.MaxValue; c += 64; }
            else Add(c++);
        }
        return this;
    }

    public RuneSet Add(CharacterClass classes)
    {
        CharacterTables.ForEachRun(classes, (first, last) => Add(first, last));
        return this;
    }

    /// <summary>Letters of one subcategory (Lu, Ll, …), which the measured tables do not tell apart: the runtime's word for it.</summary>
    public RuneSet AddLetters(UnicodeCategory category)
    {
        CharacterTables.ForEachRun(CharacterClass.Letter, (first, last) =>
        {
            for (int c = first; c <= last; c++)
                if (CharUnicodeInfo.GetUnicodeCategory(c) == category) Add(c);
        });
        return this;
    }

    public RuneSet Add(RuneSet other)
    {
        for (int i = 0; i < bits.Length; i++) bits[i] |= other.bits[i];
        return this;
    }

    public RuneSet IntersectWith(RuneSet other)
    {
        for (int i = 0; i < bits.Length; i++) bits[i] &= other.bits[i];
        return this;
    }

    public RuneSet Invert()
    {
        for (int i = 0; i < bits.Length; i++) bits[i] = ~bits[i];
        return this;
    }

    /// <summary>Adds what Unicode's case folding treats as the same letter as an ASCII letter of the set; U+017F is an s and U+212A a k.</summary>
    public RuneSet CloseUnderAsciiCase()
    {
        for (int c = 'a'; c <= 'z'; c++)
        {
            int special = c == 's' ? 0x17F : c == 'k' ? 0x212A : c;
            if (!Contains(c) && !Contains(c - 32) && !Contains(special)) continue;
            Add(c).Add(c - 32).Add(special);
        }
        return this;
    }
}
