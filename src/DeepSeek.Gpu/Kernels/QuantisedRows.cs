using DeepSeek.Gpu.Kernels.Formats;

namespace DeepSeek.Gpu.Kernels;

/// <summary>
/// Activations in signed bytes, for products with block formats: for each group of 32 a float32 scale, the largest magnitude / 127. A row is all its bytes, then all scales, then for
/// each group the sums of its halves, 16 bits each.
/// </summary>
internal static class QuantisedRows
{
    /// <summary>Words of a row, a whole number of 128-bit words.</summary>
    public static int Words(int columns) => ((columns + 31) / 32 * 10 + 3) / 4 * 4;
}

/// <summary>A group of 32 activations.</summary>
internal readonly struct QuantisedGroup(Quants quants, float scale, int sum0, int sum1)
{
    public readonly Quants Quants = quants;
    public readonly float Scale = scale;
    public readonly int Sum0 = sum0, Sum1 = sum1;

    /// <summary>Group g of the row that begins at a word, a multiple of four.</summary>
    public static QuantisedGroup Read<TThread, TMemory>(TThread t, TMemory scratch, long row, int groups, int g) where TThread : struct, IThread where TMemory : struct, IMemory
    {
        uint sums = scratch.Word(row + 9 * groups + g);
        return new QuantisedGroup(new Quants(scratch.Quad((row >> 2) + 2 * g), scratch.Quad((row >> 2) + 2 * g + 1)), scratch.Float(row + 8 * groups + g), Portable.SignedHalf(sums), (int)sums >> 16);
    }

    /// <summary>The product of a group of weights with these activations.</summary>
    public readonly float Dot<TThread>(TThread t, Quants w, Factors f, int offset) where TThread : struct, IThread
    {
        int low = t.Dot4(w.Low.D, Quants.Low.D, t.Dot4(w.Low.C, Quants.Low.C, t.Dot4(w.Low.B, Quants.Low.B, t.Dot4(w.Low.A, Quants.Low.A, -offset * Sum0))));
        int high = t.Dot4(w.High.D, Quants.High.D, t.Dot4(w.High.C, Quants.High.C, t.Dot4(w.High.B, Quants.High.B, t.Dot4(w.High.A, Quants.High.A, -offset * Sum1))));
        return Scale * (f.Scale0 * low + f.Scale1 * high + (f.Minimum0 * Sum0 + f.Minimum1 * Sum1));
    }
}

/// <summary>Quantises rows. Grid: an item a group of 32 of a row, as many groups of items as that takes; no shared memory.</summary>
internal struct Quantise<TThread, TMemory> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public TMemory Scratch;
    public RowPlace X;
    public QuantisedPlace Y;
    public int Rows;

    public readonly void Run(TThread t)
    {
        int groups = (X.Columns + 31) / 32, i = t.Group * t.Items + t.Item;
        if (i >= Rows * groups) return;
        Y.Store(t, Scratch, i / groups, X.Row(i / groups), X.Columns, i % groups);
    }
}

/// <summary>Where quantised rows go.</summary>
/// <param name="start">The first word, a multiple of four; below zero: nothing is quantised.</param>
/// <param name="rowWords">Words of a row.</param>
internal readonly struct QuantisedPlace(long start, int rowWords)
{
    public readonly long Start = start;
    public readonly int RowWords = rowWords;

    public readonly long Row(int row) => Start + (long)row * RowWords;

    /// <summary>Quantises group g of a row of numbers.</summary>
    public readonly void Store<TThread, TMemory>(TThread t, TMemory scratch, int row, long numbers, int columns, int g) where TThread : struct, IThread where TMemory : struct, IMemory
    {
        int groups = (columns + 31) / 32, end = columns - 32 * g;
        long x = numbers + 32 * g, y = Row(row);
        float max = 0;
        for (int k = 0; k < 32 && k < end; k++)
        {
            float value = scratch.Float(x + k), magnitude = value < 0 ? -value : value;
            if (magnitude > max) max = magnitude;
        }
        float inverse = max == 0 ? 0 : 127f / max;
        int sum0 = 0, sum1 = 0;
        for (int k = 0; k < 8; k++)
        {
            uint word = 0;
            for (int b = 0; b < 4; b++)
            {
                float scaled = 4 * k + b < end ? scratch.Float(x + 4 * k + b) * inverse : 0;
                int q = (int)(scaled + (scaled < 0 ? -0.5f : 0.5f));
                word |= (uint)(q & 255) << 8 * b;
                if (k < 4) sum0 += q;
                else sum1 += q;
            }
            scratch.SetWord(y + 8 * g + k, word);
        }
        scratch.SetFloat(y + 8 * groups + g, max / 127f);
        scratch.SetWord(y + 9 * groups + g, (uint)(sum0 & 0xFFFF) | (uint)sum1 << 16);
    }
}
