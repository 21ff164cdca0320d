using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu.Dot;

/// <summary>256 elements: 128 bytes of lower four bits, 64 bytes of upper two, 16 signed scales, half d; element = d·scale·(q − 32), a scale for each 16.</summary>
internal readonly unsafe struct Q6_K : IBlockFormat
{
    public static int Elements => 256;

    public static int Bytes => 210;

    public static int GroupElements => 16;

    public static bool HasMinima => false;

    public static void Unpack(byte* block, sbyte* q, float* scales, float* minima)
    {
        float d = BlockFormat.Half(block + 208);
        for (int g = 0; g < 16; g++) scales[g] = d * ((sbyte*)block)[192 + g];
        Vector256<byte> four = Vector256.Create((byte)15), two = Vector256.Create((byte)48);
        Vector256<sbyte> offset = Vector256.Create((sbyte)32);
        for (int h = 0; h < 2; h++)
        {
            Vector256<byte> a = Vector256.Load(block + 64 * h), b = Vector256.Load(block + 64 * h + 32);
            Vector256<ushort> high = Vector256.Load(block + 128 + 32 * h).AsUInt16();
            sbyte* to = q + 128 * h;
            ((a & four | (high << 4).AsByte() & two).AsSByte() - offset).Store(to);
            ((b & four | (high << 2).AsByte() & two).AsSByte() - offset).Store(to + 32);
            (((a.AsUInt16() >> 4).AsByte() & four | high.AsByte() & two).AsSByte() - offset).Store(to + 64);
            (((b.AsUInt16() >> 4).AsByte() & four | (high >> 2).AsByte() & two).AsSByte() - offset).Store(to + 96);
        }
    }
}
