using System.Runtime.CompilerServices;

namespace DeepSeek.Generation.Constraints;

/// <summary>A set of bytes: 256 bits.</summary>
internal readonly record struct ByteSet(ulong A, ulong B, ulong C, ulong D)
{
    public static ByteSet All { get; } = Range(0, 255);

    public bool IsEmpty => (A | B | C | D) == 0;

    public bool this[byte value]
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => ((value >> 6) switch { 0 => A, 1 => B, 2 => C, _ => D } >> (value & 63) & 1) != 0;
    }

    public static ByteSet Of(byte value) => Range(value, value);

    public static ByteSet Range(int low, int high)
    {
        Span<ulong> words = stackalloc ulong[4];
        words.Clear();
        for (int i = low; i <= high; i++) words[i >> 6] |= 1UL << (i & 63);
        return new(words[0], words[1], words[2], words[3]);
    }

    public static ByteSet operator |(ByteSet x, ByteSet y) => new(x.A | y.A, x.B | y.B, x.C | y.C, x.D | y.D);

    public static ByteSet operator &(ByteSet x, ByteSet y) => new(x.A & y.A, x.B & y.B, x.C & y.C, x.D & y.D);
}
