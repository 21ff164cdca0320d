using DeepSeek.Gpu.Kernels.Formats;

namespace DeepSeek.Gpu.Kernels;

/// <summary>Rows of float32 numbers in scratch memory, in units of 4 bytes.</summary>
/// <param name="start">The first number.</param>
/// <param name="stride">Numbers from row to row.</param>
/// <param name="columns">Numbers of a row.</param>
internal readonly struct RowPlace(long start, int stride, int columns)
{
    public readonly long Start = start;
    public readonly int Stride = stride, Columns = columns;

    public readonly long Row(int row) => Start + (long)row * Stride;
}

/// <summary>A grid over rows whose columns are cut into segments: a group has one segment of one row.</summary>
/// <param name="segments">Segments of a row.</param>
/// <param name="width">Columns of a segment.</param>
internal readonly struct SegmentGrid(int segments, int width)
{
    public readonly int Segments = segments, Width = width;

    public readonly int Row(int group) => group / Segments;

    public readonly int First(int group) => group % Segments * Width;

    public readonly int End(int group, int columns)
    {
        int end = First(group) + Width;
        return end < columns ? end : columns;
    }
}

/// <summary>y[i] = row numbers[i] of a matrix. Grid: segments of rows, four columns an item at a time; no shared memory.</summary>
internal struct Embed<TThread, TMemory, TFormat> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory where TFormat : struct, IFormat<TThread, TMemory>
{
    public TMemory Scratch, Weights, Tables;
    public RowPlace Y;
    public MatrixPlace Matrix;
    public SegmentGrid Grid;
    public long Numbers;

    public readonly void Run(TThread t)
    {
        TFormat format = default;
        int i = Grid.Row(t.Group), end = Grid.End(t.Group, Y.Columns);
        long row = Matrix.Start + (int)Tables.Word(Numbers + i) * Matrix.RowBytes, y = Y.Row(i);
        for (int c = Grid.First(t.Group) + 4 * t.Item; c < end; c += 4 * t.Items)
        {
            Four x = format.Four(t, Weights, Matrix, row, c >> 2);
            Scratch.SetFloat(y + c, x.A);
            if (c + 1 < end) Scratch.SetFloat(y + c + 1, x.B);
            if (c + 2 < end) Scratch.SetFloat(y + c + 2, x.C);
            if (c + 3 < end) Scratch.SetFloat(y + c + 3, x.D);
        }
    }
}

/// <summary>y[i] = x[numbers[i]]. Grid: segments of rows; no shared memory.</summary>
internal struct Gather<TThread, TMemory> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public TMemory Scratch, Tables;
    public RowPlace Y, X;
    public SegmentGrid Grid;
    public long Numbers;

    public readonly void Run(TThread t)
    {
        int i = Grid.Row(t.Group), end = Grid.End(t.Group, Y.Columns);
        long x = X.Row((int)Tables.Word(Numbers + i)), y = Y.Row(i);
        for (int c = Grid.First(t.Group) + t.Item; c < end; c += t.Items) Scratch.SetFloat(y + c, Scratch.Float(x + c));
    }
}

/// <summary>y += x. Grid: segments of rows; no shared memory.</summary>
internal struct Add<TThread, TMemory> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public TMemory Scratch;
    public RowPlace Y, X;
    public SegmentGrid Grid;

    public readonly void Run(TThread t)
    {
        int row = Grid.Row(t.Group), end = Grid.End(t.Group, Y.Columns);
        long x = X.Row(row), y = Y.Row(row);
        for (int c = Grid.First(t.Group) + t.Item; c < end; c += t.Items) Scratch.SetFloat(y + c, Scratch.Float(y + c) + Scratch.Float(x + c));
    }
}

/// <summary>
/// gate = gate / (1 + e^−gate) · up, and the same quantised where that is asked for. Grid: segments of rows, of whole groups of 32 columns; no shared memory.
/// </summary>
internal struct SiluMultiply<TThread, TMemory> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public TMemory Scratch;
    public RowPlace Gate, Up;
    public SegmentGrid Grid;
    public QuantisedPlace Quantised;

    public readonly void Run(TThread t)
    {
        int row = Grid.Row(t.Group), end = Grid.End(t.Group, Gate.Columns);
        long gate = Gate.Row(row), up = Up.Row(row);
        for (int c = Grid.First(t.Group) + t.Item; c < end; c += t.Items)
        {
            float g = Scratch.Float(gate + c);
            Scratch.SetFloat(gate + c, g / (1f + Numbers<TThread>.Exp(t, -g)) * Scratch.Float(up + c));
        }
        if (Quantised.Start < 0) return;
        t.Barrier();
        for (int g = Grid.First(t.Group) / 32 + t.Item; g < (end + 31) / 32; g += t.Items) Quantised.Store(t, Scratch, row, gate, Gate.Columns, g);
    }
}

/// <summary>
/// y = gain ⊙ x / √(mean(x²) + epsilon) for every stretch of a row that is as long as the gain. y may be x.
/// Whole rows are quantised too where that is asked for. Grid: a group a stretch of a row; shared memory: a word a warp.
/// </summary>
internal struct RmsNorm<TThread, TMemory> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public TMemory Scratch, Gain;
    public RowPlace Y, X;
    public long GainStart;
    public int Size, Stretches;
    public float Epsilon;
    public QuantisedPlace Quantised;

    public readonly void Run(TThread t)
    {
        int row = t.Group / Stretches, first = t.Group % Stretches * Size;
        long x = X.Row(row) + first, y = Y.Row(row) + first;
        float squares = 0;
        for (int i = t.Item; i < Size; i += t.Items)
        {
            float value = Scratch.Float(x + i);
            squares = t.Fma(value, value, squares);
        }
        float factor = 1f / t.Sqrt(Reduce<TThread>.Sum(t, squares, 0) / Size + Epsilon);
        for (int i = t.Item; i < Size; i += t.Items) Scratch.SetFloat(y + i, Gain.Float(GainStart + i) * (Scratch.Float(x + i) * factor));
        if (Quantised.Start < 0) return;
        t.Barrier();
        for (int g = t.Item; g < (Size + 31) / 32; g += t.Items) Quantised.Store(t, Scratch, row, y, Size, g);
    }
}

/// <summary>
/// factors[t] = [cos | sin] of every pair's angle, times the magnitude. The angle is counted in 2^-64 of a turn: position times frequency wraps around exactly, however far the
/// position. Grid: a group a row; no shared memory.
/// </summary>
internal struct RotaryFactors<TThread, TMemory> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory
{
    /// <summary>Turns: for each pair the frequency in 2^-64 turns a position, low word first.</summary>
    public TMemory Scratch, Turns, Tables;
    public RowPlace Y;
    public long Positions;
    public int Pairs;
    public float Magnitude;

    public readonly void Run(TThread t)
    {
        long y = Y.Row(t.Group);
        ulong position = Tables.Word(Positions + t.Group);
        for (int i = t.Item; i < Pairs; i += t.Items)
        {
            ulong turns = position * (Turns.Word(2 * i) | (ulong)Turns.Word(2 * i + 1) << 32);
            Scratch.SetFloat(y + i, Numbers<TThread>.Cos(t, turns) * Magnitude);
            Scratch.SetFloat(y + Pairs + i, Numbers<TThread>.Sin(t, turns) * Magnitude);
        }
    }
}

/// <summary>Rotates pairs of dimensions of every head in place. Grid: a group a row; no shared memory.</summary>
internal struct Rotate<TThread, TMemory> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory
{
    /// <summary>First: where the first head's rotated part begins. Pair i is (Step·i, Step·i + Apart).</summary>
    public TMemory Scratch;
    public RowPlace X, FactorRows;
    public int Heads, HeadSize, First, Pairs, Step, Apart;

    public readonly void Run(TThread t)
    {
        long row = X.Row(t.Group), factors = FactorRows.Row(t.Group);
        for (int i = t.Item; i < Heads * Pairs; i += t.Items)
        {
            int pair = i % Pairs;
            long at = row + i / Pairs * HeadSize + First + pair * Step;
            float cosine = Scratch.Float(factors + pair), sine = Scratch.Float(factors + Pairs + pair), a = Scratch.Float(at), b = Scratch.Float(at + Apart);
            Scratch.SetFloat(at, a * cosine - b * sine);
            Scratch.SetFloat(at + Apart, b * cosine + a * sine);
        }
    }
}

/// <summary>Copies a part of every head from one tensor to another. Grid: a group a row; no shared memory.</summary>
internal struct CopyParts<TThread, TMemory> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public TMemory Scratch;
    public RowPlace Y, X;
    public int Parts, Width, YFirst, YStep, XFirst, XStep;

    public readonly void Run(TThread t)
    {
        long y = Y.Row(t.Group) + YFirst, x = X.Row(t.Group) + XFirst;
        for (int i = t.Item; i < Parts * Width; i += t.Items) Scratch.SetFloat(y + i / Width * YStep + i % Width, Scratch.Float(x + i / Width * XStep + i % Width));
    }
}
