using DeepSeek.Text.Unicode;

namespace DeepSeek.Text.Splitting;

/// <summary>What becomes of matches; the names are those of tokenizer.json.</summary>
internal enum SplitBehavior { Isolated, Removed, MergedWithPrevious, MergedWithNext, Contiguous }

/// <summary>One step of a pre-tokenizer.</summary>
/// <param name="Splitter">Finds the matches.</param>
/// <param name="Behavior">What becomes of them.</param>
/// <param name="Invert">Whether matches and gaps change places.</param>
internal sealed record SplitStage(Splitter Splitter, SplitBehavior Behavior = SplitBehavior.Isolated, bool Invert = false);

/// <summary>Receives the pieces of a text in order.</summary>
internal interface IPieceSink
{
    void Add(ReadOnlySpan<char> piece);
}

/// <summary>Cuts a text into the pieces that byte-pair encoding works on: each stage cuts the pieces of the stage before. Immutable, thread-safe.</summary>
/// <param name="stages">The stages in order; none = the text is one piece.</param>
/// <param name="prefixSpace">Whether a space is put in front of a text that does not begin with one.</param>
internal sealed class PreTokenizer(IReadOnlyList<SplitStage> stages, bool prefixSpace = false)
{
    /// <summary>The rule that a GGUF file names with <c>tokenizer.ggml.pre</c>; names as llama.cpp's converter writes them.</summary>
    /// <exception cref="UnsupportedModelException">This library does not know the name.</exception>
    public static PreTokenizer ForName(string name) => name switch
    {
        "gpt-2" => Of(KnownPatterns.Gpt2),
        "smollm" or "starcoder" => new([Digits(true), Stage(KnownPatterns.Gpt2)]),
        "qwen2" or "deepseek-r1-qwen" => Of(KnownPatterns.Qwen2),
        "qwen35" => Of(KnownPatterns.Qwen35),
        "llama-bpe" or "llama3" or "llama-v3" => Of(KnownPatterns.Llama3),
        "deepseek-v3" or "joyai-llm" => Of(KnownPatterns.ThreeDigits, KnownPatterns.ChineseAndJapanese, KnownPatterns.DeepSeekV3),
        "deepseek-llm" => new([Stage(KnownPatterns.LineBreak), Stage(KnownPatterns.CasedWord), Stage(KnownPatterns.DeepSeekPunctuation), Stage(KnownPatterns.BlanksAtEnd),
            Stage(KnownPatterns.ChineseAndKorean), Digits(true)]),
        "deepseek-coder" => new([Stage(KnownPatterns.LineBreak), Stage(KnownPatterns.LetterWord),
            Stage(KnownPatterns.PunctuationWord), Stage(KnownPatterns.ChineseAndKorean), Digits(true)]),
        "default" => Of(@"[\p{P}\$\+<=>\^~\|]+", KnownPatterns.Gpt2, @"\p{N}+", "[0-9][0-9][0-9]"),
        _ => throw new UnsupportedModelException($"The file's tokenizer cuts text by the rule '{name}' (tokenizer.ggml.pre), which this library does not know. "
            + "Known are: gpt-2, smollm, starcoder, "
            + "qwen2, qwen35, deepseek-r1-qwen, llama-bpe, deepseek-llm, deepseek-coder, deepseek-v3, joyai-llm, default. "
            + "A Hugging Face folder of the model carries its rule in tokenizer.json; try that."),
    };

    public static SplitStage Stage(string expression) => new(KnownPatterns.Create(expression));

    /// <summary>Hugging Face's Digits: each digit a piece, or each run of them.</summary>
    public static SplitStage Digits(bool individual) => new(new RunSplitter(null, new RuneSet().Add(CharacterClass.Digit), individual ? 1 : int.MaxValue, false));

    /// <summary>Hands the pieces of a well-formed text to the sink; none is empty.</summary>
    public void Split<TSink>(ReadOnlySpan<char> text, TSink sink) where TSink : class, IPieceSink
    {
        if (text.IsEmpty) return;
        if (prefixSpace && text[0] != ' ') text = string.Concat(" ", text);
        Split(0, text, sink);
    }

    private static PreTokenizer Of(params string[] expressions) => new([.. expressions.Select(Stage)]);

    private void Split<TSink>(int index, ReadOnlySpan<char> text, TSink sink) where TSink : class, IPieceSink
    {
        if (index == stages.Count) { sink.Add(text); return; }
        SplitStage stage = stages[index];
        if (stage.Behavior != SplitBehavior.Isolated) { SplitOtherwise(index, text, sink); return; }
        SearchMemory? memory = null;
        int done = 0;
        for (int from = 0; from <= text.Length && stage.Splitter.Find(text, from, ref memory, out int start, out int end); from = Next(text, start, end))
        {
            if (start > done) Split(index + 1, text[done..start], sink);
            if (end > start) Split(index + 1, text[start..end], sink);
            done = end;
        }
        if (done < text.Length) Split(index + 1, text[done..], sink);
    }

    /// <summary>Where the next search begins: behind the match, or a character further where it was empty.</summary>
    private static int Next(ReadOnlySpan<char> text, int start, int end)
    {
        if (end > start) return end;
        return end + (end + 1 < text.Length && char.IsHighSurrogate(text[end]) ? 2 : 1);
    }

    private void SplitOtherwise<TSink>(int index, ReadOnlySpan<char> text, TSink sink) where TSink : class, IPieceSink
    {
        SplitStage stage = stages[index];
        var parts = new List<(int Start, int End, bool Match)>();
        SearchMemory? memory = null;
        int done = 0;
        for (int from = 0; from <= text.Length && stage.Splitter.Find(text, from, ref memory, out int start, out int end); from = Next(text, start, end))
        {
            if (start > done) parts.Add((done, start, stage.Invert));
            parts.Add((start, end, !stage.Invert));
            done = end;
        }
        if (done < text.Length) parts.Add((done, text.Length, stage.Invert));
        foreach ((int start, int end) in Merge(parts, stage.Behavior))
            if (end > start) Split(index + 1, text[start..end], sink);
    }

    private static List<(int Start, int End)> Merge(List<(int Start, int End, bool Match)> parts, SplitBehavior behavior)
    {
        var merged = new List<(int Start, int End)>();
        bool previousMatch = false;
        for (int i = 0; i < parts.Count; i++)
        {
            (int start, int end, bool match) = parts[i];
            bool join = merged.Count > 0 && behavior switch
            {
                SplitBehavior.MergedWithPrevious => match && !previousMatch,
                SplitBehavior.MergedWithNext => previousMatch && !match,
                SplitBehavior.Contiguous => match == previousMatch,
                _ => false,
            };
            if (behavior == SplitBehavior.Removed && match) { }
            else if (join) merged[^1] = (merged[^1].Start, end);
            else merged.Add((start, end));
            previousMatch = match;
        }
        return merged;
    }
}
