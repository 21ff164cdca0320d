using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Tensors;

public sealed class SmallFloatsTests
{
    [Fact]
    public void Every_float16_is_the_runtimes_and_comes_back()
    {
        for (int i = 0; i <= ushort.MaxValue; i++)
        {
            float want = (float)BitConverter.UInt16BitsToHalf((ushort)i), have = SmallFloats.FromF16((ushort)i);
            Assert.Equal(BitConverter.SingleToUInt32Bits(want) & 0xFFBFFFFF, BitConverter.SingleToUInt32Bits(have) & 0xFFBFFFFF); // the quiet bit of a NaN may differ
            if (!float.IsNaN(want)) Assert.Equal((ushort)i, SmallFloats.ToF16(have));
        }
    }

    [Fact]
    public void Rounds_to_float16_and_bfloat16_as_to_nearest_even()
    {
        var random = new Random(7);
        for (int i = 0; i < 200_000; i++)
        {
            float value = BitConverter.UInt32BitsToSingle((uint)random.NextInt64(1L << 32));
            if (i % 2 == 0) value = (float)(random.NextDouble() * Math.Pow(2, random.Next(-30, 18)));
            if (float.IsNaN(value)) continue;
            Assert.Equal(BitConverter.HalfToUInt16Bits((Half)value), SmallFloats.ToF16(value));
            float low = BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(value) & 0xFFFF0000), high = BitConverter.UInt32BitsToSingle((BitConverter.SingleToUInt32Bits(value) & 0xFFFF0000) + 0x10000);
            float rounded = SmallFloats.FromBF16(SmallFloats.ToBF16(value));
            if (float.IsFinite(high) && float.IsFinite(low)) Assert.True(Math.Abs((double)rounded - value) <= Math.Min(Math.Abs((double)low - value), Math.Abs((double)high - value)));
        }
        Assert.Equal(0x3F80, SmallFloats.ToBF16(BitConverter.UInt32BitsToSingle(0x3F808000))); // ties: to even, down
        Assert.Equal(0x3F82, SmallFloats.ToBF16(BitConverter.UInt32BitsToSingle(0x3F818000))); // and up
        Assert.True(float.IsNaN(SmallFloats.FromBF16(SmallFloats.ToBF16(float.NaN))));
    }

    [Fact]
    public void Float8_has_the_published_values_and_rounds_to_the_nearest()
    {
        Assert.Equal([0f, 0.001953125f, 0.015625f, 1f, 448f, -448f], new byte[] { 0, 1, 8, 0x38, 0x7E, 0xFE }.Select(SmallFloats.FromE4M3));
        Assert.True(float.IsNaN(SmallFloats.FromE4M3(0x7F)) && float.IsNaN(SmallFloats.FromE4M3(0xFF)));
        Assert.Equal([1f, 57344f, float.PositiveInfinity, 0.0000152587890625f], new byte[] { 0x3C, 0x7B, 0x7C, 1 }.Select(SmallFloats.FromE5M2));
        Assert.Equal([BitConverter.UInt32BitsToSingle(0x00400000), 1f, 2f], new byte[] { 0, 127, 128 }.Select(SmallFloats.FromE8M0));
        Assert.True(float.IsNaN(SmallFloats.FromE8M0(255)));
        float[] all = [.. Enumerable.Range(0, 127).Select(i => SmallFloats.FromE4M3((byte)i))];
        for (int i = 0; i < 127; i++) Assert.Equal((byte)i, SmallFloats.ToE4M3(all[i]));
        for (int i = 0; i < 126; i++)
        {
            float middle = (all[i] + all[i + 1]) / 2;
            Assert.Equal((byte)(i % 2 == 0 ? i : i + 1), SmallFloats.ToE4M3(middle));
            Assert.Equal((byte)(i + 1), SmallFloats.ToE4M3(MathF.BitIncrement(middle)));
            Assert.Equal((byte)(i | 0x80), SmallFloats.ToE4M3(-MathF.BitDecrement(middle)));
        }
        Assert.Equal(0x7E, SmallFloats.ToE4M3(1e9f));
        Assert.Equal(0x7F, SmallFloats.ToE4M3(float.NaN) & 0x7F);
    }
}
