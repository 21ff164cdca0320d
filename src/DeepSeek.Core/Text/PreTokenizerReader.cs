using DeepSeek.Text.Splitting;

namespace DeepSeek.Text;

/// <summary>Reads the pre-tokenizer that a tokenizer.json declares.</summary>
internal sealed class PreTokenizerReader
{
    private readonly List<SplitStage> stages = [];
    private bool prefixSpace;

    public bool IsByteLevel { get; private set; }

    public static PreTokenizerReader Read(JsonNodeReader? node)
    {
        var reader = new PreTokenizerReader();
        if (node is { } n) reader.Add(n);
        return reader;
    }

    public PreTokenizer Create() => new(stages, prefixSpace);

    private void Add(JsonNodeReader node)
    {
        string type = node.String("type");
        if (IsByteLevel) throw Unsupported(node, $"a pre-tokenizer '{type}' behind ByteLevel");
        switch (type)
        {
            case "Sequence":
                foreach (JsonNodeReader part in node.Array("pretokenizers")) Add(part);
                break;
            case "Split":
                stages.Add(new(ReadPattern(node.Object("pattern")), ReadBehavior(node), node.OptionalBool("invert") ?? false));
                break;
            case "Digits":
                stages.Add(PreTokenizer.Digits(node.OptionalBool("individual_digits") ?? false));
                break;
            case "ByteLevel":
                prefixSpace = node.OptionalBool("add_prefix_space") ?? true;
                if (prefixSpace && stages.Count > 0) throw Unsupported(node, "a ByteLevel pre-tokenizer that adds spaces behind other splitters");
                if (node.OptionalBool("use_regex") ?? true) stages.Add(PreTokenizer.Stage(KnownPatterns.Gpt2));
                IsByteLevel = true;
                break;
            default: throw Unsupported(node, $"a pre-tokenizer of type '{type}'; Sequence, Split, Digits and ByteLevel are implemented");
        }
    }

    private static UnsupportedModelException Unsupported(JsonNodeReader node, string what) => new($"The tokenizer in '{node.Path}' has {what}.");

    private static Splitter ReadPattern(JsonNodeReader pattern)
        => pattern.OptionalString("Regex") is { } expression ? KnownPatterns.Create(expression) : new PatternSplitter(Pattern.Of(pattern.String("String")));

    private static SplitBehavior ReadBehavior(JsonNodeReader node) => node.String("behavior") switch
    {
        "Isolated" => SplitBehavior.Isolated,
        "Removed" => SplitBehavior.Removed,
        "MergedWithPrevious" => SplitBehavior.MergedWithPrevious,
        "MergedWithNext" => SplitBehavior.MergedWithNext,
        "Contiguous" => SplitBehavior.Contiguous,
        var other => throw Unsupported(node, $"the split behaviour '{other}'"),
    };
}
