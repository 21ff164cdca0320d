namespace DeepSeek.Backends;

/// <summary>
/// One sequence's part of a step: rows [FirstRow, FirstRow + RowCount) are its tokens at positions FirstPosition, FirstPosition + 1, …
/// Its cache rows before FirstPosition are filled already.
/// </summary>
/// <param name="FirstRow">Its first row in the step.</param>
/// <param name="RowCount">Its rows in the step; at least 1.</param>
/// <param name="FirstPosition">Position of the first row, from 0.</param>
/// <param name="TableStart">Where its block table begins in <see cref="StepLayout.BlockTables"/>.</param>
internal readonly record struct SequenceSlice(int FirstRow, int RowCount, int FirstPosition, int TableStart);

/// <summary>
/// What one forward pass works on: the tokens of all sequences, one after the other, and where each sequence's cache blocks are. Plain data, filled by the
/// engine and used again for the next step; capacity is fixed at construction, so that filling allocates nothing.
/// </summary>
/// <param name="maxTokens">Most tokens in a step.</param>
/// <param name="maxSequences">Most sequences in a step.</param>
/// <param name="maxBlocks">Most block-table entries of all sequences together.</param>
/// <param name="blockTokens">Token positions that one cache block covers.</param>
internal sealed class StepLayout(int maxTokens, int maxSequences, int maxBlocks, int blockTokens)
{
    private readonly int[] tokens = new int[maxTokens];
    private readonly int[] positions = new int[maxTokens];
    private readonly int[] outputRows = new int[maxTokens];
    private readonly SequenceSlice[] sequences = new SequenceSlice[maxSequences];
    private readonly int[] blockTables = new int[maxBlocks];
    private int tokenCount, outputCount, sequenceCount, blockCount;

    /// <summary>Token positions that one cache block covers.</summary>
    public int BlockTokens { get; } = blockTokens;

    /// <summary>Grows with every change: who has copied the step sees whether the copy is old.</summary>
    public long Version { get; private set; }

    /// <summary>T: rows of the step.</summary>
    public int TokenCount => tokenCount;

    /// <summary>Token ids, one a row. [T]</summary>
    public ReadOnlySpan<int> Tokens => tokens.AsSpan(0, tokenCount);

    /// <summary>Positions, one a row. [T]</summary>
    public ReadOnlySpan<int> Positions => positions.AsSpan(0, tokenCount);

    /// <summary>Rows whose logits are wanted, ascending.</summary>
    public ReadOnlySpan<int> OutputRows => outputRows.AsSpan(0, outputCount);

    /// <summary>The sequences, in the order of their rows.</summary>
    public ReadOnlySpan<SequenceSlice> Sequences => sequences.AsSpan(0, sequenceCount);

    /// <summary>Block tables, one after the other: the block of position p of sequence s is [s.TableStart + p / BlockTokens].</summary>
    public ReadOnlySpan<int> BlockTables => blockTables.AsSpan(0, blockCount);

    /// <summary>Asked between layers: whether nobody wants this step any more. Null: it always goes to its end.</summary>
    public Func<bool>? IsAbandoned { get; set; }

    /// <summary>Models call it in front of each layer.</summary>
    /// <exception cref="StepAbandonedException">Nobody wants the step any more.</exception>
    public void Checkpoint()
    {
        if (IsAbandoned?.Invoke() == true) throw new StepAbandonedException();
    }

    /// <summary>Empties the step.</summary>
    public void Clear()
    {
        tokenCount = outputCount = sequenceCount = blockCount = 0;
        Version++;
    }

    /// <summary>Adds a sequence's tokens at firstPosition, firstPosition + 1, … <paramref name="blocks"/> covers every position up to the last of them.</summary>
    /// <param name="ids">Its tokens in this step.</param>
    /// <param name="firstPosition">Position of the first of them.</param>
    /// <param name="blocks">Its whole block table.</param>
    /// <param name="outputs">Logits are wanted for that many of the last rows.</param>
    public void Add(ReadOnlySpan<int> ids, int firstPosition, ReadOnlySpan<int> blocks, int outputs)
    {
        sequences[sequenceCount++] = new SequenceSlice(tokenCount, ids.Length, firstPosition, blockCount);
        blocks.CopyTo(blockTables.AsSpan(blockCount));
        blockCount += blocks.Length;
        ids.CopyTo(tokens.AsSpan(tokenCount));
        for (int i = 0; i < ids.Length; i++) positions[tokenCount + i] = firstPosition + i;
        for (int i = ids.Length - outputs; i < ids.Length; i++) outputRows[outputCount++] = tokenCount + i;
        tokenCount += ids.Length;
        Version++;
    }
}

/// <summary>A step that ended between two layers. What it has written to the cache counts for nothing.</summary>
internal sealed class StepAbandonedException : OperationCanceledException;
