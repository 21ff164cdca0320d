using DeepSeek.Text.Unicode;

namespace DeepSeek.Text.Splitting;

/// <summary>
/// The word patterns of the large model families by hand: a table lookup for each character and no backtracking. <see cref="KnownPatterns"/> has the
/// expressions; the tests hold each of these to <see cref="PatternSplitter"/>'s evaluation of its expression.
/// </summary>
internal abstract class WordSplitter : Splitter
{
    public sealed override bool Find(ReadOnlySpan<char> text, int from, ref SearchMemory? memory, out int start, out int end)
    {
        for (start = from; start < text.Length;)
        {
            end = Match(text, start);
            if (end > start) return true;
            CharacterTables.At(text, start, out int length);
            start += length;
        }
        start = end = text.Length;
        return false;
    }

    /// <summary>Where the match that starts here ends; <paramref name="i"/> itself where none starts here.</summary>
    protected abstract int Match(ReadOnlySpan<char> text, int i);

    /// <summary>The end of the run of characters that have one of the classes (or, with <paramref name="none"/>, that have none of them).</summary>
    protected static int Run(ReadOnlySpan<char> text, int i, CharacterClass classes, bool none = false)
    {
        while (i < text.Length && (CharacterTables.At(text, i, out int length) & classes) != 0 != none) i += length;
        return i;
    }

    protected static int LineBreaks(ReadOnlySpan<char> text, int i)
    {
        while (i < text.Length && text[i] is '\r' or '\n') i++;
        return i;
    }

    /// <summary><c>\s*[\r\n]+|\s+(?!\S)|\s+</c> (or without its first part) where text[i] is white space.</summary>
    protected static int Blanks(ReadOnlySpan<char> text, int i, bool lines)
    {
        int end = Run(text, i, CharacterClass.Space);
        if (lines && text[i..end].LastIndexOfAny('\r', '\n') is >= 0 and int last) return i + last + 1;
        // The last blank in front of a word belongs to the word; all white space is in the Basic Multilingual Plane.
        return end < text.Length && end - i > 1 ? end - 1 : end;
    }

    /// <summary>The end of <c>'s|'t|'re|'ve|'m|'ll|'d</c> where text[i] is an apostrophe, else i.</summary>
    protected static int Contraction(ReadOnlySpan<char> text, int i, bool ignoreCase)
    {
        if (i + 1 >= text.Length) return i;
        char a = Fold(text[i + 1], ignoreCase);
        if (a is 's' or 't' or 'm' or 'd') return i + 2;
        if (i + 2 >= text.Length) return i;
        return (a, Fold(text[i + 2], ignoreCase)) is ('r', 'e') or ('v', 'e') or ('l', 'l') ? i + 3 : i;
    }

    // Unicode's case folding makes U+017F an s.
    private static char Fold(char c, bool ignoreCase) => !ignoreCase ? c : c == '\u017F' ? 's' : char.IsAsciiLetterUpper(c) ? (char)(c | 0x20) : c;
}

/// <summary>GPT-2: <see cref="KnownPatterns.Gpt2"/>.</summary>
internal sealed class Gpt2Splitter : WordSplitter
{
    protected override int Match(ReadOnlySpan<char> text, int i)
    {
        if (text[i] == '\'' && Contraction(text, i, false) is var end && end > i) return end;
        int first = text[i] == ' ' && i + 1 < text.Length ? i + 1 : i;
        CharacterClass k = CharacterTables.At(text, first, out int length);
        if ((k & CharacterClass.Letter) != 0) return Run(text, first + length, CharacterClass.Letter);
        if ((k & CharacterClass.Number) != 0) return Run(text, first + length, CharacterClass.Number);
        if ((k & CharacterClass.Space) == 0) return Run(text, first + length, CharacterClass.Space | CharacterClass.Letter | CharacterClass.Number, none: true);
        return Blanks(text, i, lines: false);
    }
}

/// <summary>
/// Llama 3, Qwen 2 and 3, Qwen 3.5: <see cref="KnownPatterns.Llama3"/>, <see cref="KnownPatterns.Qwen2"/>, <see cref="KnownPatterns.Qwen35"/>.
/// </summary>
/// <param name="digits">So many digits at most make a piece.</param>
/// <param name="marks">Whether combining marks belong to words.</param>
internal sealed class LlamaSplitter(int digits, bool marks) : WordSplitter
{
    private readonly CharacterClass word = CharacterClass.Letter | (marks ? CharacterClass.Mark : 0);

    protected override int Match(ReadOnlySpan<char> text, int i)
    {
        char c = text[i];
        if (c == '\'' && Contraction(text, i, true) is var contraction && contraction > i) return contraction;
        CharacterClass k = CharacterTables.At(text, i, out int length);
        int next = i + length;
        // [^\r\n\p{L}\p{N}]?\p{L}+
        if ((k & CharacterClass.Letter) != 0) return Run(text, next, word);
        if ((k & CharacterClass.Number) != 0)
        {
            for (int count = 1; count < digits && next < text.Length && (CharacterTables.At(text, next, out length) & CharacterClass.Number) != 0; count++) next += length;
            return next;
        }
        CharacterClass second = next < text.Length ? CharacterTables.At(text, next, out length) : CharacterClass.None;
        if (c is not ('\r' or '\n') && (second & word) != 0) return Run(text, next + length, word);
        if ((k & word) != 0) return next;
        // " ?[^\s\p{L}\p{N}]+[\r\n]*"
        CharacterClass outside = CharacterClass.Space | CharacterClass.Number | word;
        if ((k & CharacterClass.Space) == 0) return LineBreaks(text, Run(text, next, outside, none: true));
        if (c == ' ' && next < text.Length && (second & outside) == 0) return LineBreaks(text, Run(text, next + length, outside, none: true));
        return Blanks(text, i, lines: true);
    }
}

/// <summary>DeepSeek-V3, R1, V3.1, V3.2, V4, behind the splitters of numbers and of Chinese and Japanese: <see cref="KnownPatterns.DeepSeekV3"/>.</summary>
internal sealed class DeepSeekSplitter : WordSplitter
{
    private const CharacterClass Word = CharacterClass.Letter | CharacterClass.Mark, Sign = CharacterClass.Punctuation | CharacterClass.Symbol;

    protected override int Match(ReadOnlySpan<char> text, int i)
    {
        char c = text[i];
        if (c < 0x80 && char.IsAsciiLetter(c)) return Run(text, i + 1, Word);
        CharacterClass k = CharacterTables.At(text, i, out int length);
        int next = i + length;
        // An ASCII punctuation mark or symbol and ASCII letters.
        if (c < 0x80 && (k & Sign) != 0 && next < text.Length && char.IsAsciiLetter(text[next]))
        {
            do next++; while (next < text.Length && char.IsAsciiLetter(text[next]));
            return next;
        }
        if ((k & CharacterClass.Letter) != 0) return Run(text, next, Word);
        CharacterClass second = next < text.Length ? CharacterTables.At(text, next, out length) : CharacterClass.None;
        // [^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+
        if (c is not ('\r' or '\n') && (k & Sign) == 0 && (second & Word) != 0) return Run(text, next + length, Word);
        if ((k & CharacterClass.Mark) != 0) return next;
        // " ?[\p{P}\p{S}]+[\r\n]*"
        if ((k & Sign) != 0) return LineBreaks(text, Run(text, next, Sign));
        if (c == ' ' && (second & Sign) != 0) return LineBreaks(text, Run(text, next + length, Sign));
        return (k & CharacterClass.Space) != 0 ? Blanks(text, i, lines: true) : i;
    }
}
