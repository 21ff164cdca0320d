namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>256 elements: 64 bytes of two bits, half d; element = d·(q − 1).</summary>
internal readonly unsafe struct TQ2_0 : IBlockFormat
{
    public static int Elements => 256;

    public static int Bytes => 66;

    public static int GroupElements => 32;

    public static bool HasMinima => false;

    public static (int Least, int Most) Range => (-1, 2);

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        new Span<float>(scales, 8).Fill(BlockFormat.Half(block + 64));
        Nibbles.Twos(block, 1, q);
        Nibbles.Twos(block + 32, 1, q + 128);
    }
}
