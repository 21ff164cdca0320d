using DeepSeek.Formats;
using DeepSeek.Text.Splitting;

namespace DeepSeek.Text;

/// <summary>
/// Reads the tokenizer in a GGUF file's metadata (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#tokenizer). The file names its rule for cutting
/// text and keeps no normaliser and no flags of added tokens; where the model's tokenizer.json says more, what that says is done: NFC for Qwen, whole words
/// first for Llama 3.
/// </summary>
internal static class TokenizerGguf
{
    private const int Normal = 1, Unknown = 2, Control = 3, UserDefined = 4, Unused = 5, Byte = 6;

    /// <exception cref="InvalidModelFileException">It contradicts itself, or there is none.</exception>
    /// <exception cref="UnsupportedModelException">It is of a kind that this library does not implement.</exception>
    public static TokenizerDefinition Read(GgufFile file)
    {
        string model = file.Text("tokenizer.ggml.model")
            ?? throw new InvalidModelFileException($"'{file.Path}' has no tokenizer (tokenizer.ggml.model). "
            + "It may be a part of a split model, or a projector or adapter.");
        if (model != "gpt2")
            throw new UnsupportedModelException($"The tokenizer in '{file.Path}' is of the kind '{model}' (tokenizer.ggml.model); 'gpt2', byte-level BPE, is implemented.");
        string pre = file.Text("tokenizer.ggml.pre")
            ?? throw new UnsupportedModelException($"'{file.Path}' does not say how its tokenizer cuts text (tokenizer.ggml.pre). "
                + "It was made before April 2024; convert the model again, or use its Hugging Face folder.");
        string[] tokens = file.Strings("tokenizer.ggml.tokens") ?? throw new InvalidModelFileException($"'{file.Path}' has no tokens (tokenizer.ggml.tokens).");
        string[] merges = file.Strings("tokenizer.ggml.merges") ?? throw new InvalidModelFileException($"'{file.Path}' has no merges (tokenizer.ggml.merges).");
        long[]? types = file.Integers("tokenizer.ggml.token_type");
        if (types is not null && types.Length != tokens.Length)
            throw new InvalidModelFileException($"'{file.Path}' has {tokens.Length} tokens, but {types.Length} token types (tokenizer.ggml.token_type).");

        bool llama3 = pre is "llama-bpe" or "llama3" or "llama-v3";
        var definition = new TokenizerDefinition(file.Path)
        {
            PreTokenizer = PreTokenizer.ForName(pre),
            Nfc = pre is "qwen2" or "qwen35" or "deepseek-r1-qwen",
            IgnoreMerges = llama3,
            SkipUnknownMerges = true,
        };
        for (int id = 0; id < tokens.Length; id++) Add(definition, file, id, tokens[id], types?[id] ?? Normal);
        for (int rank = 0; rank < merges.Length; rank++)
        {
            int space = merges[rank].IndexOf(' ', Math.Min(1, merges[rank].Length));
            if (space < 0 || space == merges[rank].Length - 1)
                throw new InvalidModelFileException($"Merge {rank} in '{file.Path}' is '{merges[rank]}'; expected are two tokens with a space between them.");
            definition.AddMerge(merges[rank].AsSpan(0, space), merges[rank].AsSpan(space + 1));
        }
        definition.BeginningOfSequenceId = Id(file, "tokenizer.ggml.bos_token_id", tokens.Length);
        definition.EndOfSequenceId = Id(file, "tokenizer.ggml.eos_token_id", tokens.Length);
        definition.AddBeginningOfSequence = definition.BeginningOfSequenceId is not null && (file.Bool("tokenizer.ggml.add_bos_token") ?? llama3);
        foreach (string key in (ReadOnlySpan<string>)["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"])
            if (Id(file, key, tokens.Length) is { } end) definition.EndIds.Add(end);
        return definition;
    }

    private static void Add(TokenizerDefinition definition, GgufFile file, int id, string text, long type)
    {
        switch (type)
        {
            // Converters fill the rows that the tokenizer does not have with "[PADn]", of any type.
            case Unused:
            case Normal or UserDefined when text.StartsWith("[PAD", StringComparison.Ordinal) && text.EndsWith(']')
                && !text.AsSpan(4, text.Length - 5).ContainsAnyExceptInRange('0', '9'):
                definition.Padding[id] = text;
                break;
            case Normal or Byte:
                if (!definition.Vocabulary.TryAdd(text, id)) definition.Padding[id] = text;
                break;
            case Control or Unknown or UserDefined when text.Length > 0:
                definition.Added.Add(new AddedToken(id, text, IsSpecial: type != UserDefined));
                break;
            default:
                throw new InvalidModelFileException($"The token {id} ('{text}') in '{file.Path}' is of type {type}; expected is a type from 1 to 6, and some text.");
        }
    }

    /// <summary>An id; null where it is absent or −1, as some converters write it.</summary>
    private static int? Id(GgufFile file, string key, int count) => file.Integer(key) switch
    {
        null or -1 or uint.MaxValue => null,
        >= 0 and var id when id < count => (int)id,
        var id => throw new InvalidModelFileException($"'{file.Path}' has {key} = {id}, but {count} tokens."),
    };
}
