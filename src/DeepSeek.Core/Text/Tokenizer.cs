using System.Runtime.InteropServices;
using System.Text;
using DeepSeek.Text;
using DeepSeek.Text.Splitting;
using DeepSeek.Text.Unicode;

namespace DeepSeek;

/// <summary>
/// Turns text into the token ids that a model works on, and back. Immutable and thread-safe; the ids are those of Hugging Face's <c>tokenizers</c>.
/// </summary>
public sealed class Tokenizer
{
    /// <summary>Tokens that end a turn in one model family or another, wherever a vocabulary has them as added tokens.</summary>
    private static readonly string[] EndOfTurnNames = ["<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|EOT|>", "<|endoftext|>", "<|end_of_text|>", "<｜end▁of▁sentence｜>"];

    private readonly BpeTokenizer bpe;
    private readonly PreTokenizer preTokenizer;
    private readonly bool nfc;
    private readonly AddedTokens rawTokens, normalizedTokens;
    private readonly Dictionary<string, int> idOf;
    private readonly string?[] texts;
    private readonly byte[] bytes;
    private readonly int[] byteEnds;
    private readonly bool[] added, special;

    internal Tokenizer(TokenizerDefinition definition)
    {
        (texts, idOf) = definition.Index();
        bpe = definition.CreateModel();
        (preTokenizer, nfc) = (definition.PreTokenizer, definition.Nfc);
        added = new bool[texts.Length];
        special = new bool[texts.Length];
        foreach (AddedToken token in definition.Added) (added[token.Id], special[token.Id]) = (true, token.IsSpecial);
        rawTokens = new AddedTokens(definition.Added.Where(t => !t.IsNormalized));
        normalizedTokens = new AddedTokens(definition.Added.Where(t => t.IsNormalized).Select(t => nfc ? t with { Content = Nfc.Normalize(t.Content, [], null) } : t));
        byteEnds = new int[texts.Length + 1];
        var all = new MemoryStream();
        for (int id = 0; id < texts.Length; id++)
        {
            if (texts[id] is { } text && !definition.Padding.ContainsKey(id)) all.Write(ByteSymbols.Decode(text));
            byteEnds[id + 1] = (int)all.Length;
        }
        bytes = all.ToArray();
        (BeginningOfSequenceId, EndOfSequenceId, AddBeginningOfSequence) = (definition.BeginningOfSequenceId, definition.EndOfSequenceId, definition.AddBeginningOfSequence);
        var ends = new SortedSet<int>(definition.EndIds);
        if (EndOfSequenceId is { } eos) ends.Add(eos);
        foreach (string name in EndOfTurnNames)
            if (idOf.TryGetValue(name, out int id) && added[id]) ends.Add(id);
        EndOfTurnIds = ends;
    }

    /// <summary>Number of token ids: all ids are below it. The model's embedding may have more rows, which stand for nothing.</summary>
    public int VocabularySize => texts.Length;

    /// <summary>The token that begins a sequence; null where the model has none.</summary>
    public int? BeginningOfSequenceId { get; }

    /// <summary>The token that ends a sequence; null where the model has none.</summary>
    public int? EndOfSequenceId { get; }

    /// <summary>
    /// Whether a raw text begins with <see cref="BeginningOfSequenceId"/> for this model. <see cref="Encode(string, bool)"/> never adds it; chat templates
    /// write it themselves.
    /// </summary>
    public bool AddBeginningOfSequence { get; }

    /// <summary>
    /// All tokens that end a model's turn: <see cref="EndOfSequenceId"/>, the configuration's others, and those of its vocabulary that are known to.
    /// </summary>
    public IReadOnlySet<int> EndOfTurnIds { get; }

    /// <summary>Reads a tokenizer from a GGUF file, a Hugging Face folder, or a <c>tokenizer.json</c> (also compressed, <c>.gz</c>).</summary>
    /// <param name="path">The file or folder.</param>
    /// <exception cref="InvalidModelFileException">The file is broken or contradicts itself.</exception>
    /// <exception cref="UnsupportedModelException">It asks for something that this library does not implement.</exception>
    public static Tokenizer Load(string path) => TokenizerFiles.Load(path);

    /// <summary>The token ids of a text. No token is added in front or behind.</summary>
    /// <param name="text">The text; an unpaired surrogate counts as U+FFFD.</param>
    /// <param name="parseSpecialTokens">
    /// Whether the names of control tokens (<c>&lt;|im_start|&gt;</c>) become those tokens. Leave it off for text from outside: whoever writes such a text
    /// could speak in the system's voice otherwise.
    /// </param>
    public int[] Encode(string text, bool parseSpecialTokens = false)
    {
        ArgumentNullException.ThrowIfNull(text);
        var ids = new List<int>(text.Length / 3 + 4);
        Encode(text, ids, parseSpecialTokens);
        return [.. ids];
    }

    /// <summary>Appends the token ids of a text to a list.</summary>
    /// <param name="text">The text; an unpaired surrogate counts as U+FFFD.</param>
    /// <param name="destination">Where they are appended.</param>
    /// <param name="parseSpecialTokens">As for <see cref="Encode(string, bool)"/>.</param>
    public void Encode(ReadOnlySpan<char> text, List<int> destination, bool parseSpecialTokens = false)
    {
        ArgumentNullException.ThrowIfNull(destination);
        var sink = new Sink(bpe, destination);
        text = CharacterTables.Repair(text);
        if (parseSpecialTokens) EncodeParsed(text, [], sink);
        else EncodePlain(text, sink);
    }

    /// <summary>How many tokens a text has.</summary>
    /// <param name="text">The text; an unpaired surrogate counts as U+FFFD.</param>
    /// <param name="parseSpecialTokens">As for <see cref="Encode(string, bool)"/>.</param>
    public int CountTokens(string text, bool parseSpecialTokens = false)
    {
        ArgumentNullException.ThrowIfNull(text);
        var ids = new List<int>(text.Length / 3 + 4);
        Encode(text, ids, parseSpecialTokens);
        return ids.Count;
    }

    /// <summary>The text of token ids. Ids that are no token add nothing; bytes that are no UTF-8 become U+FFFD.</summary>
    /// <param name="ids">The ids.</param>
    /// <param name="skipSpecialTokens">Whether control tokens are left out.</param>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens = false)
    {
        var all = new List<byte>(ids.Length * 4);
        foreach (int id in ids)
            if (!skipSpecialTokens || !IsControl(id)) all.AddRange(TokenBytes(id));
        return Encoding.UTF8.GetString(CollectionsMarshal.AsSpan(all));
    }

    /// <summary>
    /// A token as the vocabulary writes it (for ordinary tokens in GPT-2's byte symbols: <c>Ġ</c> is a space); null where the id is no token.
    /// </summary>
    /// <param name="id">The id.</param>
    public string? GetTokenText(int id) => (uint)id < (uint)texts.Length ? texts[id] : null;

    /// <summary>The bytes that a token stands for; none where the id is no token.</summary>
    internal ReadOnlySpan<byte> TokenBytes(int id) => (uint)id < (uint)texts.Length ? bytes.AsSpan(byteEnds[id]..byteEnds[id + 1]) : [];

    /// <summary>Whether it is a special token: one that controls the model and is no text.</summary>
    internal bool IsControl(int id) => (uint)id < (uint)special.Length && special[id];

    /// <summary>
    /// Whether it is an added token: special, or recognised in a text as it stands (<c>&lt;think&gt;</c>, <c>&lt;｜User｜&gt;</c>). Untrusted text yields none,
    /// but for such as are ordinary tokens, too.
    /// </summary>
    internal bool IsAdded(int id) => (uint)id < (uint)added.Length && added[id];

    /// <summary>The id of a token as the vocabulary writes it; null where there is none.</summary>
    internal int? IdOf(string text) => idOf.TryGetValue(text, out int id) ? id : null;

    /// <summary>
    /// The ids of a rendered prompt: one text to the algorithm, in which an added token is recognised only where all its characters are the template's own.
    /// </summary>
    /// <param name="prompt">The prompt.</param>
    /// <param name="parseUntrusted">Whether the caller's words may become control tokens too. It lets whoever wrote them forge turns.</param>
    internal int[] Encode(RenderedPrompt prompt, bool parseUntrusted = false)
    {
        var ids = new List<int>(prompt.Text.Length / 3 + 4);
        bool[] untrusted = [];
        if (!parseUntrusted && prompt.Untrusted.Count > 0)
        {
            untrusted = new bool[prompt.Text.Length];
            foreach (TextRange range in prompt.Untrusted) untrusted.AsSpan(range.Start..range.End).Fill(true);
        }
        EncodeParsed(CharacterTables.Repair(prompt.Text), untrusted, new Sink(bpe, ids));
        return [.. ids];
    }

    /// <summary>Cuts at the added tokens of the raw text, normalises what is between them, and cuts that at the added tokens of the normalised text.</summary>
    private void EncodeParsed(ReadOnlySpan<char> text, ReadOnlySpan<bool> untrusted, Sink sink)
    {
        int done = 0;
        while (!rawTokens.IsEmpty && rawTokens.Find(text, untrusted, done, out int start, out int end) is { } token)
        {
            EncodeNormalized(text[done..start], untrusted.IsEmpty ? [] : untrusted[done..start], sink);
            sink.Ids.Add(token.Id);
            done = end;
        }
        EncodeNormalized(text[done..], untrusted.IsEmpty ? [] : untrusted[done..], sink);
    }

    private void EncodeNormalized(ReadOnlySpan<char> text, ReadOnlySpan<bool> untrusted, Sink sink)
    {
        if (normalizedTokens.IsEmpty) { EncodePlain(text, sink); return; }
        if (nfc && !Nfc.IsStable(text))
        {
            List<bool>? mask = untrusted.IsEmpty ? null : new(text.Length);
            text = Nfc.Normalize(text, untrusted, mask);
            untrusted = CollectionsMarshal.AsSpan(mask);
        }
        int done = 0;
        while (normalizedTokens.Find(text, untrusted, done, out int start, out int end) is { } token)
        {
            preTokenizer.Split(text[done..start], sink);
            sink.Ids.Add(token.Id);
            done = end;
        }
        preTokenizer.Split(text[done..], sink);
    }

    private void EncodePlain(ReadOnlySpan<char> text, Sink sink)
    {
        if (nfc && !Nfc.IsStable(text)) text = Nfc.Normalize(text, [], null);
        preTokenizer.Split(text, sink);
    }

    private sealed class Sink(BpeTokenizer bpe, List<int> ids) : IPieceSink
    {
        public List<int> Ids => ids;

        public void Add(ReadOnlySpan<char> piece) => bpe.Encode(piece, ids);
    }
}
