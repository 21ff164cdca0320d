using System.Runtime.Intrinsics;

namespace DeepSeek.Tensors;

/// <summary>
/// Writes K-blocks by a search: for each sub-block, candidate scales are tried; for each, the numbers are rounded, the best scale (and minimum) for that rounding follows from
/// weighted least squares, and the candidate with the least weighted error stays. Then the sub-blocks' scales themselves are rounded to the block's, and their neighbours are
/// tried too, because the rounding of the numbers changes with them. Large numbers weigh more: they move a product more.
/// </summary>
internal static class KQuantise
{
    /// <summary>Candidates of <see cref="Affine"/>: the range is divided into steps + (−1 … +1) parts.</summary>
    private const int AffineCandidates = 21;

    /// <summary>Candidates of <see cref="Symmetric"/> on each side.</summary>
    private const int SymmetricCandidates = 9;

    private const float CandidateStep = 0.1f;

    /// <summary>Q4_K or Q5_K: x ≈ d·s·q − dmin·m, eight sub-blocks of 32.</summary>
    public static void Affine(ReadOnlySpan<float> x, Span<byte> b, bool fiveBits)
    {
        int steps = fiveBits ? 31 : 15;
        Span<float> weights = stackalloc float[256], scales = stackalloc float[8], minima = stackalloc float[8];
        for (int g = 0; g < 8; g++)
        {
            Weigh(x.Slice(g * 32, 32), weights.Slice(g * 32, 32));
            (scales[g], minima[g]) = FitAffine(x.Slice(g * 32, 32), weights.Slice(g * 32, 32), steps);
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
                    float error = RoundAffine(x.Slice(g * 32, 32), weights.Slice(g * 32, 32), d * s, dMin * m, steps, q);
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
        Span<float> scales = stackalloc float[16];
        float largest = 0;
        for (int g = 0; g < 16; g++)
        {
            scales[g] = FitSymmetric(x.Slice(g * 16, 16));
            if (MathF.Abs(scales[g]) > MathF.Abs(largest)) largest = scales[g];
        }
        b.Clear();
        Quantise.WriteHalf(b[208..], largest / -128);
        float d = Dequantise.Half(b[208..]);
        if (d == 0) return; // every number is 0 (or too small for d): scales of 0 stand for that
        Span<int> q = stackalloc int[16], best = stackalloc int[16];
        for (int g = 0; g < 16; g++)
        {
            int near = Math.Clamp((int)MathF.Round(scales[g] / d), -128, 127), bestScale = near;
            float least = float.PositiveInfinity;
            for (int s = Math.Max(-128, near - 1); s <= Math.Min(127, near + 1); s++)
            {
                float error = 0, step = d * s, inverse = step == 0 ? 0 : 1 / step;
                for (int j = 0; j < 16; j++)
                {
                    float v = x[g * 16 + j];
                    q[j] = Math.Clamp((int)MathF.Round(v * inverse), -32, 31);
                    float off = step * q[j] - v;
                    error += v * v * off * off;
                }
                if (error >= least && least < float.PositiveInfinity) continue;
                (least, bestScale) = (error, s);
                q.CopyTo(best);
            }
            b[192 + g] = (byte)(sbyte)bestScale;
            for (int j = 0; j < 16; j++)
            {
                int i = g * 16 + j, half = i / 128, quarter = i / 32 % 4, l = i % 32, code = best[j] + 32;
                b[half * 64 + quarter % 2 * 32 + l] |= (byte)((code & 15) << quarter / 2 * 4);
                b[128 + half * 32 + l] |= (byte)(code >> 4 << quarter * 2);
            }
        }
    }

    /// <summary>w = √mean(x²) + |x|.</summary>
    private static void Weigh(ReadOnlySpan<float> x, Span<float> w)
    {
        float squares = 0;
        foreach (float v in x) squares += v * v;
        float mean = MathF.Sqrt(squares / x.Length);
        for (int j = 0; j < x.Length; j++) w[j] = mean + MathF.Abs(x[j]);
    }

    /// <summary>Scale and minimum m ≥ 0 of least Σ w·(s·q − m − x)² among the candidates.</summary>
    private static (float Scale, float Minimum) FitAffine(ReadOnlySpan<float> x, ReadOnlySpan<float> w, int steps)
    {
        float min = 0, max = float.MinValue;
        double sumW = 0, sumX = 0;
        for (int j = 0; j < x.Length; j++)
        {
            (min, max) = (Math.Min(min, x[j]), Math.Max(max, x[j]));
            sumW += w[j];
            sumX += (double)w[j] * x[j];
        }
        if (max <= min) return (0, -min);
        double least = double.PositiveInfinity;
        (float Scale, float Minimum) best = ((max - min) / steps, -min);
        Vector256<float> low = Vector256.Create(min), top = Vector256.Create((float)steps);
        for (int candidate = 0; candidate < AffineCandidates; candidate++)
        {
            Vector256<float> inverse = Vector256.Create((steps + CandidateStep * (candidate - AffineCandidates / 2)) / (max - min)), sq = default, sqq = default, sqx = default;
            for (int j = 0; j < x.Length; j += 8)
            {
                Vector256<float> values = Vector256.Create(x[j..]), weights = Vector256.Create(w[j..]);
                Vector256<float> q = Vector256.Min(Vector256.Max(Vector256.Round((values - low) * inverse), Vector256<float>.Zero), top), wq = weights * q;
                sq += wq;
                sqq += wq * q;
                sqx += wq * values;
            }
            double sumQ = Vector256.Sum(sq), sumQQ = Vector256.Sum(sqq), sumQX = Vector256.Sum(sqx), determinant = sumW * sumQQ - sumQ * sumQ;
            if (determinant <= 0) continue;
            double scale = (sumW * sumQX - sumX * sumQ) / determinant, offset = (sumQQ * sumX - sumQ * sumQX) / determinant;
            if (offset > 0) (scale, offset) = (sumQX / sumQQ, 0);
            // The error but for Σ w·x², which is the same for all.
            double error = scale * scale * sumQQ + offset * offset * sumW + 2 * scale * offset * sumQ - 2 * scale * sumQX - 2 * offset * sumX;
            if (error >= least || scale <= 0) continue;
            (least, best) = (error, ((float)scale, (float)-offset));
        }
        return best;
    }

    /// <summary>Rounds with a given scale and minimum, and returns the weighted error.</summary>
    private static float RoundAffine(ReadOnlySpan<float> x, ReadOnlySpan<float> w, float scale, float minimum, int steps, Span<byte> q)
    {
        Vector256<float> step = Vector256.Create(scale), inverse = Vector256.Create(scale == 0 ? 0 : 1 / scale), m = Vector256.Create(minimum), top = Vector256.Create((float)steps), error = default;
        for (int j = 0; j < x.Length; j += 8)
        {
            Vector256<float> values = Vector256.Create(x[j..]), n = Vector256.Min(Vector256.Max(Vector256.Round((values + m) * inverse), Vector256<float>.Zero), top), off = step * n - m - values;
            error += Vector256.Create(w[j..]) * off * off;
            Vector256<int> whole = Vector256.ConvertToInt32(n);
            for (int k = 0; k < 8; k++) q[j + k] = (byte)whole[k];
        }
        return Vector256.Sum(error);
    }

    /// <summary>The scale of least Σ x²·(s·q − x)², q from −32 to 31, among the candidates.</summary>
    private static float FitSymmetric(ReadOnlySpan<float> x)
    {
        float largest = 0;
        foreach (float v in x)
            if (MathF.Abs(v) > MathF.Abs(largest)) largest = v;
        if (largest == 0 || !float.IsFinite(1 / largest)) return 0;
        Vector256<float> x0 = Vector256.Create(x), x1 = Vector256.Create(x[8..]), w0 = x0 * x0, w1 = x1 * x1, low = Vector256.Create(-32f), high = Vector256.Create(31f);
        double most = -1;
        float best = largest / -32;
        for (int candidate = -SymmetricCandidates; candidate <= SymmetricCandidates; candidate++)
        {
            Vector256<float> inverse = Vector256.Create(-(32 + CandidateStep * candidate) / largest);
            Vector256<float> q0 = Vector256.Min(Vector256.Max(Vector256.Round(x0 * inverse), low), high), q1 = Vector256.Min(Vector256.Max(Vector256.Round(x1 * inverse), low), high);
            double sumQQ = Vector256.Sum(w0 * q0 * q0 + w1 * q1 * q1), sumQX = Vector256.Sum(w0 * q0 * x0 + w1 * q1 * x1);
            // With the best scale ΣwqX / Σwqq the error is Σwx² − (ΣwqX)² / Σwqq.
            if (sumQQ <= 0 || sumQX * sumQX / sumQQ <= most) continue;
            (most, best) = (sumQX * sumQX / sumQQ, (float)(sumQX / sumQQ));
        }
        return best;
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
