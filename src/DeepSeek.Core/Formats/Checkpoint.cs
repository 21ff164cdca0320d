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
}
