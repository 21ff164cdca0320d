using System.Runtime.Intrinsics;

namespace DeepSeek.Tensors;

/// <summary>
/// Finds the scale (and minimum) of a group of numbers that are to be rounded to a few steps: candidates are tried; for each, the numbers are rounded, the best scale for that
/// rounding follows from weighted least squares, and the candidate with the least weighted error stays. Groups are multiples of 8 long.
/// </summary>
internal static class ScaleSearch
{
    /// <summary>Candidates on each side of the plain scale.</summary>
    private const int Candidates = 10;

    /// <summary>Parts of a step by which the range is divided more or less from one candidate to the next.</summary>
    private const float CandidateStep = 0.1f;

    /// <summary>w = √mean(x²) + |x|: large numbers weigh more, because they move a product more.</summary>
    public static void Weigh(ReadOnlySpan<float> x, Span<float> w)
    {
        float squares = 0;
        foreach (float v in x) squares += v * v;
        float mean = MathF.Sqrt(squares / x.Length);
        for (int j = 0; j < x.Length; j++) w[j] = mean + MathF.Abs(x[j]);
    }

    /// <summary>Scale s and minimum m of least Σ w·(s·q − m − x)² with q from 0 to steps; with <paramref name="onlyNegative"/>, m ≥ 0: what is stored is subtracted.</summary>
    public static (float Scale, float Minimum) FitAffine(ReadOnlySpan<float> x, ReadOnlySpan<float> w, int steps, bool onlyNegative)
    {
        float min = onlyNegative ? 0 : float.MaxValue, max = float.MinValue;
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
        for (int candidate = -Candidates; candidate <= Candidates; candidate++)
        {
            Vector256<float> inverse = Vector256.Create((steps + CandidateStep * candidate) / (max - min)), sq = default, sqq = default, sqx = default;
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
            if (onlyNegative && offset > 0) (scale, offset) = (sumQX / sumQQ, 0);
            // The error but for Σ w·x², which is the same for all.
            double error = scale * scale * sumQQ + offset * offset * sumW + 2 * scale * offset * sumQ - 2 * scale * sumQX - 2 * offset * sumX;
            if (error >= least || scale <= 0) continue;
            (least, best) = (error, ((float)scale, (float)-offset));
        }
        return best;
    }

    /// <summary>Rounds to q with s·q − m, and returns the weighted error.</summary>
    public static float RoundAffine(ReadOnlySpan<float> x, ReadOnlySpan<float> w, float scale, float minimum, int steps, Span<byte> q)
    {
        Vector256<float> step = Vector256.Create(scale), inverse = Vector256.Create(Inverse(scale)), m = Vector256.Create(minimum), top = Vector256.Create((float)steps), error = default;
        for (int j = 0; j < x.Length; j += 8)
        {
            Vector256<float> values = Vector256.Create(x[j..]), n = Vector256.Min(Vector256.Max(Vector256.Round((values + m) * inverse), Vector256<float>.Zero), top), off = step * n - m - values;
            error += Vector256.Create(w[j..]) * off * off;
            Put(n, q[j..]);
        }
        return Vector256.Sum(error);
    }

    /// <summary>The scale s of least Σ w·(s·q − x)² with q from −half to half − 1.</summary>
    public static float FitSymmetric(ReadOnlySpan<float> x, ReadOnlySpan<float> w, int half)
    {
        float largest = 0;
        foreach (float v in x)
            if (MathF.Abs(v) > MathF.Abs(largest)) largest = v;
        if (largest == 0 || !float.IsFinite(1 / largest)) return 0;
        Vector256<float> low = Vector256.Create((float)-half), high = Vector256.Create((float)(half - 1));
        double most = -1;
        float best = largest / -half;
        for (int candidate = -Candidates; candidate <= Candidates; candidate++)
        {
            Vector256<float> inverse = Vector256.Create(-(half + CandidateStep * candidate) / largest), sqq = default, sqx = default;
            for (int j = 0; j < x.Length; j += 8)
            {
                Vector256<float> values = Vector256.Create(x[j..]), q = Vector256.Min(Vector256.Max(Vector256.Round(values * inverse), low), high), wq = Vector256.Create(w[j..]) * q;
                sqq += wq * q;
                sqx += wq * values;
            }
            double sumQQ = Vector256.Sum(sqq), sumQX = Vector256.Sum(sqx);
            // With the best scale Σwqx / Σwqq the error is Σwx² − (Σwqx)² / Σwqq.
            if (sumQQ <= 0 || sumQX * sumQX / sumQQ <= most) continue;
            (most, best) = (sumQX * sumQX / sumQQ, (float)(sumQX / sumQQ));
        }
        return best;
    }

    /// <summary>Rounds to q with s·(q − half), q from 0 to 2·half − 1, and returns the weighted error.</summary>
    public static float RoundSymmetric(ReadOnlySpan<float> x, ReadOnlySpan<float> w, float scale, int half, Span<byte> q) => RoundAffine(x, w, scale, scale * half, 2 * half - 1, q);

    /// <summary>0 stands for a scale whose inverse is no finite number.</summary>
    private static float Inverse(float scale) => scale != 0 && float.IsFinite(1 / scale) ? 1 / scale : 0;

    private static void Put(Vector256<float> whole, Span<byte> q)
    {
        Vector256<int> n = Vector256.ConvertToInt32(whole);
        for (int k = 0; k < 8; k++) q[k] = (byte)n[k];
    }
}
