using System.Globalization;
using System.Text.Json;

namespace DeepSeek.Formats;

/// <summary>A Hugging Face tokenizer and chat template as the metadata that GGUF keeps of them.</summary>
internal sealed class HuggingFaceTokenizerExport
{
    private const int Normal = 1, Control = 3, UserDefined = 4, Unused = 5;

    /// <summary>The longest vocabulary that anybody published is a tenth of that.</summary>
    private const int MaxTokens = 1 << 22;

    private const string Qwen2 = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    private const string Llama3 = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    private const string DeepSeekV3 = @"[!""#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private readonly Checkpoint source;
    private readonly ModelConfig tokenizer, tokenizerConfig;
    private readonly Dictionary<string, int> added = new(StringComparer.Ordinal);

    /// <param name="source">A Hugging Face folder.</param>
    /// <exception cref="UnsupportedModelException">It has no tokenizer.json.</exception>
    public HuggingFaceTokenizerExport(Checkpoint source)
    {
        this.source = source;
        tokenizer = FolderFiles.Json(source.Path, "tokenizer.json")
            ?? throw new UnsupportedModelException($"'{source.Path}' has no tokenizer.json, without which it cannot be converted. Download it, or save the tokenizer as a fast one.");
        tokenizerConfig = FolderFiles.Json(source.Path, "tokenizer_config.json") ?? ModelConfig.Empty;
    }

    /// <summary>Tokens, merges, special tokens and the template.</summary>
    public void AddMetadata(GgufWriter w)
    {
        ModelConfig model = tokenizer.Section("model") ?? throw new InvalidModelFileException($"'{tokenizer.Source}' has no object 'model'.");
        if ((model.Text("type") ?? "BPE") != "BPE" || model.Bool("byte_fallback", false))
            throw new UnsupportedModelException($"'{tokenizer.Source}' is a tokenizer of the kind '{model.Text("type")}'{(model.Bool("byte_fallback", false) ? " with byte fallback" : "")}; byte-level BPE can be converted.");
        w.Add("tokenizer.ggml.model", "gpt2");
        w.Add("tokenizer.ggml.pre", PreTokenizer());
        (string[] tokens, int[] types) = Tokens(model);
        w.Add("tokenizer.ggml.tokens", tokens);
        w.Add("tokenizer.ggml.token_type", types);
        w.Add("tokenizer.ggml.merges", Merges(model));
        AddSpecialTokens(w);
        if (source.ChatTemplate is { } template) w.Add("tokenizer.chat_template", template);
    }

    /// <summary>GGUF's name for the rule by which text is cut.</summary>
    private string PreTokenizer()
    {
        var expressions = new List<string>();
        bool digits = false, byteLevel = false, gpt2 = false;
        void Visit(JsonElement element)
        {
            if (element.ValueKind != JsonValueKind.Object) return;
            var part = new ModelConfig(element, tokenizer.Source);
            switch (part.Text("type"))
            {
                case "Sequence":
                    if (part.Find("pretokenizers") is { ValueKind: JsonValueKind.Array } parts)
                        foreach (JsonElement p in parts.EnumerateArray()) Visit(p);
                    break;
                case "Split":
                    expressions.Add((part.Section("pattern")?.Text("Regex") ?? "").Replace("\r", @"\r", StringComparison.Ordinal).Replace("\n", @"\n", StringComparison.Ordinal));
                    break;
                case "Digits": digits = part.Bool("individual_digits", false); break;
                case "ByteLevel": (byteLevel, gpt2) = (true, part.Bool("use_regex", true)); break;
                case var other: expressions.Add(other ?? ""); break;
            }
        }
        if (tokenizer.Find("pre_tokenizer") is { } root) Visit(root);
        string? name = (byteLevel, gpt2, digits, expressions) switch
        {
            (true, true, false, []) => "gpt-2",
            (true, true, true, []) => "smollm",
            (true, false, false, [Qwen2]) => "qwen2",
            (true, false, false, [Llama3]) => "llama-bpe",
            (true, false, false, [.., DeepSeekV3]) => "deepseek-v3",
            (true, false, true, [@"[\r\n]", @"\s?\p{L}+", @"\s?\p{P}+", _]) => "deepseek-coder",
            (true, false, true, [@"[\r\n]", var words, ..]) when words.StartsWith(@"\s?[A-Za-zµ", StringComparison.Ordinal) => "deepseek-llm",
            _ => null,
        };
        return name ?? throw new UnsupportedModelException($"'{tokenizer.Source}' cuts text by a rule that has no name in GGUF that is known ({string.Join(" ; ", expressions.Select(e => e.Length > 80 ? e[..80] + "…" : e))}).");
    }

    private (string[] Tokens, int[] Types) Tokens(ModelConfig model)
    {
        if (model.Find("vocab") is not { ValueKind: JsonValueKind.Object } vocabulary) throw new InvalidModelFileException($"'{tokenizer.Source}' has no object 'vocab' in its model.");
        var entries = new List<(int Id, string Text, int Type)>();
        foreach (JsonProperty entry in vocabulary.EnumerateObject()) entries.Add((Id(entry.Value, entry.Name), entry.Name, Normal));
        if (tokenizer.Find("added_tokens") is { ValueKind: JsonValueKind.Array } list)
            foreach (JsonElement element in list.EnumerateArray())
            {
                if (element.ValueKind != JsonValueKind.Object) throw tokenizer.Wrong("added_tokens", list, "a list of objects");
                var token = new ModelConfig(element, tokenizer.Source);
                string text = token.Text("content") ?? throw tokenizer.Wrong("added_tokens", element, "objects with id and content");
                int id = token.Int("id", 0, MaxTokens);
                entries.Add((id, text, token.Bool("special", false) || LooksSpecial(text) ? Control : UserDefined));
                added[text] = id;
            }
        int count = Math.Max(source.Config.Int("vocab_size"), entries.Count == 0 ? 0 : entries.Max(e => e.Id) + 1);
        var (tokens, types) = (new string[count], new int[count]);
        for (int i = 0; i < count; i++) (tokens[i], types[i]) = (string.Create(CultureInfo.InvariantCulture, $"[PAD{i}]"), Unused);
        foreach ((int id, string text, int type) in entries) (tokens[id], types[id]) = (text, type);
        return (tokens, types);

        int Id(JsonElement value, string text) => value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int id) && id is >= 0 and < MaxTokens ? id
            : throw new InvalidModelFileException($"In '{tokenizer.Source}', the token '{text}' has the id {value.GetRawText()}, expected an integer from 0 to {MaxTokens - 1}.");
    }

    /// <summary>DeepSeek's tokenizers call their turn marks ordinary; a text that a user writes must not become one.</summary>
    private static bool LooksSpecial(string text)
        => text.StartsWith("<|", StringComparison.Ordinal) && text.EndsWith("|>", StringComparison.Ordinal) || text.StartsWith("<｜", StringComparison.Ordinal) && text.EndsWith("｜>", StringComparison.Ordinal);

    private List<string> Merges(ModelConfig model)
    {
        var merges = new List<string>();
        if (model.Find("merges") is not { ValueKind: JsonValueKind.Array } list) throw new InvalidModelFileException($"'{tokenizer.Source}' has no list 'merges' in its model.");
        foreach (JsonElement merge in list.EnumerateArray())
            merges.Add(merge.ValueKind switch
            {
                JsonValueKind.String => merge.GetString()!,
                JsonValueKind.Array when merge.GetArrayLength() == 2 && merge[0].ValueKind == JsonValueKind.String && merge[1].ValueKind == JsonValueKind.String => $"{merge[0].GetString()} {merge[1].GetString()}",
                _ => throw new InvalidModelFileException($"In '{tokenizer.Source}', the merge {merge.GetRawText()} is neither \"a b\" nor [\"a\", \"b\"]."),
            });
        return merges;
    }

    private void AddSpecialTokens(GgufWriter w)
    {
        if (Special("bos_token") is { } bos) w.Add("tokenizer.ggml.bos_token_id", bos);
        // GGUF has a place for three ends of an answer: that of a text, a turn and a message.
        int[] ends = [.. new[] { Special("eos_token") }.OfType<int>().Concat(source.Config.Ints("eos_token_id")).Concat(source.GenerationConfig.Ints("eos_token_id")).Distinct().Take(3)];
        foreach ((string kind, int id) in new[] { "eos", "eot", "eom" }.Zip(ends)) w.Add($"tokenizer.ggml.{kind}_token_id", id);
        if (Special("pad_token") is { } pad) w.Add("tokenizer.ggml.padding_token_id", pad);
        if (AddsBeginning() is { } adds) w.Add("tokenizer.ggml.add_bos_token", adds);
        if (tokenizerConfig.Has("add_eos_token")) w.Add("tokenizer.ggml.add_eos_token", tokenizerConfig.Bool("add_eos_token", false));
    }

    /// <summary>The id of a token that tokenizer_config.json names (as a string or an object), or else config.json.</summary>
    private int? Special(string key)
    {
        string? text = tokenizerConfig.Find(key) switch
        {
            { ValueKind: JsonValueKind.String } => tokenizerConfig.Text(key),
            { ValueKind: JsonValueKind.Object } => tokenizerConfig.Section(key)!.Text("content"),
            _ => null,
        };
        if (text is not null && added.TryGetValue(text, out int id)) return id;
        return source.Config.Ints($"{key}_id") is [var first, ..] && first >= 0 ? first : null;
    }

    /// <summary>Whether the tokenizer puts the beginning in front of every text; null where nothing says so.</summary>
    private bool? AddsBeginning()
    {
        if (tokenizerConfig.Has("add_bos_token")) return tokenizerConfig.Bool("add_bos_token", false);
        if (tokenizer.Find("post_processor") is not { ValueKind: JsonValueKind.Object } processor || Special("bos_token") is not { } bos) return null;
        string beginning = added.FirstOrDefault(t => t.Value == bos).Key ?? "";
        return beginning.Length > 0 && Mentions(processor, beginning, 0);

        static bool Mentions(JsonElement e, string text, int depth) => e.ValueKind switch
        {
            JsonValueKind.Object => depth < 8 && e.EnumerateObject().Any(p => p.Name is not ("special_tokens" or "pair") && Mentions(p.Value, text, depth + 1)),
            JsonValueKind.Array => depth < 8 && e.EnumerateArray().Any(i => Mentions(i, text, depth + 1)),
            JsonValueKind.String => e.GetString() == text,
            _ => false,
        };
    }
}
