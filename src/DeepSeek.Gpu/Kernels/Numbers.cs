namespace DeepSeek.Gpu.Kernels;

/// <summary>
/// Numbers that devices have no instruction for, or one too coarse: small floats by integer arithmetic, e^x, sine and cosine by polynomials. The same on every device.
/// </summary>
internal static class Numbers<TThread> where TThread : struct, IThread
{
    /// <summary>From IEEE binary16 in the low 16 bits.</summary>
    public static float FromF16(TThread t, uint h)
    {
        uint magnitude = h & 0x7FFF, sign = (h & 0x8000) << 16;
        if (magnitude < 0x400) return (sign == 0 ? 5.9604644775390625e-8f : -5.9604644775390625e-8f) * (int)magnitude; // subnormal: steps of 2^-24
        // 112 moves the exponent from float16's bias to float32's; the largest one stays the largest.
        return t.AsFloat(sign | (magnitude < 0x7C00 ? (magnitude << 13) + (112u << 23) : magnitude << 13 | 0x7F800000));
    }

    /// <summary>To IEEE binary16, to nearest with ties to even; what rounds above 65504 becomes infinity.</summary>
    public static uint ToF16(TThread t, float value)
    {
        uint bits = t.AsWord(value), sign = bits >> 16 & 0x8000, x = bits & 0x7FFFFFFF;
        if (x > 0x7F800000) return sign | 0x7E00 | (x >> 13 & 0x3FF);
        if (x >= 0x477FF000) return sign | 0x7C00;
        if (x < 0x38800000) return sign | (t.AsWord(t.AsFloat(x) + 0.5f) - 0x3F000000);
        return sign | ((x - (112u << 23) + 0xFFF + (x >> 13 & 1)) >> 13);
    }

    /// <summary>From bfloat16 in the low 16 bits.</summary>
    public static float FromBF16(TThread t, uint b) => t.AsFloat(b << 16);

    /// <summary>To bfloat16, to nearest with ties to even; NaN stays NaN.</summary>
    public static uint ToBF16(TThread t, float value)
    {
        uint x = t.AsWord(value);
        return (x & 0x7FFFFFFF) > 0x7F800000 ? x >> 16 | 0x40 : (x + 0x7FFF + (x >> 16 & 1)) >> 16;
    }

    /// <summary>From OCP FP8 e4m3fn in the low 8 bits.</summary>
    public static float FromE4M3(TThread t, uint b)
    {
        uint magnitude = b & 0x7F, sign = (b & 0x80) << 24;
        if (magnitude < 8) return (sign == 0 ? 0.001953125f : -0.001953125f) * (int)magnitude; // subnormal: steps of 2^-9
        return t.AsFloat(sign | (magnitude < 0x7F ? (magnitude << 20) + (120u << 23) : 0x7FC00000));
    }

    /// <summary>2^(e − 128): half of what an e8m0 exponent stands for, exact down to e = 0.</summary>
    public static float FromHalfE8M0(TThread t, uint e) => t.AsFloat(e < 2 ? 0x00200000u << (int)e : (e - 1) << 23);

    /// <summary>e^x within two units in the last place; 0 below −87, and never above e^88.</summary>
    public static float Exp(TThread t, float x)
    {
        if (x < -87f) return 0;
        float clamped = x > 88f ? 88f : x, scaled = clamped * 1.44269504f;
        int n = (int)(scaled + (scaled < 0 ? -0.5f : 0.5f));
        // ln 2 in two parts, so that the remainder keeps all its digits.
        float r = t.Fma(n, -0.693359375f, clamped);
        r = t.Fma(n, 2.12194440e-4f, r);
        float p = t.Fma(r, 1.9875691500e-4f, 1.3981999507e-3f);
        p = t.Fma(p, r, 8.3334519073e-3f);
        p = t.Fma(p, r, 4.1665795894e-2f);
        p = t.Fma(p, r, 1.6666665459e-1f);
        p = t.Fma(p, r, 5.0000001201e-1f);
        p = t.Fma(p, r * r, r) + 1f;
        return p * t.AsFloat((uint)(n + 127) << 23);
    }

    /// <summary>cos 2πf, of a fraction of a turn f = turns / 2^64.</summary>
    public static float Cos(TThread t, ulong turns) => Sin(t, turns + (1ul << 62));

    /// <summary>sin 2πf, of a fraction of a turn f = turns / 2^64.</summary>
    public static float Sin(TThread t, ulong turns)
    {
        ulong nearest = turns + (1ul << 61); // to the quarter of a turn that is nearest, and what is left of it
        uint quarter = (uint)(nearest >> 62);
        long left = (long)((nearest & ((1ul << 62) - 1)) - (1ul << 61));
        float a = left * 3.4061215800304746e-19f, square = a * a; // 2π / 2^64; |a| ≤ π/4
        float sine = t.Fma(t.Fma(t.Fma(-1.9515295891e-4f, square, 8.3321608736e-3f), square, -1.6666654611e-1f), square * a, a);
        float cosine = t.Fma(t.Fma(t.Fma(2.443315711809948e-5f, square, -1.388731625493765e-3f), square, 4.166664568298827e-2f), square * square, t.Fma(-0.5f, square, 1f));
        float value = (quarter & 1) == 0 ? sine : cosine;
        return (quarter & 2) == 0 ? value : -value;
    }
}

/// <summary>Sums and maxima over a group, by its warps and shared memory.</summary>
internal static class Reduce<TThread> where TThread : struct, IThread
{
    /// <summary>The group's sum, in every item. Uses a word of shared memory for each warp, from <paramref name="slots"/> on. All items come here.</summary>
    public static float Sum(TThread t, float value, int slots)
    {
        float sum = t.SumLanes(value);
        int warps = t.Items / t.Lanes;
        if (warps == 1) return sum;
        t.Barrier();
        if (t.Lane == 0) t.SetShared(slots + t.Item / t.Lanes, sum);
        t.Barrier();
        sum = 0;
        for (int w = 0; w < warps; w++) sum += t.Shared(slots + w);
        return sum;
    }
}
