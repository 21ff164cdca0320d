namespace DeepSeek.Tensors;

/// <summary>
/// Writes K-blocks: each sub-block's scale (and minimum) by <see cref="ScaleSearch"/>; then these are rounded to multiples of the block's own, where their neighbours are tried
/// too, because the rounding of the numbers changes with them.
/// </summary>
internal static class KQuantise
{
    /// <summary>Q4_K or Q5_K: x ≈ d·s·q − dmin·m, eight sub-blocks of 32.</summary>
    public static void Affine(ReadOnlySpan<float> x, Span<byte> b, bool fiveBits)
    {
        int steps = fiveBits ? 31 : 15;
        Span<float> weights = stackalloc float[256], scales = stackalloc float[8], minima = stackalloc float[8];
        for (int g = 0; g < 8; g++)
        {
            ScaleSearch.Weigh(x.Slice(g * 32, 32), weights.Slice(g * 32, 32));
            (scales[g], minima[g]) = ScaleSearch.FitAffine(x.Slice(g * 32, 32), weights.Slice(g * 32, 32), steps, onlyNegative: true);
        }
        float largestScale = 0, largestMinimum = 0;
        for (int g = 0; g < 8; g++) (largestScale, largestMinimum) = (Math.Max(largestScale, scales[g]), Math.Max(largestMinimum, minima[g]));
        Quantise.WriteHalf(b, largestScale / 63);
        Quantise.WriteHalf(b[2..], largestMinimum / 63);
        float d = Dequantise.Half(b), dMin = Dequantise.Half(b[2..]);
        b[4..].Clear();
        Span<byte> q = stackalloc byte[32], best = stackalloc byte[32];
        for (int g = 0; g < 8; g++)
        {
            int scale = d == 0 ? 0 : Math.Clamp((int)MathF.Round(scales[g] / d), 0, 63), minimum = dMin == 0 ? 0 : Math.Clamp((int)MathF.Round(minima[g] / dMin), 0, 63);
            float least = float.PositiveInfinity;
            (int bestScale, int bestMinimum) = (scale, minimum);
            for (int s = Math.Max(0, scale - 1); s <= Math.Min(63, scale + 1); s++)
                for (int m = Math.Max(0, minimum - 1); m <= Math.Min(63, minimum + 1); m++)
                {
                    float error = ScaleSearch.RoundAffine(x.Slice(g * 32, 32), weights.Slice(g * 32, 32), d * s, dMin * m, steps, q);
                    if (error >= least && least < float.PositiveInfinity) continue;
                    (least, bestScale, bestMinimum) = (error, s, m);
                    q.CopyTo(best);
                }
            PutScaleAndMinimum(b[4..16], g, bestScale, bestMinimum);
            int at = (fiveBits ? 48 : 16) + g / 2 * 32;
            for (int j = 0; j < 32; j++)
            {
                b[at + j] |= (byte)((best[j] & 15) << g % 2 * 4);
                if (fiveBits) b[16 + j] |= (byte)(best[j] >> 4 << g);
            }
        }
    }

    /// <summary>Q6_K: x ≈ d·s·(q − 32), sixteen sub-blocks of 16.</summary>
    public static void Symmetric(ReadOnlySpan<float> x, Span<byte> b)
    {
        Span<float> scales = stackalloc float[16], weights = stackalloc float[256];
        for (int i = 0; i < 256; i++) weights[i] = x[i] * x[i];
        float largest = 0;
        for (int g = 0; g < 16; g++)
        {
            scales[g] = ScaleSearch.FitSymmetric(x.Slice(g * 16, 16), weights.Slice(g * 16, 16), 32);
            if (MathF.Abs(scales[g]) > MathF.Abs(largest)) largest = scales[g];
        }
        b.Clear();
        Quantise.WriteHalf(b[208..], largest / -128);
        float d = Dequantise.Half(b[208..]);
        if (d == 0) return; // every number is 0 (or too small for d): scales of 0 stand for that
        Span<byte> q = stackalloc byte[16], best = stackalloc byte[16];
        for (int g = 0; g < 16; g++)
        {
            int near = Math.Clamp((int)MathF.Round(scales[g] / d), -128, 127), bestScale = near;
            float least = float.PositiveInfinity;
            for (int s = Math.Max(-128, near - 1); s <= Math.Min(127, near + 1); s++)
            {
                float error = ScaleSearch.RoundSymmetric(x.Slice(g * 16, 16), weights.Slice(g * 16, 16), d * s, 32, q);
                if (error >= least && least < float.PositiveInfinity) continue;
                (least, bestScale) = (error, s);
                q.CopyTo(best);
            }
            b[192 + g] = (byte)(sbyte)bestScale;
            for (int j = 0; j < 16; j++)
            {
                int i = g * 16 + j, half = i / 128, quarter = i / 32 % 4, l = i % 32, code = best[j];
                b[half * 64 + quarter % 2 * 32 + l] |= (byte)((code & 15) << quarter / 2 * 4);
                b[128 + half * 32 + l] |= (byte)(code >> 4 << quarter * 2);
            }
        }
    }

    /// <summary>The reverse of <see cref="KBlocks.ScaleAndMinimum"/>; the bytes start as zeros.</summary>
    private static void PutScaleAndMinimum(Span<byte> s, int g, int scale, int minimum)
    {
        if (g < 4)
        {
            s[g] |= (byte)scale;
            s[g + 4] |= (byte)minimum;
            return;
        }
        s[g + 4] = (byte)(scale & 15 | minimum << 4);
        s[g - 4] |= (byte)(scale >> 4 << 6);
        s[g] |= (byte)(minimum >> 4 << 6);
    }
}
