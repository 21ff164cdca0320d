using System.Text.Json;
using DeepSeek.Tensors;

namespace DeepSeek.Formats;

/// <summary>
/// A Hugging Face folder: config.json, model.safetensors or the shards of model.safetensors.index.json, and what lies beside them. Float8 matrices come with their block
/// scales (<c>weight_scale_inv</c>; DeepSeek-V4: <c>scale</c>), as they are published.
/// </summary>
internal sealed unsafe class SafetensorsCheckpoint : Checkpoint
{
    private const string IndexName = "model.safetensors.index.json";
    private readonly List<MappedFile> files = [];
    private readonly Dictionary<string, SafetensorsTensor> tensors = new(StringComparer.Ordinal);
    private readonly int blockRows, blockColumns;

    private SafetensorsCheckpoint(string folder, bool privateCopy)
    {
        Path = folder;
        try
        {
            Config = HuggingFaceConfig.Read(FolderFiles.Json(folder, "config.json")
                ?? throw new InvalidModelFileException($"The folder '{folder}' has no config.json. Give a GGUF file, or a Hugging Face folder with config.json and safetensors."));
            (blockRows, blockColumns) = HuggingFaceConfig.BlockSize(Config);
            GenerationConfig = FolderFiles.Json(folder, "generation_config.json") ?? ModelConfig.Empty;
            ChatTemplate = HuggingFaceConfig.ChatTemplate(folder);
            if (FolderFiles.Json(folder, IndexName) is { } index) OpenShards(index, privateCopy);
            else foreach (SafetensorsTensor tensor in OpenFile(SingleFile(folder), privateCopy)) tensors.Add(tensor.Name, tensor);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public override string Path { get; }

    public override string Format => files.Count == 1 ? "safetensors" : $"safetensors ({files.Count} files)";

    public override ModelConfig Config { get; }

    public override ModelConfig GenerationConfig { get; }

    public override string? ChatTemplate { get; }

    public override IReadOnlyCollection<TensorInfo> Tensors => [.. tensors.Values.Select(t => new TensorInfo(t.Name, t.Type, t.Shape, t.Bytes))];

    /// <summary>Whether a folder looks like one: it has safetensors.</summary>
    public static bool IsAt(string folder) => Directory.EnumerateFiles(folder, "*.safetensors").Any() || File.Exists(System.IO.Path.Combine(folder, IndexName));

    /// <summary>Opens a folder.</summary>
    /// <exception cref="InvalidModelFileException">A file is missing or broken.</exception>
    /// <exception cref="UnsupportedModelException">It is quantised in a way that is not known.</exception>
    public static new SafetensorsCheckpoint Open(string folder, bool privateCopy = false) => new(folder, privateCopy);

    public override bool Contains(string name) => tensors.ContainsKey(name);

    public override Weight? Find(string name, int rows, int columns)
    {
        if (!tensors.TryGetValue(name, out SafetensorsTensor? tensor)) return null;
        CheckShape(name, tensor.Shape, rows, columns);
        return new Weight(name, tensor.Type, rows, columns, tensor.Data, tensor.Type is DType.F8E4M3 or DType.F8E5M2 ? Scales(tensor, rows, columns) : null);
    }

    public override Weight[] GetExperts(string name, int count, int rows, int columns)
    {
        if (Contains(name.Replace(GgufNames.Expert, $"{count}", StringComparison.Ordinal)))
            throw new InvalidModelFileException($"'{Path}' holds '{name.Replace(GgufNames.Expert, $"{count}", StringComparison.Ordinal)}', but the configuration says that there are {count} experts, counted from 0.");
        var experts = new Weight[count];
        for (int e = 0; e < count; e++) experts[e] = Get(name.Replace(GgufNames.Expert, $"{e}", StringComparison.Ordinal), rows, columns);
        return experts;
    }

    public override void Dispose()
    {
        foreach (MappedFile file in files) file.Dispose();
    }

    private static string SingleFile(string folder)
    {
        string single = System.IO.Path.Combine(folder, "model.safetensors");
        if (File.Exists(single)) return single;
        string[] found = [.. Directory.EnumerateFiles(folder, "*.safetensors").Order(StringComparer.Ordinal)];
        return found.Length == 1 ? found[0] : throw new InvalidModelFileException(found.Length == 0
            ? $"The folder '{folder}' has config.json, but no *.safetensors. Download the weights, or give a GGUF file."
            : $"The folder '{folder}' has {found.Length} *.safetensors, but neither model.safetensors nor {IndexName}, which says what is in which. Download the index too.");
    }

    private List<SafetensorsTensor> OpenFile(string path, bool privateCopy)
    {
        files.Add(MappedFile.Open(path, privateCopy));
        return SafetensorsFile.Read(files[^1]);
    }

    private void OpenShards(ModelConfig index, bool privateCopy)
    {
        if (index.Find("weight_map") is not { ValueKind: JsonValueKind.Object } map) throw new InvalidModelFileException($"'{index.Source}' has no object 'weight_map'.");
        var shards = new Dictionary<string, string>(StringComparer.Ordinal); // tensor: file
        foreach (JsonProperty entry in map.EnumerateObject())
        {
            string? file = entry.Value.ValueKind == JsonValueKind.String ? entry.Value.GetString() : null;
            if (file is null || file.Length == 0 || file.AsSpan().IndexOfAny('/', '\\', '\0') >= 0 || file is "." or ".." || System.IO.Path.GetFileName(file) != file)
                throw new InvalidModelFileException($"'{index.Source}' says that '{entry.Name}' is in {entry.Value.GetRawText()}, expected the name of a file in the same folder.");
            shards[entry.Name] = file;
        }
        string[] names = [.. shards.Values.Distinct().Order(StringComparer.Ordinal)];
        string[] missing = [.. names.Where(n => !File.Exists(System.IO.Path.Combine(Path, n)))];
        if (missing.Length > 0)
            throw new InvalidModelFileException($"{missing.Length} of {names.Length} files of '{index.Source}' are missing: {string.Join(", ", missing.Take(5))}{(missing.Length > 5 ? ", …" : "")}. Download them into '{Path}'.");
        foreach (string name in names)
            foreach (SafetensorsTensor tensor in OpenFile(System.IO.Path.Combine(Path, name), privateCopy))
                if (!shards.TryGetValue(tensor.Name, out string? file) || file == name)
                    if (!tensors.TryAdd(tensor.Name, tensor)) throw new InvalidModelFileException($"The tensor '{tensor.Name}' is in two files of '{Path}': '{tensors[tensor.Name].File.Path}' and '{name}'.");
        if (shards.Keys.FirstOrDefault(t => !tensors.ContainsKey(t)) is { } absent)
            throw new InvalidModelFileException($"'{index.Source}' says that '{absent}' is in '{shards[absent]}', which does not hold it. Index and files are of different versions.");
    }

    /// <summary>The scales of a float8 matrix: ⌈rows / block⌉ × ⌈columns / block⌉ finite numbers.</summary>
    private BlockScales Scales(SafetensorsTensor tensor, int rows, int columns)
    {
        string stem = tensor.Name.EndsWith(".weight", StringComparison.Ordinal) ? tensor.Name[..^".weight".Length] : tensor.Name;
        SafetensorsTensor? scales = tensors.GetValueOrDefault($"{stem}.weight_scale_inv") ?? tensors.GetValueOrDefault($"{stem}.scale");
        if (scales is null)
            throw new InvalidModelFileException($"The tensor '{tensor.Name}' in '{Path}' is {tensor.Type.Info().Name}, but its scales, '{stem}.weight_scale_inv', are missing. The file may be incomplete.");
        int down = (rows + blockRows - 1) / blockRows, across = (columns + blockColumns - 1) / blockColumns;
        if (scales.Shape is not [long r, long c] || r != down || c != across)
            throw new InvalidModelFileException($"The scales '{scales.Name}' in '{Path}' have shape [{string.Join(", ", scales.Shape)}], expected [{down}, {across}]: one for each {blockRows}×{blockColumns} block of '{tensor.Name}' [{rows}, {columns}].");
        if (scales.Type is not (DType.F32 or DType.BF16 or DType.F8E8M0))
            throw new UnsupportedModelException($"The scales '{scales.Name}' in '{Path}' are stored as {scales.Type.Info().Name}; F32, BF16 and F8_E8M0 are known.");
        byte* data = (byte*)scales.Data;
        for (int i = 0; i < down * across; i++)
            if (!float.IsFinite(Dequantise.Scale(scales.Type, data, i)))
                throw new InvalidModelFileException($"The scale [{i / across}, {i % across}] of '{scales.Name}' in '{Path}' is {Dequantise.Scale(scales.Type, data, i)}, expected a finite number. The file is broken; download it again.");
        return new BlockScales(scales.Data, scales.Type, blockRows, blockColumns, across);
    }
}
