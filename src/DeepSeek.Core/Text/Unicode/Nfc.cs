using System.Runtime.InteropServices;

namespace DeepSeek.Text.Unicode;

/// <summary>
/// Canonical composition (UAX #15, https://www.unicode.org/reports/tr15/). Our own, because the runtime's needs ICU, which is absent where globalisation is
/// invariant, and because the tables must be those of the tokenizers that the models were trained with.
/// </summary>
internal static class Nfc
{
    // Hangul syllables are composed by arithmetic: The Unicode Standard, section 3.12.
    private const int SBase = 0xAC00, LBase = 0x1100, VBase = 0x1161, TBase = 0x11A7, LCount = 19, VCount = 21, TCount = 28, SCount = LCount * VCount * TCount;

    private static readonly Dictionary<int, (int First, int Second)> Decompose = [];
    private static readonly Dictionary<long, int> Compose = [];
    private static readonly Dictionary<int, byte> Combining = [];

    static Nfc()
    {
        ReadOnlySpan<int> d = CharacterTables.DecompositionData;
        for (int i = 0, code = 0; i < d.Length; i += 3)
        {
            code += d[i];
            Decompose[code] = (d[i + 1], Math.Abs(d[i + 2]));
            if (d[i + 2] > 0) Compose[Pair(d[i + 1], d[i + 2])] = code;
        }
        ReadOnlySpan<int> c = CharacterTables.CombiningData;
        for (int i = 0, end = 0; i < c.Length; i += 3)
        {
            int start = end + c[i];
            end = start + c[i + 1] - 1;
            for (int code = start; code <= end; code++) Combining[code] = (byte)c[i + 2];
        }
    }

    /// <summary>Whether the text has no code point that NFC could change: then it is normalised already.</summary>
    public static bool IsStable(ReadOnlySpan<char> text) => NextUnstable(text, 0) == text.Length;

    /// <summary>
    /// The text in NFC. <paramref name="mask"/>, where given, says something of each UTF-16 unit and is carried over: a unit of the result is marked where
    /// any unit of the stretch that it was made from is.
    /// </summary>
    public static string Normalize(ReadOnlySpan<char> text, ReadOnlySpan<bool> mask, List<bool>? newMask)
    {
        var result = new List<char>(text.Length);
        var codes = new List<int>();
        int done = 0;
        while (done < text.Length)
        {
            int unstable = NextUnstable(text, done);
            if (unstable == text.Length) { Copy(text, mask, done, unstable, result, newMask); break; }
            // The code point in front may take the unstable ones into itself.
            int start = unstable;
            if (start > done) start -= start - 2 >= done && char.IsLowSurrogate(text[start - 1]) ? 2 : 1;
            Copy(text, mask, done, start, result, newMask);
            int end = start;
            codes.Clear();
            while (end < text.Length)
            {
                CharacterClass k = CharacterTables.At(text, end, out int length);
                if (end > start && (k & CharacterClass.Unstable) == 0) break;
                Expand(CharacterTables.CodePointAt(text, end, out _), codes);
                end += length;
            }
            Order(codes);
            Recompose(codes);
            int before = result.Count;
            foreach (int code in codes)
            {
                if (code < 0x10000) { result.Add((char)code); continue; }
                result.Add((char)(0xD800 + ((code - 0x10000) >> 10)));
                result.Add((char)(0xDC00 + (code & 0x3FF)));
            }
            if (newMask is not null)
            {
                bool marked = mask[start..end].Contains(true);
                for (int i = before; i < result.Count; i++) newMask.Add(marked);
            }
            done = end;
        }
        return new string(CollectionsMarshal.AsSpan(result));
    }

    private static int NextUnstable(ReadOnlySpan<char> text, int index)
    {
        while (true)
        {
            // All code points below U+0300 are stable.
            int next = text[index..].IndexOfAnyExceptInRange('\0', '\u02FF');
            if (next < 0) return text.Length;
            index += next;
            if ((CharacterTables.At(text, index, out int length) & CharacterClass.Unstable) != 0) return index;
            index += length;
        }
    }

    private static void Copy(ReadOnlySpan<char> text, ReadOnlySpan<bool> mask, int start, int end, List<char> result, List<bool>? newMask)
    {
        result.AddRange(text[start..end]);
        newMask?.AddRange(mask[start..end]);
    }

    private static void Expand(int code, List<int> codes)
    {
        int s = code - SBase;
        if (s is >= 0 and < SCount)
        {
            codes.Add(LBase + s / (VCount * TCount));
            codes.Add(VBase + s % (VCount * TCount) / TCount);
            if (s % TCount != 0) codes.Add(TBase + s % TCount);
        }
        else if (Decompose.TryGetValue(code, out (int First, int Second) d))
        {
            Expand(d.First, codes);
            if (d.Second != 0) Expand(d.Second, codes);
        }
        else
        {
            codes.Add(code);
        }
    }

    /// <summary>Canonical ordering: each run of non-starters sorted by combining class, stably.</summary>
    private static void Order(List<int> codes)
    {
        List<(byte Class, int Index, int Code)>? run = null;
        for (int i = 0; i < codes.Count; i++)
        {
            if (ClassOf(codes[i]) == 0) continue;
            int end = i;
            (run ??= []).Clear();
            for (; end < codes.Count && ClassOf(codes[end]) is var k and not 0; end++) run.Add((k, end, codes[end]));
            if (run.Count > 1)
            {
                run.Sort();
                for (int j = 0; j < run.Count; j++) codes[i + j] = run[j].Code;
            }
            i = end;
        }
    }

    private static void Recompose(List<int> codes)
    {
        int starter = -1, kept = 0, lastClass = -1;
        foreach (int code in CollectionsMarshal.AsSpan(codes))
        {
            int k = ClassOf(code);
            // A code point is blocked from the starter by one between them of class 0 or of the same or a higher class.
            if (starter >= 0 && (lastClass < k || lastClass == -1) && TryCompose(codes[starter], code, out int composed))
            {
                codes[starter] = composed;
                continue;
            }
            if (k == 0) { starter = kept; lastClass = -1; }
            else lastClass = k;
            codes[kept++] = code;
        }
        codes.RemoveRange(kept, codes.Count - kept);
    }

    private static bool TryCompose(int first, int second, out int composed)
    {
        int l = first - LBase, v = second - VBase, s = first - SBase, t = second - TBase;
        if (l is >= 0 and < LCount && v is >= 0 and < VCount) { composed = SBase + (l * VCount + v) * TCount; return true; }
        if (s is >= 0 and < SCount && s % TCount == 0 && t is > 0 and < TCount) { composed = first + t; return true; }
        return Compose.TryGetValue(Pair(first, second), out composed);
    }

    private static byte ClassOf(int code) => Combining.GetValueOrDefault(code);

    private static long Pair(int first, int second) => ((long)first << 32) | (uint)second;
}
