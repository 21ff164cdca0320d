namespace DeepSeek.Text;

/// <summary>What a file says of its tokenizer, whatever the kind of file; checks that it agrees with itself.</summary>
/// <param name="source">The file, for messages.</param>
internal sealed class TokenizerDefinition(string source)
{
    /// <summary>Ids may leave gaps, but the tables over them must not be larger than the file warrants.</summary>
    private const int MaxGap = 65_536;

    /// <summary>The ordinary tokens, written in byte symbols.</summary>
    public Dictionary<string, int> Vocabulary { get; } = [];

    /// <summary>Pairs of tokens in the order of their ranks.</summary>
    public List<(string First, string Second)> Merges { get; } = [];

    public bool IgnoreMerges { get; init; }

    public string? UnknownToken { get; init; }

    public bool FuseUnknown { get; init; }

    public required Splitting.PreTokenizer PreTokenizer { get; init; }

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

    /// <summary>Name by id (null in gaps) and id by name.</summary>
    /// <exception cref="InvalidModelFileException">Two tokens have the same id, or an id is out of range.</exception>
    public (string?[] Texts, Dictionary<string, int> IdOf) Index()
    {
        var idOf = new Dictionary<string, int>(Vocabulary);
        int limit = Vocabulary.Count + Added.Count + Padding.Count + MaxGap, count = 0;
        foreach (int id in Vocabulary.Values.Concat(Added.Select(t => t.Id)).Concat(Padding.Keys))
        {
            if (id < 0 || id >= limit) throw new InvalidModelFileException($"The tokenizer in '{source}' gives a token the id {id}; with {Vocabulary.Count} tokens and {Added.Count} added ones, ids from 0 to {limit - 1} are plausible.");
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
        if (texts[id] is { } other && other != text) throw new InvalidModelFileException($"The tokenizer in '{source}' gives the id {id} to two tokens, '{other}' and '{text}'.");
        texts[id] = text;
    }

    /// <summary>The model of the ordinary tokens. It never yields a special token: neither a byte nor a merge may become one.</summary>
    /// <exception cref="InvalidModelFileException">A merge speaks of tokens that there are not.</exception>
    public BpeTokenizer CreateModel()
    {
        var special = Added.Where(t => t.IsSpecial).Select(t => t.Content).ToHashSet();
        var ordinary = special.Count == 0 ? Vocabulary : Vocabulary.Where(t => !special.Contains(t.Key)).ToDictionary();
        int[] byteIds = new int[256];
        for (int b = 0; b < 256; b++) byteIds[b] = ordinary.GetValueOrDefault(ByteSymbols.SymbolOf((byte)b).ToString(), -1);
        var merges = new MergeTable(Merges.Count);
        for (int rank = 0; rank < Merges.Count; rank++)
        {
            (string first, string second) = Merges[rank];
            if (special.Contains(first + second)) continue;
            merges.Set(IdOf(ordinary, first, rank), IdOf(ordinary, second, rank), rank, IdOf(ordinary, first + second, rank));
        }
        int unknown = -1;
        if (UnknownToken is { } name && !Vocabulary.TryGetValue(name, out unknown))
            throw new InvalidModelFileException($"The unknown token '{name}' of the tokenizer in '{source}' is not in its vocabulary.");
        return new BpeTokenizer(ordinary, byteIds, merges, IgnoreMerges, unknown, FuseUnknown);
    }

    private int IdOf(Dictionary<string, int> vocabulary, string token, int rank) => vocabulary.TryGetValue(token, out int id)
        ? id
        : throw new InvalidModelFileException($"Merge {rank} ('{Merges[rank].First}' and '{Merges[rank].Second}') of the tokenizer in '{source}' speaks of '{token}', which is not in its vocabulary of {Vocabulary.Count} tokens.");
}
