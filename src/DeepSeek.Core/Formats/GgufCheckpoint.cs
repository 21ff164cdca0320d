using DeepSeek.Tensors;

namespace DeepSeek.Formats;

/// <summary>A GGUF model under Hugging Face's names.</summary>
internal sealed class GgufCheckpoint : Checkpoint
{
    private readonly Dictionary<string, GgufTensor> tensors = new(StringComparer.Ordinal);
    private readonly List<string> warnings = [];

    private GgufCheckpoint(GgufFile file)
    {
        File = file;
        var config = new GgufConfig(file, warnings);
        Config = config.Config();
        GenerationConfig = config.GenerationConfig();
        Architecture = config.Architecture;
        ChatTemplate = file.Text("tokenizer.chat_template");
        foreach (GgufTensor tensor in file.Tensors) tensors[GgufNames.ToHuggingFace(tensor.Name, Architecture == "deepseek4")] = tensor;
    }

    /// <summary>The file itself, for what has no Hugging Face form: the tokenizer's arrays.</summary>
    public GgufFile File { get; }

    /// <summary>GGUF's name of the architecture.</summary>
    public string Architecture { get; }

    public override string Path => File.Path;

    public override string Format => $"GGUF v{File.Version}";

    public override ModelConfig Config { get; }

    public override ModelConfig GenerationConfig { get; }

    public override string? ChatTemplate { get; }

    public override IReadOnlyList<string> Warnings => warnings;

    public override IReadOnlyCollection<TensorInfo> Tensors => [.. tensors.Select(t => new TensorInfo(t.Key, t.Value.Type, t.Value.Shape, t.Value.Bytes))];

    /// <summary>Opens a GGUF file.</summary>
    /// <exception cref="InvalidModelFileException">It is broken.</exception>
    /// <exception cref="UnsupportedModelException">It is of a kind that is not known.</exception>
    public static new GgufCheckpoint Open(string path, bool privateCopy = false)
    {
        GgufFile file = GgufFile.Open(path, privateCopy);
        try { return new GgufCheckpoint(file); }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public override bool Contains(string name) => tensors.ContainsKey(name) || OfExpert(name) is not null;

    public override Weight? Find(string name, int rows, int columns)
    {
        if (tensors.TryGetValue(name, out GgufTensor? tensor)) return Matrix(tensor, rows, columns);
        return OfExpert(name) is var (stack, expert) ? Matrix(stack, Rows(rows, stack.Shape[0]), columns).Slice(expert * rows, rows) : null;
    }

    public override Weight[] GetExperts(string name, int count, int rows, int columns)
    {
        if (tensors.TryGetValue(name, out GgufTensor? stack)) return Slices(stack, count, rows, columns, 0, rows);
        // Merged form: an expert's gate rows, then its up rows.
        bool up = name.Contains(".up_proj.", StringComparison.Ordinal);
        if (tensors.TryGetValue(name.Replace(up ? ".up_proj." : ".gate_proj.", ".gate_up_proj.", StringComparison.Ordinal), out stack))
            return Slices(stack, count, 2 * rows, columns, up ? rows : 0, rows);
        throw new InvalidModelFileException($"The tensor '{name}' of {count} experts [{rows}, {columns}] is missing in '{Path}' ('{GgufNames.ToGguf(name) ?? name}' there). The file may be incomplete.");
    }

    public override void Dispose() => File.Dispose();

    private Weight[] Slices(GgufTensor stack, int count, int stackRows, int columns, int first, int rows)
    {
        if (stack.Shape.Length != 3 || stack.Shape[0] != count)
            throw new InvalidModelFileException($"The tensor '{stack.Name}' in '{Path}' has shape [{string.Join(", ", stack.Shape)}], expected {count} experts of [{stackRows}, {columns}].");
        Weight all = Matrix(stack, Rows(stackRows, count), columns);
        var experts = new Weight[count];
        for (int e = 0; e < count; e++) experts[e] = all.Slice(e * stackRows + first, rows);
        return experts;
    }

    /// <summary>Rows of a stack; more than an int holds match no tensor.</summary>
    private static int Rows(int each, long count) => (int)Int128.Min((Int128)each * count, int.MaxValue);

    private Weight Matrix(GgufTensor tensor, int rows, int columns)
    {
        CheckShape(tensor.Name, tensor.Shape, rows, columns);
        return new Weight(tensor.Name, tensor.Type, rows, columns, tensor.Data);
    }

    /// <summary>The stack and the number in the name of a single expert's tensor.</summary>
    private (GgufTensor Stack, int Expert)? OfExpert(string name)
    {
        const string Experts = ".experts.";
        int at = name.IndexOf(Experts, StringComparison.Ordinal), from = at + Experts.Length, to = at < 0 ? -1 : name.IndexOf('.', from);
        if (to < 0 || !int.TryParse(name.AsSpan(from, to - from), System.Globalization.NumberStyles.None, null, out int expert)) return null;
        return tensors.TryGetValue($"{name[..from]}{GgufNames.Expert}{name[to..]}", out GgufTensor? stack) && stack.Shape.Length == 3 && expert < stack.Shape[0] ? (stack, expert) : null;
    }
}
