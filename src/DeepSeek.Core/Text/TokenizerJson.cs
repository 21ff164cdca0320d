using System.Text.Json;
using DeepSeek.Text.Splitting;

namespace DeepSeek.Text;

/// <summary>
/// Reads Hugging Face's tokenizer.json (https://huggingface.co/docs/tokenizers) and the files beside it. What the format allows and this library does not
/// implement is refused by name.
/// </summary>
internal static class TokenizerJson
{
    /// <exception cref="InvalidModelFileException">It is broken.</exception>
    /// <exception cref="UnsupportedModelException">It declares a component that this library does not implement.</exception>
    public static TokenizerDefinition Read(string path, JsonElement root)
    {
        var top = new JsonNodeReader(path, "", "", root);
        JsonNodeReader model = top.Object("model");
        string type = model.OptionalString("type") ?? "BPE";
        if (type != "BPE") throw Unsupported(path, $"a model of type '{type}'; byte-level BPE is implemented");
        if (model.OptionalNumber("dropout") is not (null or 0)) throw Unsupported(path, "BPE with dropout");
        if (model.OptionalBool("byte_fallback") == true) throw Unsupported(path, "BPE with byte_fallback (a SentencePiece vocabulary); byte-level BPE is implemented");
        foreach (string affix in (ReadOnlySpan<string>)["continuing_subword_prefix", "end_of_word_suffix"])
            if (model.OptionalString(affix) is { Length: > 0 } value) throw Unsupported(path, $"BPE with {affix} '{value}'");

        PreTokenizerReader pre = PreTokenizerReader.Read(top.Optional("pre_tokenizer"));
        if (!pre.IsByteLevel) throw Unsupported(path, "no ByteLevel pre-tokenizer; byte-level BPE is implemented");
        CheckDecoder(path, top.Optional("decoder"));
        var definition = new TokenizerDefinition(path)
        {
            PreTokenizer = pre.Create(),
            Nfc = ReadNormalizer(path, top.Optional("normalizer")),
            IgnoreMerges = model.OptionalBool("ignore_merges") ?? false,
            UnknownToken = model.OptionalString("unk_token"),
            FuseUnknown = model.OptionalBool("fuse_unk") ?? false,
        };
        foreach (JsonNodeReader token in model.Object("vocab").Members())
        {
            int id = token.Int();
            if (!definition.Vocabulary.TryAdd(token.Name, id) && definition.Vocabulary[token.Name] is var other && other != id)
                throw new InvalidModelFileException($"The token '{token.Name}' has two ids in '{path}', {other} and {id}.");
        }
        foreach (JsonNodeReader token in top.OptionalArray("added_tokens")) definition.Added.Add(ReadAdded(token));
        foreach (JsonNodeReader merge in model.Array("merges")) AddMerge(merge, definition);
        if (ReadPostProcessor(top.Optional("post_processor")) is { } begin && definition.Added.Find(t => t.Content == begin) is { } bos)
            (definition.BeginningOfSequenceId, definition.AddBeginningOfSequence) = (bos.Id, true);
        return definition;
    }

    /// <summary>tokenizer_config.json: which tokens begin and end a sequence, and whether raw text gets the first.</summary>
    public static void ReadTokenizerConfig(string path, JsonElement root, TokenizerDefinition definition)
    {
        var config = new JsonNodeReader(path, "", "", root);
        int? Token(string key)
        {
            if (config.Optional(key) is not { } node) return null;
            string content = node.IsObject ? node.String("content") : node.String();
            return definition.Added.Find(t => t.Content == content)?.Id ?? (definition.Vocabulary.TryGetValue(content, out int id) ? id : null);
        }
        definition.BeginningOfSequenceId = Token("bos_token") ?? definition.BeginningOfSequenceId;
        definition.EndOfSequenceId = Token("eos_token") ?? definition.EndOfSequenceId;
        definition.AddBeginningOfSequence = definition.BeginningOfSequenceId is not null && (config.OptionalBool("add_bos_token") ?? definition.AddBeginningOfSequence);
    }

    /// <summary>config.json or generation_config.json: one id or several that end a sequence.</summary>
    public static void ReadModelConfig(string path, JsonElement root, TokenizerDefinition definition)
    {
        var config = new JsonNodeReader(path, "", "", root);
        int? begin = config.Optional("bos_token_id")?.Int();
        if (begin >= 0) definition.BeginningOfSequenceId ??= begin;
        if (config.Optional("eos_token_id") is not { } end) return;
        foreach (int id in end.IsArray ? end.Elements().Select(e => e.Int()) : [end.Int()])
        {
            if (id < 0) continue;
            definition.EndOfSequenceId ??= id;
            definition.EndIds.Add(id);
        }
    }

    private static UnsupportedModelException Unsupported(string path, string what) => new($"The tokenizer in '{path}' has {what}.");

    private static void AddMerge(JsonNodeReader merge, TokenizerDefinition definition)
    {
        if (merge.IsArray)
        {
            if (merge.Value.GetArrayLength() != 2 || merge.Value.EnumerateArray().Any(e => e.ValueKind != JsonValueKind.String)) throw merge.Wrong("a pair of strings");
            definition.AddMerge(merge.Value[0].GetString(), merge.Value[1].GetString());
            return;
        }
        string text = merge.String();
        int space = text.IndexOf(' ');
        if (space <= 0 || space == text.Length - 1 || text.IndexOf(' ', space + 1) >= 0) throw merge.Wrong("two tokens with a space between them");
        definition.AddMerge(text.AsSpan(0, space), text.AsSpan(space + 1));
    }

    private static AddedToken ReadAdded(JsonNodeReader token)
    {
        string content = token.String("content");
        if (content.Length == 0) throw token.Wrong("a token with some content");
        return new AddedToken(token.Object("id").Int(), content, token.OptionalBool("special") ?? false, token.OptionalBool("normalized") ?? true, token.OptionalBool("single_word") ?? false,
            token.OptionalBool("lstrip") ?? false, token.OptionalBool("rstrip") ?? false);
    }

    /// <summary>Whether the normaliser is NFC (or nothing).</summary>
    private static bool ReadNormalizer(string path, JsonNodeReader? normalizer)
    {
        if (normalizer is not { } n) return false;
        switch (n.String("type"))
        {
            case "NFC": return true;
            case "Sequence":
                bool nfc = false;
                foreach (JsonNodeReader part in n.Array("normalizers")) nfc |= ReadNormalizer(path, part);
                return nfc;
            case var other: throw Unsupported(path, $"a normaliser of type '{other}'; NFC is implemented");
        }
    }

    private static void CheckDecoder(string path, JsonNodeReader? decoder)
    {
        if (decoder is not { } d) return;
        switch (d.String("type"))
        {
            case "ByteLevel" or "Fuse": return;
            case "Sequence":
                foreach (JsonNodeReader part in d.Array("decoders")) CheckDecoder(path, part);
                return;
            case var other: throw Unsupported(path, $"a decoder of type '{other}'; ByteLevel is implemented");
        }
    }

    /// <summary>The special token that a TemplateProcessing puts in front of a single text; null where it puts none.</summary>
    private static string? ReadPostProcessor(JsonNodeReader? processor)
    {
        if (processor is not { } p) return null;
        switch (p.String("type"))
        {
            case "Sequence":
                foreach (JsonNodeReader part in p.Array("processors"))
                    if (ReadPostProcessor(part) is { } found) return found;
                return null;
            case "TemplateProcessing":
                foreach (JsonNodeReader first in p.Array("single"))
                    return first.Optional("SpecialToken")?.String("id");
                return null;
            default: return null;
        }
    }
}
