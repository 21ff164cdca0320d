using DeepSeek.Backends;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Backends;

/// <summary>The scalar backend where the golden checkpoints do not look: against second ways to say the same.</summary>
public class ReferenceTests
{
    public static TheoryData<string> Cases => OperationCases.Names;

    [Theory]
    [MemberData(nameof(Cases))]
    public void EveryCaseComparesNumbers(string name) => OperationCases.CheckCase(name);

    /// <summary>The absorbed form of latent attention (spec 2.5): queries go to the latent space, values come back from it.</summary>
    [Theory]
    [InlineData(false, 0)]
    [InlineData(true, 0)]
    [InlineData(true, 1)]
    public void AbsorbedLatentAttentionIsPlainLatentAttention(bool transposed, int firstPosition)
    {
        const int heads = 3, n = 10, r = 6, v = 14, c = 18, rows = 5;
        using var bench = new OperationBench(new ReferenceBackend(), 3);
        DeviceWeight[] keyUp = [.. Enumerable.Range(0, heads).Select(_ => bench.Weight(DType.F32, transposed ? c : n, transposed ? n : c, WeightRole.Matrix))];
        DeviceWeight[] valueUp = [.. Enumerable.Range(0, heads).Select(_ => bench.Weight(DType.F32, v, c, WeightRole.Matrix))];
        CacheStorage cache = bench.Cache([new CacheStream(0, "latent", c + r)], CacheFormat.F32, 2, 4);
        Tensor q = bench.Random(rows, heads * (n + r)), latents = bench.Random(rows, c + r), o = bench.Random(rows, heads * v);
        bench.Backend.AttendLatent(o, q, latents, new LatentAttentionSettings(heads, n, r, v, c, 0.3f, 0, keyUp, transposed, valueUp, firstPosition), Steps.Of(2, (firstPosition, rows, [3, 0, 2])), cache);
        float[] query = Read(bench.Backend, q), latent = Read(bench.Backend, latents);
        var expected = new float[rows * heads * v];
        for (int t = 0; t < rows; t++)
            for (int h = 0; h < heads; h++)
            {
                float[][] k = ReferenceBackend.ReadMatrix(keyUp[h].Source), up = ReferenceBackend.ReadMatrix(valueUp[h].Source);
                var absorbed = new double[c + r]; // [K_hᵀ·q_nope | q_pe]
                for (int j = 0; j < c; j++)
                    for (int i = 0; i < n; i++) absorbed[j] += (transposed ? k[j][i] : k[i][j]) * query[t * heads * (n + r) + h * (n + r) + i];
                for (int i = 0; i < r; i++) absorbed[c + i] = query[t * heads * (n + r) + h * (n + r) + n + i];
                double[] p = [.. Enumerable.Range(0, t + 1).Select(s => Math.Exp(0.3f * Enumerable.Range(0, c + r).Sum(j => absorbed[j] * latent[s * (c + r) + j])))];
                double[] z = [.. Enumerable.Range(0, c).Select(j => Enumerable.Range(0, t + 1).Sum(s => p[s] * latent[s * (c + r) + j]) / p.Sum())];
                for (int i = 0; i < v; i++) expected[(t * heads + h) * v + i] = (float)Enumerable.Range(0, c).Sum(j => up[i][j] * z[j]);
            }
        Assert.True(Models.Golden.Nmse(Read(bench.Backend, o), expected) < 1e-11);
    }

    [Theory]
    [InlineData(CacheFormat.F32, 0)]
    [InlineData(CacheFormat.F16, 1e-7)]
    [InlineData(CacheFormat.BF16, 5e-6)]
    [InlineData(CacheFormat.Q8, 5e-5)]
    internal void CacheRowsKeepTheirNumbers(CacheFormat format, double tolerance)
    {
        using var cache = new ReferenceCache([new CacheStream(0, "a", 3), new CacheStream(0, "b", 45)], format, 4, 3);
        float[] row = [.. Enumerable.Range(0, 45).Select(i => MathF.Sin(i) * 3)], back = new float[45];
        cache.Write(1, 2, 3, row);
        cache.Write(0, 2, 3, [1, 2, 3]);
        cache.Write(1, 1, 3, new float[45]);
        cache.Read(1, 2, 3, back);
        Assert.True(Models.Golden.Nmse(back, row) <= tolerance);
        cache.Read(1, 1, 3, back);
        Assert.All(back, x => Assert.Equal(0, x));
    }

    private static float[] Read(Backend backend, Tensor x)
    {
        var values = new float[x.Rows * x.Columns];
        backend.Read(x, values);
        return values;
    }
}
