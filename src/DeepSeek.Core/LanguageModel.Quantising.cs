using DeepSeek.Formats;

namespace DeepSeek;

public sealed partial class LanguageModel
{
    /// <summary>
    /// Writes a model as a GGUF file of another number format, tensor by tensor: memory stays small however large the model is. The file appears under its name only when it is whole.
    /// </summary>
    /// <param name="source">A GGUF file or a Hugging Face folder.</param>
    /// <param name="destination">The file to write; one of that name is replaced at the end.</param>
    /// <param name="format">A format (<c>Q8_0</c>, <c>Q6_K</c>, <c>Q5_K</c>, <c>Q4_K</c>, <c>Q5_0</c>, <c>Q5_1</c>, <c>Q4_0</c>, <c>Q4_1</c>, <c>BF16</c>, <c>F16</c>) or a mix of them (<c>Q4_K_M</c>, <c>Q5_K_M</c>).</param>
    /// <param name="progress">Told after each tensor; called on the writing thread.</param>
    /// <param name="cancellationToken">Gives up; no file is left.</param>
    /// <exception cref="InvalidOptionException">The format is unknown, or the file cannot be written there.</exception>
    /// <exception cref="InvalidModelFileException">The source is broken.</exception>
    /// <exception cref="UnsupportedModelException">The source has no form in GGUF that is known.</exception>
    public static Task QuantiseAsync(string source, string destination, string format, IProgress<LoadProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(destination);
        ArgumentNullException.ThrowIfNull(format);
        GgufRecipe recipe = GgufRecipe.Find(format);
        return Task.Run(() =>
        {
            using Checkpoint checkpoint = Checkpoint.Open(source, privateCopy: false);
            GgufExport.Run(checkpoint, destination, recipe, progress is null ? null : new Relay(progress), cancellationToken: cancellationToken);
        }, cancellationToken);
    }

    /// <summary>The writer's progress in the words of the public face.</summary>
    private sealed class Relay(IProgress<LoadProgress> progress) : IProgress<GgufExportProgress>
    {
        public void Report(GgufExportProgress value) => progress.Report(new LoadProgress($"{value.Tensor} ({value.TensorNumber} of {value.TensorCount})", (double)value.BytesWritten / Math.Max(1, value.BytesTotal)));
    }
}
