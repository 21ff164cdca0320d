namespace DeepSeek.Text;

/// <summary>What a file says of its tokenizer, whatever the kind of file; checks that it agrees with itself.</summary>
/// <param name="source">The file, for messages.</param>
internal sealed class TokenizerDefinition(string source)
{
    /// <summary>Ids may leave gaps, but the tables over them must not be larger than the file warrants.</summary>
    private const int MaxGap = 65_536;

    /// <summary>Pairs of tokens and what they become, in the order of their ranks.</summary>
    private readonly List<(int First, int Second, int Merged)> merges = [];

    /// <summary>The ordinary tokens, written in byte symbols.</summary>
    public Dictionary<string, int> Vocabulary { get; } = [];

    public bool IgnoreMerges { get; init; }

    public string? UnknownToken { get; init; }

    public bool FuseUnknown { get; init; }

    public required Splitting.PreTokenizer PreTokenizer { get; init; }

    /// <summary>
    /// Whether a merge of tokens that the vocabulary lacks is passed over: in GGUF, tokens and merges are separate lists, which other programs never hold
    /// against each other. In tokenizer.json it is an error, as for Hugging Face.
    /// </summary>
    public bool SkipUnknownMerges { get; init; }

    /// <summary>Whether text is brought into NFC.</summary>
    public bool Nfc { get; init; }

    public List<AddedToken> Added { get; } = [];

    /// <summary>Rows of the vocabulary that stand for nothing, by id; they have a name only.</summary>
    public Dictionary<int, string> Padding { get; } = [];

    public int? BeginningOfSequenceId { get; set; }

    public int? EndOfSequenceId { get; set; }

    public bool AddBeginningOfSequence { get; set; }

    /// <summary>Further ids that end a turn.</summary>
    public HashSet<int> EndIds { get; } = [];

    /// <summary>Adds the merge of the next rank; the tokens are there already.</summary>
    /// <exception cref="InvalidModelFileException">It speaks of tokens that there are not.</exception>
    public void AddMerge(ReadOnlySpan<char> first, ReadOnlySpan<char> second)
    {
        int length = first.Length + second.Length;
        Span<char> merged = length <= 256 ? stackalloc char[length] : new char[length];
        first.CopyTo(merged);
        second.CopyTo(merged[first.Length..]);
        int a = IdOf(first), b = IdOf(second), c = IdOf(merged);
        if (a >= 0 && b >= 0 && c >= 0)
        {
            merges.Add((a, b, c));
        }
        else if (!SkipUnknownMerges)
        {
            string missing = (a < 0 ? first : b < 0 ? second : merged).ToString();
            throw new InvalidModelFileException($"Merge {merges.Count} ('{first}' and '{second}') of the tokenizer in '{source}' "
                + $"speaks of '{missing}', which is not in its vocabulary of {Vocabulary.Count} tokens.");
        }
    }

    private int IdOf(ReadOnlySpan<char> token) => Vocabulary.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(token, out int id) ? id : -1;

    /// <summary>Name by id (null in gaps) and id by name.</summary>
    /// <exception cref="InvalidModelFileException">Two tokens have the same id, or an id is out of range.</exception>
    public (string?[] Texts, Dictionary<string, int> IdOf) Index()
    {
        var idOf = new Dictionary<string, int>(Vocabulary);
        int limit = Vocabulary.Count + Added.Count + Padding.Count + MaxGap, count = 0;
        foreach (int id in Vocabulary.Values.Concat(Added.Select(t => t.Id)).Concat(Padding.Keys))
        {
            if (id < 0 || id >= limit)
            {
                throw new InvalidModelFileException($"The tokenizer in '{source}' gives a token the id {id}; "
                    + $"with {Vocabulary.Count} tokens and {Added.Count} added ones, ids from 0 to {limit - 1} are plausible.");
            }
            count = Math.Max(count, id + 1);
        }
        string?[] texts = new string?[count];
        foreach ((string text, int id) in Vocabulary) Name(texts, id, text);
        foreach (AddedToken token in Added)
        {
            Name(texts, token.Id, token.Content);
            idOf[token.Content] = token.Id;
        }
        foreach ((int id, string text) in Padding)
        {
            Name(texts, id, text);
            idOf.TryAdd(text, id);
        }
        return (texts, idOf);
    }

    private void Name(string?[] texts, int id, string text)
    {
        if (texts[id] is { } other && other != text)
            throw new InvalidModelFileException($"The tokenizer in '{source}' gives the id {id} to two tokens, '{other}' and '{text}'.");
        texts[id] = text;
    }

    /// <summary>The model of the ordinary tokens. It never yields a special token: neither a byte nor a merge nor a whole piece may become one.</summary>
    /// <exception cref="InvalidModelFileException">The unknown token is not in the vocabulary.</exception>
    public BpeTokenizer CreateModel()
    {
        Dictionary<string, int> ordinary = Vocabulary;
        var special = new HashSet<int>();
        foreach (AddedToken token in Added.Where(t => t.IsSpecial))
        {
            special.Add(token.Id);
            if (!ordinary.ContainsKey(token.Content)) continue;
            if (ordinary == Vocabulary) ordinary = new(Vocabulary);
            ordinary.Remove(token.Content);
        }
        int[] byteIds = new int[256];
        for (int b = 0; b < 256; b++) byteIds[b] = ordinary.GetValueOrDefault(ByteSymbols.SymbolOf((byte)b).ToString(), -1);
        var table = new MergeTable(merges.Count);
        for (int rank = 0; rank < merges.Count; rank++)
            if (!special.Contains(merges[rank].Merged)) table.Set(merges[rank].First, merges[rank].Second, rank, merges[rank].Merged);
        int unknown = -1;
        if (UnknownToken is { } name && !Vocabulary.TryGetValue(name, out unknown))
            throw new InvalidModelFileException($"The unknown token '{name}' of the tokenizer in '{source}' is not in its vocabulary.");
        return new BpeTokenizer(ordinary, byteIds, table, IgnoreMerges, unknown, FuseUnknown);
    }
}
