namespace DeepSeek.Tensors;

/// <summary>
/// A handle on float32 activations: <see cref="Rows"/> rows of <see cref="Columns"/> numbers, <see cref="Stride"/> numbers apart. The address means something
/// to the backend that made it and to nobody else (on the CPU it is a pointer). A value: slicing allocates nothing.
/// </summary>
internal readonly record struct Tensor(nint Address, int Rows, int Columns, int Stride)
{
    /// <summary>Rows [first, first + count).</summary>
    public Tensor TakeRows(int first, int count) => this with { Address = Address + (nint)((long)first * Stride * sizeof(float)), Rows = count };

    /// <summary>Columns [first, first + count) of every row.</summary>
    public Tensor TakeColumns(int first, int count) => this with { Address = Address + first * sizeof(float), Columns = count };
}
