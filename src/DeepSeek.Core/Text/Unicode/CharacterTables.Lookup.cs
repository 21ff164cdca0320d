using System.Text;

namespace DeepSeek.Text.Unicode;

/// <summary>Lookups over the generated tables.</summary>
internal static partial class CharacterTables
{
    /// <summary>Classes of U+0000–U+FFFF: the splitters ask once for every character.</summary>
    private static readonly CharacterClass[] Basic = new CharacterClass[0x10000];

    /// <summary>First code points of the runs, ascending, and their classes.</summary>
    private static readonly int[] RunStarts = new int[ClassRuns.Length / 2];
    private static readonly CharacterClass[] RunClasses = new CharacterClass[ClassRuns.Length / 2];

    static CharacterTables()
    {
        int start = 0;
        for (int i = 0; i < RunStarts.Length; i++)
        {
            RunStarts[i] = start += ClassRuns[2 * i];
            RunClasses[i] = (CharacterClass)ClassRuns[2 * i + 1];
        }
        for (int i = 0; i < RunStarts.Length && RunStarts[i] < Basic.Length; i++)
        {
            int end = i + 1 < RunStarts.Length ? Math.Min(RunStarts[i + 1], Basic.Length) : Basic.Length;
            Basic.AsSpan(RunStarts[i], end - RunStarts[i]).Fill(RunClasses[i]);
        }
    }

    /// <summary>Class of one UTF-16 unit that is no surrogate.</summary>
    public static CharacterClass Of(char c) => Basic[c];

    /// <summary>Class of a code point.</summary>
    public static CharacterClass Of(int codePoint)
    {
        if (codePoint < 0x10000) return Basic[codePoint];
        int i = Array.BinarySearch(RunStarts, codePoint);
        return RunClasses[i >= 0 ? i : ~i - 1];
    }

    /// <summary>Class of the code point at <paramref name="index"/> and its length in UTF-16 units. The text has no lone surrogates.</summary>
    public static CharacterClass At(ReadOnlySpan<char> text, int index, out int length)
    {
        char c = text[index];
        if (!char.IsHighSurrogate(c) || index + 1 >= text.Length)
        {
            length = 1;
            return Basic[c];
        }
        length = 2;
        return Of(char.ConvertToUtf32(c, text[index + 1]));
    }

    /// <summary>The code point at <paramref name="index"/>. The text has no lone surrogates.</summary>
    public static int CodePointAt(ReadOnlySpan<char> text, int index, out int length)
    {
        char c = text[index];
        length = 1;
        if (!char.IsHighSurrogate(c) || index + 1 >= text.Length) return c;
        length = 2;
        return char.ConvertToUtf32(c, text[index + 1]);
    }

    /// <summary>Calls <paramref name="visit"/> for every run [start, end] whose class has one of the bits.</summary>
    public static void ForEachRun(CharacterClass bits, Action<int, int> visit)
    {
        for (int i = 0; i < RunStarts.Length; i++)
            if ((RunClasses[i] & bits) != 0) visit(RunStarts[i], (i + 1 < RunStarts.Length ? RunStarts[i + 1] : 0x110000) - 1);
    }

    /// <summary>The same text with U+FFFD in place of each surrogate that has no partner: what its UTF-8 form would say.</summary>
    public static ReadOnlySpan<char> Repair(ReadOnlySpan<char> text)
    {
        char[]? copy = null;
        for (int i = text.IndexOfAnyInRange('\uD800', '\uDFFF'); i >= 0 && i < text.Length; i++)
        {
            if (!char.IsSurrogate(text[i])) continue;
            if (char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1])) i++;
            else (copy ??= text.ToArray())[i] = (char)Rune.ReplacementChar.Value;
        }
        return copy ?? text;
    }
}
