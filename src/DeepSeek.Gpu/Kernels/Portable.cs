namespace DeepSeek.Gpu.Kernels;

/// <summary>Instructions that not every device has, in plain C#: what <see cref="IThread"/> is made of where nothing better is known.</summary>
internal static class Portable
{
    /// <summary>c + Σ aᵢ·bᵢ over four signed bytes.</summary>
    public static int Dot4(uint a, uint b, int c)
        => c + (sbyte)a * (sbyte)b + (sbyte)(a >> 8) * (sbyte)(b >> 8) + (sbyte)(a >> 16) * (sbyte)(b >> 16) + ((int)a >> 24) * ((int)b >> 24);

    /// <summary>Bytes of b:a by number, a number a nibble.</summary>
    public static uint Permute(uint a, uint b, uint selector)
    {
        ulong bytes = (ulong)b << 32 | a;
        return (uint)(bytes >> (int)(selector & 7) * 8 & 255) | (uint)(bytes >> (int)(selector >> 4 & 7) * 8 & 255) << 8
            | (uint)(bytes >> (int)(selector >> 8 & 7) * 8 & 255) << 16 | (uint)(bytes >> (int)(selector >> 12 & 7) * 8 & 255) << 24;
    }
}
