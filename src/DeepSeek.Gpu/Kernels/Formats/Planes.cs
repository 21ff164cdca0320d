namespace DeepSeek.Gpu.Kernels.Formats;

/// <summary>
/// How rows of block formats are cut on the device: not block after block as in files (where blocks of 18 or 210 bytes forbid wide loads) but plane after plane: all quants' low
/// bits, then their high bits, then scales. The planes of a group of 32 elements, element e = 4k + b being byte b of word k:
/// <list type="bullet">
/// <item>bytes: 32 bytes in order;</item>
/// <item>nibbles: 16 bytes; byte j has element j in its low half and element j + 16 in its high one;</item>
/// <item>pairs of bits: 2 words, one a half; bits 8b + 2k of a word belong to word k of its half;</item>
/// <item>single bits: 1 word; bit 8b + k belongs to word k.</item>
/// </list>
/// </summary>
internal static class Planes<TThread, TMemory> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public static Quants Bytes(TMemory w, long row, int g) => new(w.Quad((row >> 4) + 2 * g), w.Quad((row >> 4) + 2 * g + 1));

    public static Quants Nibbles(TMemory w, long row, int g)
    {
        Quad q = w.Quad((row >> 4) + g);
        return new Quants(new Quad(q.A & 0x0F0F0F0F, q.B & 0x0F0F0F0F, q.C & 0x0F0F0F0F, q.D & 0x0F0F0F0F),
            new Quad(q.A >> 4 & 0x0F0F0F0F, q.B >> 4 & 0x0F0F0F0F, q.C >> 4 & 0x0F0F0F0F, q.D >> 4 & 0x0F0F0F0F));
    }

    /// <summary>Pairs of bits, moved up by <paramref name="shift"/>, over what is there.</summary>
    public static Quants Pairs(TMemory w, long plane, int g, int shift, Quants q)
    {
        uint a = w.Word((plane >> 2) + 2 * g), b = w.Word((plane >> 2) + 2 * g + 1);
        return new Quants(new Quad(q.Low.A | (a & 0x03030303) << shift, q.Low.B | (a >> 2 & 0x03030303) << shift, q.Low.C | (a >> 4 & 0x03030303) << shift, q.Low.D | (a >> 6 & 0x03030303) << shift),
            new Quad(q.High.A | (b & 0x03030303) << shift, q.High.B | (b >> 2 & 0x03030303) << shift, q.High.C | (b >> 4 & 0x03030303) << shift, q.High.D | (b >> 6 & 0x03030303) << shift));
    }

    /// <summary>Single bits, moved up by <paramref name="shift"/>, over what is there.</summary>
    public static Quants Bits(TMemory w, long plane, int g, int shift, Quants q)
    {
        uint a = w.Word((plane >> 2) + g);
        return new Quants(new Quad(q.Low.A | (a & 0x01010101) << shift, q.Low.B | (a >> 1 & 0x01010101) << shift, q.Low.C | (a >> 2 & 0x01010101) << shift, q.Low.D | (a >> 3 & 0x01010101) << shift),
            new Quad(q.High.A | (a >> 4 & 0x01010101) << shift, q.High.B | (a >> 5 & 0x01010101) << shift, q.High.C | (a >> 6 & 0x01010101) << shift, q.High.D | (a >> 7 & 0x01010101) << shift));
    }

    /// <summary>Nibbles that number the entries of a table of 16 signed bytes.</summary>
    public static Quants Table(TThread t, TMemory w, long row, int g, Quad table)
    {
        Quad q = w.Quad((row >> 4) + g);
        return new Quants(new Quad(Look(t, q.A, table), Look(t, q.B, table), Look(t, q.C, table), Look(t, q.D, table)),
            new Quad(Look(t, q.A >> 4, table), Look(t, q.B >> 4, table), Look(t, q.C >> 4, table), Look(t, q.D >> 4, table)));
    }

    /// <summary>Entries by the low nibble of each byte: from the lower and from the upper eight, then by the nibble's highest bit.</summary>
    private static uint Look(TThread t, uint q, Quad table)
    {
        uint low = q & 0x07070707, selector = (low | low >> 4) & 0x00FF00FF; // numbers a byte → numbers a nibble
        selector = (selector | selector >> 8) & 0xFFFF;
        uint upper = (q >> 3 & 0x01010101) * 255;
        return (t.Permute(table.A, table.B, selector) & ~upper) | (t.Permute(table.C, table.D, selector) & upper);
    }

    public static float Half(TThread t, TMemory w, long address, int i) => Numbers<TThread>.FromF16(t, w.Half((address >> 1) + i));

    /// <summary>Elements [4i, 4i + 4) of a row of a block format.</summary>
    public static Four Four<TFormat>(TThread t, TMemory w, TFormat format, MatrixPlace place, long row, int i) where TFormat : struct, IBlockFormat<TThread, TMemory>
    {
        int g = i >> 3, k = i & 7;
        Quants q = format.Quants(t, w, row, place.Groups, g);
        Factors f = format.Factors(t, w, row, place.Groups, g);
        float scale = k < 4 ? f.Scale0 : f.Scale1, minimum = k < 4 ? f.Minimum0 : f.Minimum1;
        uint low = k < 2 ? k == 0 ? q.Low.A : q.Low.B : k == 2 ? q.Low.C : q.Low.D, high = k < 6 ? k == 4 ? q.High.A : q.High.B : k == 6 ? q.High.C : q.High.D;
        uint word = k < 4 ? low : high;
        int offset = format.Offset;
        return new Four(scale * (Portable.SignedByte(word) - offset) + minimum, scale * (Portable.SignedByte(word >> 8) - offset) + minimum,
            scale * (Portable.SignedByte(word >> 16) - offset) + minimum, scale * (((int)word >> 24) - offset) + minimum);
    }
}
