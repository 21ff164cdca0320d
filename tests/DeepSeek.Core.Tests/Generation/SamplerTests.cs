using System.Text.Json;
using DeepSeek.Generation;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Core.Tests.Generation;

public class SamplerTests
{
    [SharedFact]
    public void Distributions_AreThoseOfTransformers()
    {
        using JsonDocument vectors = JsonDocument.Parse(File.ReadAllBytes(SharedData.Path("sampling", "probabilities.json")));
        int count = 0;
        foreach (JsonElement v in vectors.RootElement.EnumerateArray())
        {
            float[] logits = v.GetProperty("logits").EnumerateArray().Select(x => x.GetSingle()).ToArray();
            JsonElement s = v.GetProperty("settings");
            float? Get(string key) => s.TryGetProperty(key, out JsonElement e) ? e.GetSingle() : null;
            SamplingSettings settings = SamplingDefaults.Plain.Resolve(new GenerationOptions
            {
                Temperature = Get("temperature"), TopK = (int?)Get("top_k"), TopP = Get("top_p"), MinP = Get("min_p"), RepetitionPenalty = Get("repetition_penalty"),
                PresencePenalty = Get("presence_penalty"), FrequencyPenalty = Get("frequency_penalty"),
            }, 0);
            var said = new Penalties(logits.Length, 1000);
            foreach (JsonElement t in v.GetProperty("history").EnumerateArray()) said.AddAnswer(t.GetInt32());
            float[] got = Probabilities(logits, settings, said);
            Assert.All(v.GetProperty("probabilities").EnumerateArray().Select((p, i) => Math.Abs(p.GetSingle() - got[i])), d => Assert.InRange(d, 0, 2e-5f));
            count++;
        }
        Assert.True(count > 100);
    }

    /// <summary>Sorting everything, in double precision: slow and plain.</summary>
    private static double[] Plain(float[] logits, SamplingSettings s)
    {
        int[] order = [.. Enumerable.Range(0, logits.Length).OrderByDescending(i => logits[i]).ThenBy(i => i)];
        double max = logits[order[0]];
        var w = new double[logits.Length];
        int kept = s.TopK > 0 && s.TopK < logits.Length ? order.Count(i => logits[i] >= logits[order[s.TopK - 1]]) : logits.Length;
        foreach (int i in order.Take(kept)) w[i] = Math.Exp((logits[i] - max) / s.Temperature);
        double total = w.Sum(), before = 0;
        if (s.TopP < 1)
            foreach (int i in order)
            {
                double weight = w[i];
                if (before >= s.TopP * total) w[i] = 0;
                before += weight;
            }
        for (int i = 0; i < w.Length; i++) if (w[i] < s.MinP) w[i] = 0;
        total = w.Sum();
        return [.. w.Select(x => x / total)];
    }

    [Fact]
    public void Selection_AgreesWithSorting() => Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed =>
    {
        var random = new System.Random(seed);
        float[] logits = new float[random.Next(1, 3000)];
        float spread = random.Next(4) switch { 0 => 0, 1 => 0.01f, 2 => 3, _ => 30 };
        bool ties = random.Next(2) == 0;
        for (int i = 0; i < logits.Length; i++)
        {
            logits[i] = spread * (float)(random.NextDouble() + random.NextDouble() - 1);
            if (ties) logits[i] = MathF.Round(logits[i] * 2) / 2;
        }
        var settings = new SamplingSettings
        {
            Temperature = (float)(0.1 + 2 * random.NextDouble()), TopK = random.Next(2) * random.Next(logits.Length + 5),
            TopP = random.Next(2) == 0 ? 1 : (float)(0.02 + 0.97 * random.NextDouble()), MinP = random.Next(2) * 0.1f * (float)random.NextDouble(),
        };
        float[] got = Probabilities(logits, settings, null);
        double[] want = Plain(logits, settings);
        // A token at the very border of the nucleus may fall either way by rounding, and two there may change places where their float weights are equal: nothing else.
        int differing = 0;
        for (int i = 0; i < got.Length; i++) if (Math.Max(got[i], want[i]) > 1e-30 && (got[i] == 0 || want[i] == 0)) differing++;
        double limit = differing == 0 ? 1e-5 : 0.02 + 4.0 / logits.Length;
        for (int i = 0; i < got.Length; i++) if (Math.Abs(got[i] - want[i]) > limit) return false;
        return differing <= 2;
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(400));

    [Fact]
    public void EqualLogits_AreLeftOutFromTheHighestIdOn()
    {
        float[] logits = new float[1003]; // no multiple of any vector's width
        float[] p = Probabilities(logits, new SamplingSettings { TopP = 0.5f, Temperature = 0.7f }, null);
        Assert.All(p.Take(501), x => Assert.True(x > 0));
        Assert.All(p.Skip(502), x => Assert.Equal(0, x));
    }

    private static float[] Probabilities(float[] logits, SamplingSettings settings, Penalties? said)
    {
        var result = new float[logits.Length];
        new Sampler(logits.Length).Probabilities([.. logits], settings, said, result);
        return result;
    }

    [Fact]
    public void Draw_DependsOnSeedAndPositionOnly()
    {
        float[] logits = [.. Enumerable.Range(0, 1000).Select(i => MathF.Sin(i * 12.9898f) * 3)];
        var settings = new SamplingSettings { Temperature = 0.8f, TopP = 0.95f, Seed = 42 };
        var a = new Sampler(1000);
        int[] forward = [.. Enumerable.Range(0, 200).Select(p => a.Draw([.. logits], settings, null, p))];
        var b = new Sampler(5000);
        int[] backward = [.. Enumerable.Range(0, 200).Reverse().Select(p => b.Draw([.. logits], settings, null, p)).Reverse()];
        Assert.Equal(forward, backward);
        Assert.True(forward.Distinct().Count() > 50);
        Assert.NotEqual(forward, [.. Enumerable.Range(0, 200).Select(p => a.Draw([.. logits], settings with { Seed = 43 }, null, p))]);
    }

    [Fact]
    public void Draws_FollowTheDistribution()
    {
        float[] logits = [.. Enumerable.Range(0, 1500).Select(i => i % 300 == 0 ? 6f + i / 600f : 0f)];
        var settings = new SamplingSettings { Seed = 7 };
        float[] p = Probabilities(logits, settings, null);
        var counts = new int[1500];
        var sampler = new Sampler(1500);
        const int draws = 20_000;
        for (int i = 0; i < draws; i++) counts[sampler.Draw([.. logits], settings, null, i)]++;
        for (int i = 0; i < 1500; i += 300) Assert.InRange(counts[i], draws * p[i] - 5 * Math.Sqrt(draws * p[i]), draws * p[i] + 5 * Math.Sqrt(draws * p[i]));
    }

    [Fact]
    public void TemperatureZero_TakesTheLowestIdOfEquals()
    {
        float[] logits = new float[100];
        logits[37] = logits[62] = logits[99] = 5;
        Assert.Equal(37, new Sampler(100).Draw(logits, new SamplingSettings { Temperature = 0 }, null, 3));
    }

    [Fact]
    public void Bias_ComesFirst()
    {
        float[] p = Probabilities([1, 1, 1, 1], new SamplingSettings { Temperature = 1, LogitBias = [(2, float.NegativeInfinity), (0, 3)], TopK = 3 }, null);
        Assert.Equal([0.909f, 0.045f, 0, 0.045f], p.Select(x => MathF.Floor(x * 1000) / 1000));
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void LogitsThatAreNoNumbers_AreATypedError(float bad)
    {
        foreach (float temperature in new[] { 0f, 1f })
            foreach (int at in new[] { 0, 20, 39 })
            {
                float[] logits = new float[40];
                logits[at] = bad;
                Assert.Throws<ModelException>(() => new Sampler(40).Draw(logits, new SamplingSettings { Temperature = temperature }, null, 0));
            }
    }

    [Fact]
    public void NothingLeft_IsATypedError()
        => Assert.Throws<ModelException>(() => new Sampler(2).Draw([float.NegativeInfinity, float.NegativeInfinity], new SamplingSettings(), null, 0));

    [Fact]
    public void Draw_AllocatesNothing()
    {
        float[] logits = [.. Enumerable.Range(0, 50_000).Select(i => MathF.Sin(i * 12.9898f) * 3)], row = new float[logits.Length];
        var settings = new SamplingSettings { Temperature = 0.8f, TopP = 0.95f, TopK = 50, MinP = 0.01f, RepetitionPenalty = 1.1f, LogitBias = [(3, 1)] };
        var sampler = new Sampler(logits.Length);
        var said = new Penalties(logits.Length, 1000);
        int Run(int position)
        {
            logits.CopyTo(row, 0);
            int token = sampler.Draw(row, settings, said, position);
            said.AddAnswer(token);
            return token;
        }
        long least = long.MaxValue;
        for (int round = 0; round < 20 && least > 0; round++) // the runtime itself allocates while it compiles: one round without is what counts
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 50; i++) Run(i);
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }
        Assert.Equal(0, least);
    }

    [Fact]
    public void ImpossibleOptions_AreListedTogether()
    {
        var e = Assert.Throws<InvalidOptionException>(() => SamplingDefaults.Plain.Resolve(new GenerationOptions { Temperature = -1, TopP = 0, TopK = -3, MaxTokens = 0 }, 0));
        foreach (string name in new[] { "Temperature is -1", "TopP is 0", "TopK is -3", "MaxTokens is 0" }) Assert.Contains(name, e.Message, StringComparison.Ordinal);
    }
}
