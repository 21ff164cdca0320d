using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// Activations as signed bytes with a float32 scale for each 32: what products with block formats read, made once for all products of the same input. Scales and sums are
/// float32, because activations of some models exceed what a half holds.
/// </summary>
/// <param name="Rows">T.</param>
/// <param name="Columns">K, a multiple of 32.</param>
/// <param name="Q">Whole numbers, −127 … 127. [T, K]</param>
/// <param name="Scales">[T, K/32]</param>
/// <param name="Sums">Scale times the sum of the 32 whole numbers. [T, K/32]</param>
/// <param name="NegativeLanes">Minus the sums of each four whole numbers: what unsigned weights with an offset are corrected by. [T, K/4]</param>
internal readonly unsafe record struct QuantisedRows(int Rows, int Columns, nint Q, nint Scales, nint Sums, nint NegativeLanes)
{
    /// <summary>Below this magnitude a group counts as zeros, so that no quotient is infinite.</summary>
    private const float Negligible = 1e-30f;

    /// <summary>Memory for that many rows.</summary>
    public static QuantisedRows Rent(ScratchArena scratch, int rows, int columns)
        => new(rows, columns, (nint)scratch.Rent((long)rows * columns), (nint)scratch.Rent((long)rows * columns / 8), (nint)scratch.Rent((long)rows * columns / 8), (nint)scratch.Rent((long)rows * columns));

    /// <summary>Rows [first, first + count).</summary>
    public QuantisedRows Take(int first, int count)
    {
        nint row = (nint)first * Columns;
        return new(count, Columns, Q + row, Scales + row / 8, Sums + row / 8, NegativeLanes + row);
    }

    /// <summary>Quantises columns [first, first + count) of a row, whole groups of 32. A group with a NaN or an infinity gets a scale that makes the products NaN or infinite.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Quantise(int row, float* x, int first, int count)
    {
        long at = (long)row * Columns + first;
        sbyte* q = (sbyte*)Q + at;
        float* scales = (float*)Scales + at / 32, sums = (float*)Sums + at / 32;
        int* lanes = (int*)NegativeLanes + at / 4;
        for (int g = 0; g < count / 32; g++, x += 32, q += 32, lanes += 8)
        {
            Vector512<float> a = Vector512.Load(x), b = Vector512.Load(x + 16);
            Vector512<float> largest = Vector512.Max(Vector512.Abs(a), Vector512.Abs(b));
            float most = Most(largest);
            bool none = most <= Negligible;
            scales[g] = none ? 0 : most / 127;
            // Adding 1.5·2^23 rounds to a whole number, ties to even, and leaves it in the low bits.
            Vector512<float> inverse = Vector512.Create(none ? 0 : 127 / most), magic = Vector512.Create(12582912f);
            Vector512<int> low = Vector512.FusedMultiplyAdd(a, inverse, magic).AsInt32() - magic.AsInt32(), high = Vector512.FusedMultiplyAdd(b, inverse, magic).AsInt32() - magic.AsInt32();
            Vector256<sbyte> bytes = Vector256.Narrow(
                Vector256.Narrow(low.GetLower(), low.GetUpper()), Vector256.Narrow(high.GetLower(), high.GetUpper()));
            bytes.Store(q);
            int sum;
            if (Avx2.IsSupported)
            {
                Vector256<int> fours = Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(Vector256<byte>.One, bytes), Vector256<short>.One);
                (-fours).Store(lanes);
                sum = Vector256.Sum(fours);
            }
            else
            {
                sum = 0;
                for (int i = 0; i < 8; i++)
                {
                    int four = q[4 * i] + q[4 * i + 1] + q[4 * i + 2] + q[4 * i + 3];
                    lanes[i] = -four;
                    sum += four;
                }
            }
            sums[g] = scales[g] * sum;
        }
    }

    /// <summary>The largest of 16 numbers that are not negative; NaN if there is one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Most(Vector512<float> v)
    {
        // Bit patterns of such numbers are ordered as the numbers are, and NaN is above all.
        Vector256<int> a = Vector256.Max(v.AsInt32().GetLower(), v.AsInt32().GetUpper());
        Vector128<int> b = Vector128.Max(a.GetLower(), a.GetUpper());
        b = Vector128.Max(b, Vector128.Shuffle(b, Vector128.Create(2, 3, 0, 1)));
        return BitConverter.Int32BitsToSingle(Math.Max(b[0], b[1]));
    }
}
