using DeepSeek.Backends.Cpu.Dot;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// The product of one format's stored blocks with tokens, without packed panels. A result is made by the same operations in the same order whatever the
/// count of tokens.
/// </summary>
/// <param name="unitColumns">Columns of a step: a row is a whole number of them.</param>
internal abstract unsafe class StoredKernel(int unitColumns)
{
    /// <summary>Rows that a weight has at least.</summary>
    public const int Rows = 16;

    /// <summary>Columns of a step: a row is a whole number of them.</summary>
    public int UnitColumns { get; } = unitColumns;

    /// <summary>Most tokens for which nothing else is faster; with more, packed panels are, where there are any.</summary>
    /// <param name="format">The weight's format.</param>
    public abstract int MostWithoutPanels(BlockFormat format);

    /// <summary>Most tokens with which an item's rows are multiplied at once; with more, a panel after the other.</summary>
    public abstract int MostWithWholeItems { get; }

    /// <summary>Tiles of so many tokens.</summary>
    public abstract int Tiles(int columns, int tokens);

    /// <summary>Bytes of the tiles of so many tokens.</summary>
    public abstract long TilesBytes(int columns, int tokens);

    /// <summary>Packs one tile of the activations. Kernels of one class make the same tiles.</summary>
    public abstract void Pack(QuantisedRows x, int tile, byte* tiles);

    /// <summary>y[t][n] for rows [first, first + count) and all tokens, without bias.</summary>
    /// <param name="w">The weight.</param>
    /// <param name="first">First row.</param>
    /// <param name="count">How many.</param>
    /// <param name="tiles">All tokens, packed by <see cref="Pack"/>.</param>
    /// <param name="tokens">How many.</param>
    /// <param name="y">Products.</param>
    public abstract void Multiply(Weight w, int first, int count, byte* tiles, int tokens, Tensor y);
}
