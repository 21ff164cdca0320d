using System.Runtime.InteropServices;
using System.Text.Json;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Tensors;

public sealed class QuantiseTests
{
    public static TheoryData<string> Written => [.. Enum.GetValues<DType>().Where(Quantise.Writes).Select(t => t.Info().Name)];

    [SharedFact]
    public void Simple_formats_are_written_to_the_reference_bytes()
    {
        using JsonDocument vectors = JsonDocument.Parse(File.ReadAllBytes(SharedData.Path("quants", "blocks.json")));
        var compared = new List<string>();
        foreach (JsonProperty format in vectors.RootElement.EnumerateObject())
        {
            DType type = DTypes.FromName(format.Name)!.Value;
            if (!Quantise.Writes(type) || !format.Value.TryGetProperty("quantise_input", out JsonElement input)) continue;
            byte[] want = format.Value.GetProperty("quantise_bytes").GetBytesFromBase64(), have = new byte[want.Length];
            Quantise.Row(type, MemoryMarshal.Cast<byte, float>(input.GetBytesFromBase64()), have);
            Assert.Equal((format.Name, Convert.ToHexString(want)), (format.Name, Convert.ToHexString(have)));
            compared.Add(format.Name);
        }
        Assert.Equal(["BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"], compared.Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("F16", 1e-3)]
    [InlineData("BF16", 8e-3)]
    [InlineData("Q8_0", 8e-3)]
    [InlineData("Q6_K", 0.018)]
    [InlineData("Q5_K", 0.037)]
    [InlineData("Q5_0", 0.045)]
    [InlineData("Q5_1", 0.042)]
    [InlineData("Q4_K", 0.076)]
    [InlineData("Q4_0", 0.092)]
    [InlineData("Q4_1", 0.086)]
    public void Normal_numbers_come_back_within_the_formats_error(string name, double bound)
    {
        DType type = DTypes.FromName(name)!.Value;
        float[] values = Normal(256 * 200, 11), back = RoundTrip(type, values);
        double error = Math.Sqrt(values.Zip(back, (a, b) => (double)(a - b) * (a - b)).Sum() / values.Sum(v => (double)v * v));
        Assert.InRange(error, bound / 10, bound);
    }

    [Theory]
    [InlineData("Q4_K", 15)]
    [InlineData("Q5_K", 31)]
    public void The_search_beats_plain_rounding(string name, int steps)
    {
        float[] values = Normal(256 * 200, 5), back = RoundTrip(DTypes.FromName(name)!.Value, values);
        double searched = values.Zip(back, (a, b) => (double)(a - b) * (a - b)).Sum(), plain = 0;
        for (int i = 0; i < values.Length; i += 32)
        {
            float min = Math.Min(0, values.Skip(i).Take(32).Min()), step = (values.Skip(i).Take(32).Max() - min) / steps; // not even rounding the scales
            for (int j = i; j < i + 32; j++) plain += Math.Pow(min + step * MathF.Round((values[j] - min) / step) - values[j], 2);
        }
        Assert.True(searched < plain * 0.95, $"{searched} against {plain}");
    }

    [Theory]
    [InlineData("Q4_0")]
    [InlineData("Q4_1")]
    [InlineData("Q5_0")]
    [InlineData("Q5_1")]
    public void The_search_improves_the_simple_formats_too(string name)
    {
        DType type = DTypes.FromName(name)!.Value;
        float[] values = Normal(256 * 100, 3);
        Assert.True(Error(true) < Error(false) * 0.98, $"{Error(true)} against {Error(false)}");

        double Error(bool search) => values.Zip(RoundTrip(type, values, search), (a, b) => (double)(a - b) * (a - b)).Sum();
    }

    [Theory]
    [InlineData("Q5_1")]
    [InlineData("Q5_K")]
    public void Numbers_that_lie_on_a_coarser_grid_keep_it(string name)
    {
        // What a file with 16 steps holds; 31 plain steps beat with them.
        float[] values = Normal(256 * 20, 9), coarse = RoundTrip(DType.Q4_1, values), back = RoundTrip(DTypes.FromName(name)!.Value, coarse, search: true);
        Assert.InRange(coarse.Zip(back, (a, b) => (double)(a - b) * (a - b)).Sum() / coarse.Sum(v => (double)v * v), 0, 5e-4);
    }

    [Theory]
    [MemberData(nameof(Written))]
    public void Numbers_that_are_all_alike_or_tiny_or_of_one_sign_survive(string name)
    {
        DType type = DTypes.FromName(name)!.Value;
        Assert.All(RoundTrip(type, new float[256]), v => Assert.Equal(0, v));
        foreach (float value in (float[])[1, -1, 0.01f, -3]) // a float16 scale of scales ends soon below
            Assert.All(RoundTrip(type, [.. Enumerable.Repeat(value, 256)]), v => Assert.InRange(v / value, 0.985f, 1.015f));
        Assert.All(RoundTrip(type, [.. Enumerable.Repeat(1e-30f, 256)]), v => Assert.InRange(v, 0, 1e-7f));
        float[] ramp = [.. Enumerable.Range(0, 256).Select(i => 1 + i / 256f)];
        Assert.All(RoundTrip(type, ramp).Zip(ramp), p => Assert.InRange(p.First - p.Second, -0.13f, 0.13f));
        float[] spike = new float[256];
        spike[100] = 5;
        Assert.InRange(RoundTrip(type, spike)[100], 4.95f, 5.05f);
    }

    private static float[] RoundTrip(DType type, float[] values, bool search = false)
    {
        var blocks = new byte[type.RowBytes(values.Length)];
        Quantise.Row(type, values, blocks, search);
        var back = new float[values.Length];
        Dequantise.Blocks(type, blocks, back);
        return back;
    }

    private static float[] Normal(int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()) * 0.02))];
    }
}
