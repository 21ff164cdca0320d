using DeepSeek.Tensors;

namespace DeepSeek.Formats;

/// <summary>How far a conversion is.</summary>
/// <param name="Tensor">The tensor at work.</param>
/// <param name="TensorNumber">Its number, from 1.</param>
/// <param name="TensorCount">Tensors in all.</param>
/// <param name="BytesWritten">Bytes of data written.</param>
/// <param name="BytesTotal">Bytes of data in all.</param>
internal sealed record GgufExportProgress(string Tensor, int TensorNumber, int TensorCount, long BytesWritten, long BytesTotal);

/// <summary>
/// Converts any readable checkpoint to GGUF: dequantises, quantises, renames, stacks. Streams tensor by tensor in pieces of bounded size, rows on all threads. The file appears
/// under its name only when it is whole.
/// </summary>
internal static unsafe class GgufExport
{
    private const int PieceBytes = 16 << 20;

    /// <summary>Converts. Blocks until it is done.</summary>
    /// <param name="source">Any checkpoint.</param>
    /// <param name="path">The file to write; one of that name is replaced at the end.</param>
    /// <param name="recipe">How to store the matrices.</param>
    /// <param name="progress">Told a few times a second or less; may be null.</param>
    /// <param name="threads">Rows at the same time; 0: one a processor.</param>
    /// <param name="keepDraftModules">Whether multi-token prediction layers are written (as nextn.*); readers from before they were known in deepseek2 files refuse them.</param>
    /// <param name="cancellationToken">Stops, and leaves no file.</param>
    /// <exception cref="UnsupportedModelException">The source's architecture, tokenizer or a tensor has no form in GGUF that is known.</exception>
    /// <exception cref="InvalidModelFileException">The source is broken.</exception>
    /// <exception cref="InvalidOptionException">The file cannot be written there.</exception>
    public static void Run(Checkpoint source, string path, GgufRecipe recipe, IProgress<GgufExportProgress>? progress = null, int threads = 0, bool keepDraftModules = true, CancellationToken cancellationToken = default)
    {
        path = Path.GetFullPath(path);
        if (source is GgufCheckpoint gguf && gguf.File.Tensors.Any(t => Path.GetFullPath(t.File.Path) == path))
            throw new InvalidOptionException($"'{path}' is the source itself. Give another file to write to.");
        string partial = $"{path}.{Environment.ProcessId}.partial";
        try
        {
            using (var stream = new FileStream(partial, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 16))
            {
                Write(source, stream, recipe, progress, threads, keepDraftModules, cancellationToken);
                stream.Flush(flushToDisk: true);
            }
            File.Move(partial, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Discard(partial);
            throw new InvalidOptionException($"'{path}' cannot be written: {e.Message} The folder must exist, be writable, and have room for the file.", e);
        }
        catch
        {
            Discard(partial);
            throw;
        }
    }

    private static void Discard(string partial)
    {
        if (File.Exists(partial)) File.Delete(partial);
    }

    private static void Write(Checkpoint source, Stream stream, GgufRecipe recipe, IProgress<GgufExportProgress>? progress, int threads, bool keepDraftModules, CancellationToken cancellationToken)
    {
        var writer = new GgufWriter(stream);
        IReadOnlyList<ExportTensor> tensors;
        if (source is GgufCheckpoint gguf)
        {
            foreach (GgufValue value in gguf.File.Metadata.Values)
                if (value.Key is not ("general.file_type" or "general.alignment" or "general.quantization_version") && !value.Key.StartsWith("split.", StringComparison.Ordinal)) writer.Add(value);
            tensors = [.. gguf.File.Tensors.Select(ExportTensor.FromGguf)];
        }
        else
        {
            var export = new HuggingFaceExport(source, keepDraftModules);
            export.AddMetadata(writer);
            new HuggingFaceTokenizerExport(source).AddMetadata(writer);
            tensors = export.Tensors();
        }
        writer.Add("general.file_type", recipe.FileType);
        writer.Add("general.quantization_version", 2);
        bool tied = !tensors.Any(t => t.Name == "output.weight");
        int layers = source.Config.Int("num_hidden_layers");
        DType[] types = [.. tensors.Select(t => t.StoredAs ?? (GgufRecipe.Keeps(t.Name, t.Shape) ? DType.F32 : recipe.For(t.Name, t.Shape[^1], layers, tied)))];
        for (int i = 0; i < types.Length; i++) writer.AddTensor(tensors[i].Name, types[i], tensors[i].Shape);
        writer.WriteHeader();
        long written = 0, total = writer.DataBytes;
        var options = new ParallelOptions { CancellationToken = cancellationToken, MaxDegreeOfParallelism = threads > 0 ? threads : Environment.ProcessorCount };
        for (int i = 0; i < types.Length; i++)
        {
            ExportTensor tensor = tensors[i];
            foreach (Memory<byte> piece in Pieces(tensor, types[i], options))
            {
                writer.WriteData(piece.Span);
                progress?.Report(new GgufExportProgress(tensor.Name, i + 1, types.Length, written += piece.Length, total));
            }
        }
    }

    /// <summary>A tensor's data in pieces of whole rows; the memory is used again for the next one.</summary>
    private static IEnumerable<Memory<byte>> Pieces(ExportTensor tensor, DType type, ParallelOptions options)
    {
        int columns = (int)tensor.Shape[^1], rowBytes = checked((int)type.RowBytes(columns));
        long rows = tensor.Rows;
        int most = (int)Math.Min(rows, Math.Max(1, PieceBytes / rowBytes));
        var piece = new byte[(long)most * rowBytes];
        for (long first = 0; first < rows; first += most)
        {
            options.CancellationToken.ThrowIfCancellationRequested();
            int count = (int)Math.Min(most, rows - first), share = Math.Max(1, Math.Min(64, count / 16));
            long start = first;
            Parallel.For(0, (count + share - 1) / share, options, () => new float[columns], (task, _, row) =>
            {
                for (int r = task * share; r < Math.Min(count, (task + 1) * share); r++)
                {
                    Span<byte> target = piece.AsSpan(r * rowBytes, rowBytes);
                    if (tensor.TryCopyRow(start + r, type, target)) continue;
                    tensor.ReadRow(start + r, row);
                    Quantise.Row(type, row, target, search: true);
                }
                return row;
            }, _ => { });
            yield return piece.AsMemory(0, count * rowBytes);
        }
    }
}

/// <summary>Fills a row of a tensor to be written.</summary>
internal delegate void RowReader(long row, Span<float> y);

/// <summary>A tensor to be written: its GGUF name, its shape (outermost first), and where its rows come from.</summary>
internal sealed unsafe class ExportTensor
{
    private readonly Weight[] stack;
    private readonly Func<long, long>? permutation;
    private readonly RowReader? reader;

    private ExportTensor(string name, long[] shape, Weight[] stack, Func<long, long>? permutation, RowReader? reader, DType? storedAs = null)
        => (Name, Shape, this.stack, this.permutation, this.reader, StoredAs) = (name, shape, stack, permutation, reader, storedAs);

    public string Name { get; }

    public long[] Shape { get; }

    /// <summary>A format that it keeps whatever the recipe; null: the recipe decides.</summary>
    public DType? StoredAs { get; }

    public long Rows => Shape.Take(Shape.Length - 1).Aggregate(1L, (a, b) => a * b);

    /// <summary>A tensor of another GGUF; what is not quantised stays as it is.</summary>
    public static ExportTensor FromGguf(GgufTensor t)
    {
        long rows = t.Shape.Take(t.Shape.Length - 1).Aggregate(1L, (a, b) => a * b);
        if (rows > int.MaxValue || t.Shape[^1] > int.MaxValue) throw new UnsupportedModelException($"The tensor '{t.Name}' [{string.Join(", ", t.Shape)}] is larger than can be converted.");
        bool keeps = GgufRecipe.Keeps(t.Name, t.Shape) || t.Type is DType.I8 or DType.I16 or DType.I32 or DType.I64 or DType.F64;
        return new ExportTensor(t.Name, t.Shape, [new Weight(t.Name, t.Type, (int)rows, (int)t.Shape[^1], t.Data)], null, null, keeps ? t.Type : null);
    }

    /// <summary>Matrices of the same shape one below the other, rows within all of them reordered if a permutation is given.</summary>
    public static ExportTensor Stack(string name, long[] shape, Weight[] stack, Func<long, long>? permutation = null) => new(name, shape, stack, permutation, null);

    /// <summary>Rows that are computed.</summary>
    public static ExportTensor Computed(string name, long[] shape, RowReader reader, DType? storedAs = null) => new(name, shape, [], null, reader, storedAs);

    /// <summary>Copies a row that is stored in the wanted format already.</summary>
    public bool TryCopyRow(long row, DType type, Span<byte> target)
    {
        if (reader is not null || stack[0].Type != type) return false;
        (Weight weight, int at) = At(row);
        new ReadOnlySpan<byte>((void*)weight.Row(at), target.Length).CopyTo(target);
        return true;
    }

    public void ReadRow(long row, Span<float> y)
    {
        if (reader is not null) reader(row, y);
        else
        {
            (Weight weight, int at) = At(row);
            Dequantise.Row(weight, at, y);
        }
    }

    private (Weight Weight, int Row) At(long row)
    {
        if (permutation is not null) row = permutation(row);
        return (stack[row / stack[0].Rows], (int)(row % stack[0].Rows));
    }
}
