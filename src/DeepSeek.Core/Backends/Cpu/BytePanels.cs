using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using DeepSeek.Backends.Cpu.Assembly;
using DeepSeek.Backends.Cpu.Dot;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// Packs block formats and quantised activations for products of bytes. A step of 32 columns of a panel: 2 × 8 vectors of 16 rows × 4 columns, unsigned (q + 128);
/// 2 vectors of 16 scales (4 where scales belong to 16 columns); as many of minima, where there are any (of two a step −1/128, which
/// meets −128·Σ q). A step of a tile: 8 × tokens × 4 columns, then for each token −128·Σ q,
/// scale, scale·Σ q, −128·Σ of the first and of the last 16.
/// </summary>
internal static unsafe class BytePanels
{
    private const int HalfRows = 16;

    /// <summary>Bytes of a step of a panel.</summary>
    public static int PanelStep(BlockFormat format) => 1024 + (format.GroupElements == 16 ? 256 : 128) * (format.HasMinima ? 2 : 1);

    /// <summary>Bytes of a step of a tile.</summary>
    public static int TileStep(int tokens) => 52 * tokens;

    /// <summary>Bytes of working memory that <see cref="PackWeights"/> wants.</summary>
    public static long ScratchBytes(int columns) => (long)HalfRows * IntegerDot.ScratchBytes(columns);

    /// <summary>Packs rows [first, first + count), at most 32; rows that do not exist become zeros.</summary>
    public static void PackWeights(Capabilities capabilities, BlockFormat format, Weight w, int first, int count, byte* panel, byte* scratch)
    {
        byte** addresses = stackalloc byte*[HalfRows];
        bool packs = format.Packs(capabilities);
        int columns = w.Columns, step = PanelStep(format), rowBytes = IntegerDot.ScratchBytes(columns), perStep = 32 / format.GroupElements;
        for (int half = 0; half < 2; half++)
        {
            int rows = Math.Clamp(count - half * HalfRows, 0, HalfRows);
            if (packs && rows > 0)
            {
                // Rows that do not exist repeat the last one; nobody reads what comes of them.
                for (int r = 0; r < HalfRows; r++) addresses[r] = (byte*)w.Row(first + half * HalfRows + Math.Min(r, rows - 1));
                format.Pack(new PanelRows(addresses), columns, panel + 512 * half, (float*)(panel + 1024) + HalfRows * half, step);
                continue;
            }
            for (int r = 0; r < rows; r++)
            {
                byte* row = scratch + (long)r * rowBytes;
                float* scales = (float*)(row + columns);
                format.Unpack((byte*)w.Row(first + half * HalfRows + r), columns, (sbyte*)row, scales, scales + columns / 16);
            }
            if (rows < HalfRows) new Span<byte>(scratch + (long)rows * rowBytes, (HalfRows - rows) * rowBytes).Clear();
            for (int b = 0; b < columns / 32; b++)
            {
                byte* to = panel + (long)b * step;
                if (capabilities.Avx512) Transpose(scratch + 32 * b, rowBytes, to + 512 * half);
                else TransposeFours(scratch + 32 * b, rowBytes, to + 512 * half);
                float* scaleTo = (float*)(to + 1024) + HalfRows * half;
                for (int r = 0; r < HalfRows; r++)
                {
                    float* scales = (float*)(scratch + (long)r * rowBytes + columns);
                    for (int g = 0; g < perStep; g++) scaleTo[32 * g + r] = scales[perStep * b + g];
                    if (!format.HasMinima) continue;
                    float* minima = scales + columns / 16;
                    if (perStep == 1) scaleTo[32 + r] = minima[b];
                    else for (int g = 0; g < 2; g++) scaleTo[64 + 32 * g + r] = minima[2 * b + g] * (-1 / 128f);
                }
            }
        }
    }

    /// <summary>16 rows × 32 signed bytes to 8 × 16 rows × 4 unsigned bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose(byte* from, long stride, byte* to)
    {
        Vector512<int> flip = Vector512.Create(unchecked((int)0x80808080));
        Vector512<int> r0 = Rows(from, 0, stride), r1 = Rows(from, 1, stride), r2 = Rows(from, 2, stride), r3 = Rows(from, 3, stride);
        Vector512<int> r4 = Rows(from, 4, stride), r5 = Rows(from, 5, stride), r6 = Rows(from, 6, stride), r7 = Rows(from, 7, stride);
        // 4 × 4 within the 128-bit lanes …
        Vector512<long> a = Avx512F.UnpackLow(r0, r1).AsInt64(), b = Avx512F.UnpackHigh(r0, r1).AsInt64(), c = Avx512F.UnpackLow(r2, r3).AsInt64(), d = Avx512F.UnpackHigh(r2, r3).AsInt64();
        Vector512<long> e = Avx512F.UnpackLow(r4, r5).AsInt64(), f = Avx512F.UnpackHigh(r4, r5).AsInt64(), g = Avx512F.UnpackLow(r6, r7).AsInt64(), h = Avx512F.UnpackHigh(r6, r7).AsInt64();
        Vector512<long> t0 = Avx512F.UnpackLow(a, c), t1 = Avx512F.UnpackHigh(a, c), t2 = Avx512F.UnpackLow(b, d), t3 = Avx512F.UnpackHigh(b, d);
        Vector512<long> u0 = Avx512F.UnpackLow(e, g), u1 = Avx512F.UnpackHigh(e, g), u2 = Avx512F.UnpackLow(f, h), u3 = Avx512F.UnpackHigh(f, h);
        // … then whole lanes: rows 0-3 | 4-7 | 8-11 | 12-15.
        Vector512<long> even = Vector512.Create(0L, 1, 8, 9, 4, 5, 12, 13), odd = Vector512.Create(2L, 3, 10, 11, 6, 7, 14, 15);
        (Avx512F.PermuteVar8x64x2(t0, even, u0).AsInt32() ^ flip).Store((int*)to);
        (Avx512F.PermuteVar8x64x2(t1, even, u1).AsInt32() ^ flip).Store((int*)to + 16);
        (Avx512F.PermuteVar8x64x2(t2, even, u2).AsInt32() ^ flip).Store((int*)to + 32);
        (Avx512F.PermuteVar8x64x2(t3, even, u3).AsInt32() ^ flip).Store((int*)to + 48);
        (Avx512F.PermuteVar8x64x2(t0, odd, u0).AsInt32() ^ flip).Store((int*)to + 64);
        (Avx512F.PermuteVar8x64x2(t1, odd, u1).AsInt32() ^ flip).Store((int*)to + 80);
        (Avx512F.PermuteVar8x64x2(t2, odd, u2).AsInt32() ^ flip).Store((int*)to + 96);
        (Avx512F.PermuteVar8x64x2(t3, odd, u3).AsInt32() ^ flip).Store((int*)to + 112);
    }

    /// <summary>The same in squares of four rows and four times four columns.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void TransposeFours(byte* from, long stride, byte* to)
    {
        Vector128<uint> flip = Vector128.Create(0x80808080u);
        for (int r = 0; r < HalfRows; r += 4)
            for (int k = 0; k < 8; k += 4)
            {
                uint* at = (uint*)(from + r * stride) + k, result = (uint*)to + 16 * k + r;
                Vector128<uint> a = Vector128.Load(at) ^ flip, b = Vector128.Load((uint*)((byte*)at + stride)) ^ flip;
                Vector128<uint> c = Vector128.Load((uint*)((byte*)at + 2 * stride)) ^ flip, d = Vector128.Load((uint*)((byte*)at + 3 * stride)) ^ flip;
                Vector128<uint> ac0 = Low(a, c), ac1 = High(a, c), bd0 = Low(b, d), bd1 = High(b, d);
                Low(ac0, bd0).Store(result);
                High(ac0, bd0).Store(result + 16);
                Low(ac1, bd1).Store(result + 32);
                High(ac1, bd1).Store(result + 48);
            }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> Low(Vector128<uint> a, Vector128<uint> b)
        => Sse2.IsSupported ? Sse2.UnpackLow(a, b) : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipLow(a, b) : Vector128.Create(a[0], b[0], a[1], b[1]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> High(Vector128<uint> a, Vector128<uint> b)
        => Sse2.IsSupported ? Sse2.UnpackHigh(a, b) : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipHigh(a, b) : Vector128.Create(a[2], b[2], a[3], b[3]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Rows(byte* from, int row, long stride)
        => Vector512.Create(Vector256.Load((int*)(from + row * stride)), Vector256.Load((int*)(from + (row + 8) * stride)));

    /// <summary>Packs one tile: tokens [first, first + count) of the activations; the tile's other tokens become zeros.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackTokens(QuantisedRows x, int first, int count, int tileTokens, byte* tile)
    {
        int steps = x.Columns / 32;
        if (count < tileTokens) new Span<byte>(tile, steps * TileStep(tileTokens)).Clear();
        for (int t = 0; t < count; t++)
        {
            long at = (long)(first + t) * x.Columns;
            int* q = (int*)((sbyte*)x.Q + at), lanes = (int*)x.NegativeLanes + at / 4;
            float* scales = (float*)x.Scales + at / 32, sums = (float*)x.Sums + at / 32;
            int* to = (int*)tile + t;
            for (int b = 0; b < steps; b++, q += 8, lanes += 8, to += 13 * tileTokens)
            {
                for (int k = 0; k < 8; k++) to[k * tileTokens] = q[k];
                int low = lanes[0] + lanes[1] + lanes[2] + lanes[3] << 7, high = lanes[4] + lanes[5] + lanes[6] + lanes[7] << 7;
                to[8 * tileTokens] = low + high;
                to[9 * tileTokens] = BitConverter.SingleToInt32Bits(scales[b]);
                to[10 * tileTokens] = BitConverter.SingleToInt32Bits(sums[b]);
                to[11 * tileTokens] = low;
                to[12 * tileTokens] = high;
            }
        }
    }
}
