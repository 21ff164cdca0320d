using DeepSeek.Tensors;

namespace DeepSeek.Formats;

/// <summary>A tensor as a file lists it.</summary>
/// <param name="Name">Its Hugging Face name (GGUF names are translated).</param>
/// <param name="Type">How its numbers are stored.</param>
/// <param name="Shape">Dimensions, outermost first, as torch prints them.</param>
/// <param name="Bytes">Bytes in the file.</param>
internal sealed record TensorInfo(string Name, DType Type, IReadOnlyList<long> Shape, long Bytes);

/// <summary>
/// What a model asks of a file: a configuration with Hugging Face's keys and tensors by Hugging Face's names, whatever the file is. Memory-mapped; immutable;
/// thread-safe. Owns the mapped memory that its <see cref="Weight"/>s point to: dispose it after the last use of any of them.
/// </summary>
internal abstract class Checkpoint : IDisposable
{
    /// <summary>The file or folder.</summary>
    public abstract string Path { get; }

    /// <summary>For people: <c>GGUF v3</c>, <c>safetensors</c>.</summary>
    public abstract string Format { get; }

    /// <summary>The configuration, with the keys of Hugging Face's config.json.</summary>
    public abstract ModelConfig Config { get; }

    /// <summary>Sampling defaults, with the keys of generation_config.json; empty where the file has none.</summary>
    public abstract ModelConfig GenerationConfig { get; }

    /// <summary>The chat template; null where the file has none.</summary>
    public abstract string? ChatTemplate { get; }

    /// <summary>What a user should know about this file though it can be run; usually empty.</summary>
    public virtual IReadOnlyList<string> Warnings => [];

    /// <summary>All tensors.</summary>
    public abstract IReadOnlyCollection<TensorInfo> Tensors { get; }

    /// <summary>Bytes of all tensors.</summary>
    public long WeightBytes => Tensors.Sum(t => t.Bytes);

    /// <summary>Whether there is a tensor of that name.</summary>
    public abstract bool Contains(string name);

    /// <summary>A matrix, or null where there is none of that name. A stack of matrices [count, rows, columns] is found as one matrix of count·rows rows.</summary>
    /// <exception cref="InvalidModelFileException">It has another shape, or its data lies outside the file.</exception>
    public abstract Weight? Find(string name, int rows, int columns);

    /// <summary>A matrix.</summary>
    /// <exception cref="InvalidModelFileException">There is none of that name, it has another shape, or its data lies outside the file.</exception>
    public Weight Get(string name, int rows, int columns)
        => Find(name, rows, columns) ?? throw new InvalidModelFileException($"The tensor '{name}' [{rows}, {columns}] is missing in '{Path}'. The configuration asks for it; the file may be incomplete or of another model.");

    /// <summary>A vector.</summary>
    /// <exception cref="InvalidModelFileException">There is none of that name, it has another shape, or its data lies outside the file.</exception>
    public Weight GetVector(string name, int length) => Get(name, 1, length);

    /// <summary>
    /// The same matrix of every expert: <paramref name="name"/> contains <c>{e}</c>, which is 0, 1, … in Hugging Face folders; in GGUF the experts are slices of one stacked tensor.
    /// </summary>
    /// <exception cref="InvalidModelFileException">One is missing, there are more or fewer, or one has another shape.</exception>
    public abstract Weight[] GetExperts(string name, int count, int rows, int columns);

    public abstract void Dispose();

    /// <summary>
    /// Opens what is there: a GGUF file, a Hugging Face folder, a safetensors file or config.json (both stand for their folder), or a folder that holds one GGUF model.
    /// Takes milliseconds: nothing is read but headers.
    /// </summary>
    /// <param name="path">The file or folder.</param>
    /// <param name="privateCopy">Reads the files into private memory instead of mapping them: slower to open, but later changes of the files do not matter.</param>
    /// <exception cref="InvalidModelFileException">There is nothing, or it is broken.</exception>
    /// <exception cref="UnsupportedModelException">It is in a format that is not read.</exception>
    public static Checkpoint Open(string path, bool privateCopy = false)
    {
        if (Directory.Exists(path)) return OpenFolder(path, privateCopy);
        if (!File.Exists(path)) throw new InvalidModelFileException($"There is no file or folder '{path}'. Give a GGUF file, or a Hugging Face folder with config.json and safetensors.");
        string name = System.IO.Path.GetFileName(path), extension = System.IO.Path.GetExtension(path).ToLowerInvariant();
        string folder = System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path))!;
        if (extension == ".safetensors" || name is "config.json" || name.EndsWith(".safetensors.index.json", StringComparison.Ordinal)) return SafetensorsCheckpoint.Open(folder, privateCopy);
        if (extension is ".bin" or ".pt" or ".pth" or ".ckpt") throw PyTorch(path);
        if (extension != ".gguf")
        {
            using MappedFile file = MappedFile.Open(path);
            if (file.Length < 4 || file.UInt32(0) != GgufFile.Magic)
                throw new UnsupportedModelException($"'{path}' is neither a GGUF file (it does not start with \"GGUF\") nor a safetensors file. Give a GGUF file, or a Hugging Face folder with config.json and safetensors.");
        }
        return GgufCheckpoint.Open(path, privateCopy);
    }

    /// <summary>Holds a tensor against the shape that is asked for: its last dimension is the columns, all others together are the rows.</summary>
    /// <exception cref="InvalidModelFileException">It differs.</exception>
    protected void CheckShape(string name, IReadOnlyList<long> shape, int rows, int columns)
    {
        long others = 1;
        for (int d = 0; d < shape.Count - 1; d++) others *= shape[d];
        if (others != rows || (shape.Count == 0 ? 1 : shape[^1]) != columns)
            throw new InvalidModelFileException($"The tensor '{name}' in '{Path}' has shape [{string.Join(", ", shape)}], but the configuration asks for [{rows}, {columns}]. Configuration and weights are of different models, or the file is broken.");
    }

    private static Checkpoint OpenFolder(string folder, bool privateCopy)
    {
        if (SafetensorsCheckpoint.IsAt(folder)) return SafetensorsCheckpoint.Open(folder, privateCopy);
        string[] gguf = [.. Directory.EnumerateFiles(folder, "*.gguf").Where(f => !f.Contains("-of-", StringComparison.Ordinal) || f.Contains("-00001-of-", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
        if (gguf.Length == 1) return GgufCheckpoint.Open(gguf[0], privateCopy);
        if (gguf.Length > 1) throw new InvalidModelFileException($"The folder '{folder}' holds {gguf.Length} GGUF models ({string.Join(", ", gguf.Take(3).Select(System.IO.Path.GetFileName))}, …). Name one of them.");
        if (Directory.EnumerateFiles(folder, "*.bin").FirstOrDefault() is { } bin) throw PyTorch(bin);
        return SafetensorsCheckpoint.Open(folder, privateCopy);
    }

    private static UnsupportedModelException PyTorch(string path)
        => new($"'{path}' is a PyTorch file, which is not read because it can run code. Use the same model as safetensors or GGUF (most publishers offer both), or convert it.");
}
