using System.Runtime.Intrinsics;
using DeepSeek.Backends;
using DeepSeek.Backends.Cpu;

namespace DeepSeek.Core.Tests.Backends.Cpu;

public sealed unsafe class VectorMathTests
{
    [Fact]
    public void The_exponential_is_right_to_two_units_of_the_last_place()
    {
        double worst = 0;
        for (float x = -87; x < 88; x += 0.00731f)
        {
            double expected = Math.Exp(x);
            worst = Math.Max(worst, Math.Abs(VectorMath.Exp(Vector512.Create(x))[5] - expected) / expected);
        }
        Assert.InRange(worst, 0, 2.4e-7);
    }

    [Theory]
    [InlineData(0f, 1f), InlineData(-200f, 0f), InlineData(float.NegativeInfinity, 0f), InlineData(float.PositiveInfinity, float.PositiveInfinity), InlineData(100f, float.PositiveInfinity)]
    [InlineData(float.NaN, float.NaN)]
    public void The_exponential_knows_its_ends(float x, float expected) => Assert.Equal(expected, VectorMath.Exp(Vector512.Create(x))[0]);

    [Fact]
    public void A_subnormal_exponential_is_no_zero() => Assert.InRange(VectorMath.Exp(Vector512.Create(-100f))[0], 3e-44f, 5e-44f);

    [Fact]
    public void Silu_of_a_row_does_not_depend_on_where_its_numbers_stand()
    {
        float[] z = [.. Enumerable.Range(0, 37).Select(i => i * 0.71f - 12)], up = [.. Enumerable.Range(0, 37).Select(i => 1 + i * 0.01f)];
        float[] whole = [.. z];
        fixed (float* g = whole, u = up) VectorMath.SiluMultiply(g, u, 37);
        for (int i = 0; i < 37; i++)
        {
            float one = z[i];
            fixed (float* u = up) VectorMath.SiluMultiply(&one, u + i, 1);
            Assert.Equal(one, whole[i]);
            Assert.Equal(z[i] / (1 + Math.Exp(-(double)z[i])) * up[i], whole[i], 1e-5);
        }
    }

    private static float[] Awkward()
    {
        List<float> values = [0, -0f, 1, -1, 65504, 65519.99f, 65520, 1e6f, -1e30f, 6.1e-5f, 6.0975e-5f, 5.96e-8f, 2.98e-8f, 2.99e-8f, 1e-9f, float.Epsilon,
            float.PositiveInfinity, float.NegativeInfinity, float.NaN, float.MaxValue];
        Random random = new(3);
        while (values.Count < 4096) values.Add(BitConverter.Int32BitsToSingle(random.Next(int.MinValue, int.MaxValue)));
        for (int h = 0; h < 65536; h += 13) values.Add((float)BitConverter.UInt16BitsToHalf((ushort)h) * (1 + (h % 5 - 2) * 0.00024414f));
        return [.. values];
    }

    [Fact]
    public void Halves_are_stored_as_the_runtime_rounds_them()
    {
        float[] values = Awkward();
        byte[] row = new byte[2 * values.Length];
        fixed (float* v = values) fixed (byte* r = row) CacheRows.Store(CacheFormat.F16, v, r, values.Length);
        for (int i = 0; i < values.Length; i++)
        {
            ushort bits = BitConverter.ToUInt16(row, 2 * i);
            if (float.IsNaN(values[i])) Assert.True(Half.IsNaN(BitConverter.UInt16BitsToHalf(bits)));
            else Assert.Equal(BitConverter.HalfToUInt16Bits((Half)values[i]), bits);
        }
    }

    [Fact]
    public void Every_half_and_every_bfloat16_is_read()
    {
        ushort[] all = [.. Enumerable.Range(0, 65536 + 64).Select(i => (ushort)i)];
        fixed (ushort* p = all)
            for (int i = 0; i < 65536; i += 16)
            {
                Vector512<float> halves = F16Rows.Load((byte*)p, 65536, i), brains = BF16Rows.Load((byte*)p, 65536, i);
                for (int j = 0; j < 16; j++)
                {
                    Assert.Equal((float)BitConverter.UInt16BitsToHalf((ushort)(i + j)), halves[j]);
                    Assert.Equal(BitConverter.Int32BitsToSingle(i + j << 16), brains[j]);
                }
            }
    }

    [Theory, InlineData(32), InlineData(70), InlineData(7)]
    public void Bytes_with_scales_come_back_within_half_a_step(int width)
    {
        Random random = new(width);
        float[] values = [.. Enumerable.Range(0, width).Select(_ => (float)(random.NextDouble() - 0.5) * 8)];
        byte[] row = new byte[CacheStorage.RowBytes(CacheFormat.Q8, width) + CpuCache.SlackBytes];
        fixed (float* v = values)
        fixed (byte* r = row)
        {
            CacheRows.Store(CacheFormat.Q8, v, r, width);
            for (int at = 0; at < width; at++)
            {
                // Loads from everywhere, so that 16 numbers lie in two groups too.
                Vector512<float> loaded = Q8Rows.Load(r, width, at);
                for (int j = 0; j < 16 && at + j < width; j++)
                {
                    float step = values.Skip((at + j) / 32 * 32).Take(32).Max(MathF.Abs) / 127;
                    Assert.InRange(loaded[j] - values[at + j], -0.501f * step, 0.501f * step);
                }
            }
        }
    }

    [Theory, InlineData(float.NaN), InlineData(float.PositiveInfinity)]
    public void Bytes_with_scales_do_not_swallow_what_is_no_number(float bad)
    {
        float[] values = [.. Enumerable.Repeat(1f, 32)];
        values[20] = bad;
        byte[] row = new byte[CacheStorage.RowBytes(CacheFormat.Q8, 32) + CpuCache.SlackBytes];
        fixed (float* v = values)
        fixed (byte* r = row)
        {
            CacheRows.Store(CacheFormat.Q8, v, r, 32);
            Assert.False(float.IsFinite(Q8Rows.Load(r, 32, 16)[4]));
        }
    }
}
