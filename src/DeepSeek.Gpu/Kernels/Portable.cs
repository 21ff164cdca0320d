namespace DeepSeek.Gpu.Kernels;

/// <summary>Instructions that not every device has, in plain C#: what <see cref="IThread"/> is made of where nothing better is known.</summary>
internal static class Portable
{
    /// <summary>c + Σ aᵢ·bᵢ over four signed bytes.</summary>
    public static int Dot4(uint a, uint b, int c)
        => c + SignedByte(a) * SignedByte(b) + SignedByte(a >> 8) * SignedByte(b >> 8) + SignedByte(a >> 16) * SignedByte(b >> 16) + ((int)a >> 24) * ((int)b >> 24);

    /// <summary>The low 8 bits as a signed number. By shifts: where such a number becomes a float32, ILGPU 1.5.3 takes a conversion to sbyte for one to byte, on CUDA and OpenCL alike.</summary>
    public static int SignedByte(uint x) => (int)(x << 24) >> 24;

    /// <summary>The low 16 bits as a signed number.</summary>
    public static int SignedHalf(uint x) => (int)(x << 16) >> 16;

    /// <summary>Bytes of b:a by number, a number a nibble.</summary>
    public static uint Permute(uint a, uint b, uint selector)
    {
        ulong bytes = (ulong)b << 32 | a;
        return (uint)(bytes >> (int)(selector & 7) * 8 & 255) | (uint)(bytes >> (int)(selector >> 4 & 7) * 8 & 255) << 8
            | (uint)(bytes >> (int)(selector >> 8 & 7) * 8 & 255) << 16 | (uint)(bytes >> (int)(selector >> 12 & 7) * 8 & 255) << 24;
    }
}
