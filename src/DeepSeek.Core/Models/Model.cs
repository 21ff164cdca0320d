using DeepSeek.Backends;
using DeepSeek.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Models;

/// <summary>
/// A loaded architecture: weights bound to a backend, and the forward pass over its table of operations. Stateless between steps: what it remembers of a
/// sequence is in the cache alone. One thread (the engine's) calls it.
/// </summary>
internal abstract class Model
{
    /// <summary>Rows of the embedding and of the head; may exceed the tokenizer's entries.</summary>
    public abstract int VocabularySize { get; }

    /// <summary>D: numbers of a hidden state.</summary>
    public abstract int HiddenSize { get; }

    /// <summary>Layers, draft modules not counted.</summary>
    public abstract int LayerCount { get; }

    /// <summary>Positions that the model was made for.</summary>
    public abstract int MaxPositions { get; }

    /// <summary>What it remembers of each token; draft modules' streams included.</summary>
    public abstract IReadOnlyList<CacheStream> Streams { get; }

    /// <summary>Runs a step: appends to the cache and returns the hidden states after the final norm. [T, D], scratch memory of the backend.</summary>
    public abstract Tensor Forward(StepLayout step, CacheStorage cache);

    /// <summary>logits of the given rows of what <see cref="Forward"/> returned. [rows.Length, VocabularySize]</summary>
    public abstract void Logits(Tensor logits, Tensor hidden, ReadOnlySpan<int> rows);

    /// <summary>Tokens ahead that the draft module was trained for; 0: the model has none.</summary>
    public virtual int DraftModules => 0;

    /// <summary>
    /// Runs the draft module (multi-token prediction, spec 2.7): row t holds the hidden state of position p − 1 as <see cref="Forward"/> (or this method) returned it, and the
    /// step's token t at position p ≥ 1 is the token behind it. Appends to the module's own stream, whose row p so depends on tokens up to p only (there is no row 0), and
    /// returns hidden states for <see cref="DraftLogits"/>, which then are of position p + 1. Chained drafts hand the result back with the drafted token. [T, D]
    /// </summary>
    public virtual Tensor Draft(StepLayout step, Tensor hidden, CacheStorage cache) => throw new NotSupportedException("This model has no draft module.");

    /// <summary>logits of the given rows of what <see cref="Draft"/> returned: by the module's own head where it has one. [rows.Length, VocabularySize]</summary>
    public virtual void DraftLogits(Tensor logits, Tensor hidden, ReadOnlySpan<int> rows) => Logits(logits, hidden, rows);
}

/// <summary>What an architecture needs to bind its weights.</summary>
/// <param name="Checkpoint">The file; it outlives the model.</param>
/// <param name="Backend">Where the model runs.</param>
internal sealed record ModelSource(Checkpoint Checkpoint, Backend Backend)
{
    public ModelConfig Config => Checkpoint.Config;
}
