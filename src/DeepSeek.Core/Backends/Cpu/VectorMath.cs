using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// Kernels over stretches of numbers. Written over 512-bit vectors, which the runtime splits into what the processor has (two of 256 bits, four of 128): sums go
/// through the same 16 lanes everywhere, so they do not depend on the instruction set but for fused multiplication.
/// </summary>
internal static unsafe class VectorMath
{
    /// <summary>y = gain ⊙ x / √(mean(x²) + epsilon). y may be x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void RmsNorm(float* y, float* x, float* gain, int count, float epsilon)
    {
        float scale = (float)(1 / Math.Sqrt(SumOfSquares(x, count) / count + epsilon));
        Vector512<float> s = Vector512.Create(scale);
        int i = 0;
        for (; i + 16 <= count; i += 16) (Vector512.Load(x + i) * s * Vector512.Load(gain + i)).Store(y + i);
        for (; i < count; i++) y[i] = x[i] * scale * gain[i];
    }

    /// <summary>Σ x², squares of stretches of 256 numbers in float32 lanes, stretches in float64.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static double SumOfSquares(float* x, int count)
    {
        double sum = 0;
        int i = 0;
        while (i + 16 <= count)
        {
            Vector512<float> lanes = Vector512<float>.Zero;
            for (int end = Math.Min(i + 256, count); i + 16 <= end; i += 16)
            {
                Vector512<float> v = Vector512.Load(x + i);
                lanes = Vector512.FusedMultiplyAdd(v, v, lanes);
            }
            sum += Vector512.Sum(lanes);
        }
        for (; i < count; i++) sum += (double)x[i] * x[i];
        return sum;
    }

    /// <summary>y += x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Add(float* y, float* x, int count)
    {
        int i = 0;
        for (; i + 16 <= count; i += 16) (Vector512.Load(y + i) + Vector512.Load(x + i)).Store(y + i);
        for (; i < count; i++) y[i] += x[i];
    }

    /// <summary>gate = silu(gate) ⊙ up.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void SiluMultiply(float* gate, float* up, int count)
    {
        int i = 0;
        for (; i + 16 <= count; i += 16) (Silu(Vector512.Load(gate + i)) * Vector512.Load(up + i)).Store(gate + i);
        if (i == count) return;
        // The rest goes through the same arithmetic: a number's result does not depend on where in a row it stands.
        float* rest = stackalloc float[16];
        for (int j = i; j < count; j++) rest[j - i] = gate[j];
        Silu(Vector512.Load(rest)).Store(rest);
        for (int j = i; j < count; j++) gate[j] = rest[j - i] * up[j];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Silu(Vector512<float> z) => z / (Vector512<float>.One + Exp(-z));

    /// <summary>
    /// e^x, relative error below 2e-7: x = n·ln 2 + r, |r| ≤ ½ ln 2, a polynomial of degree 6 for e^r, then n is added to the exponent (in two halves, so that results
    /// at both ends of the range are right). Infinite above 88.73, zero below −104; NaN stays NaN.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Exp(Vector512<float> x)
    {
        Vector512<float> bounded = Vector512.MinNative(Vector512.MaxNative(x, Vector512.Create(-105f)), Vector512.Create(89f));
        Vector512<float> n = Vector512.Round(bounded * Vector512.Create(1.44269504f));
        // ln 2 in two parts: the first has few bits, so that n times it is exact.
        Vector512<float> r = Vector512.FusedMultiplyAdd(n, Vector512.Create(-0.693359375f), bounded);
        r = Vector512.FusedMultiplyAdd(n, Vector512.Create(2.12194440e-4f), r);
        Vector512<float> p = Vector512.Create(1 / 720f);
        p = Vector512.FusedMultiplyAdd(p, r, Vector512.Create(1 / 120f));
        p = Vector512.FusedMultiplyAdd(p, r, Vector512.Create(1 / 24f));
        p = Vector512.FusedMultiplyAdd(p, r, Vector512.Create(1 / 6f));
        p = Vector512.FusedMultiplyAdd(p, r, Vector512.Create(0.5f));
        p = Vector512.FusedMultiplyAdd(p, r, Vector512<float>.One);
        p = Vector512.FusedMultiplyAdd(p, r, Vector512<float>.One);
        Vector512<int> exponent = Vector512.ConvertToInt32(n);
        Vector512<int> half = exponent >> 1;
        Vector512<float> result = p * PowerOfTwo(half) * PowerOfTwo(exponent - half);
        return Vector512.ConditionalSelect(Vector512.Equals(x, x), result, x);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> PowerOfTwo(Vector512<int> n) => (n + Vector512.Create(127) << 23).AsSingle();

    /// <summary>[cos | sin] of position·frequencies, times the magnitude.</summary>
    public static void RotaryFactors(float* factors, RotarySettings rotary, int position)
    {
        int pairs = rotary.Frequencies.Length;
        for (int i = 0; i < pairs; i++)
        {
            (double sin, double cos) = Math.SinCos(position * rotary.Frequencies[i]);
            factors[i] = (float)(cos * rotary.Magnitude);
            factors[pairs + i] = (float)(sin * rotary.Magnitude);
        }
    }

    /// <summary>Rotates the pairs of one head: (u cos − v sin, u sin + v cos).</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Rotate(float* x, float* factors, int pairs, RotaryPairs layout)
    {
        float* cos = factors, sin = factors + pairs;
        int i = 0;
        if (layout == RotaryPairs.HalfSplit)
        {
            for (; i + 16 <= pairs; i += 16)
            {
                Vector512<float> u = Vector512.Load(x + i), v = Vector512.Load(x + pairs + i), c = Vector512.Load(cos + i), s = Vector512.Load(sin + i);
                (u * c - v * s).Store(x + i);
                (u * s + v * c).Store(x + pairs + i);
            }
            for (; i < pairs; i++) (x[i], x[pairs + i]) = (x[i] * cos[i] - x[pairs + i] * sin[i], x[i] * sin[i] + x[pairs + i] * cos[i]);
            return;
        }
        Vector128<float> signs = Vector128.Create(-1f, 1, -1, 1);
        for (; i + 2 <= pairs; i += 2)
        {
            Vector128<float> v = Vector128.Load(x + 2 * i), swapped = Vector128.Shuffle(v, Vector128.Create(1, 0, 3, 2));
            Vector128<float> c = Vector128.Create(cos[i], cos[i], cos[i + 1], cos[i + 1]), s = Vector128.Create(sin[i], sin[i], sin[i + 1], sin[i + 1]);
            (v * c + swapped * (s * signs)).Store(x + 2 * i);
        }
        for (; i < pairs; i++) (x[2 * i], x[2 * i + 1]) = (x[2 * i] * cos[i] - x[2 * i + 1] * sin[i], x[2 * i] * sin[i] + x[2 * i + 1] * cos[i]);
    }
}
