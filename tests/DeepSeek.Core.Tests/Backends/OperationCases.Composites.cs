using DeepSeek.Backends;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Backends;

internal static partial class OperationCases
{
    private static void Project(OperationBench b, DType type)
    {
        int d = type.Info().BlockElements == 256 ? 512 : 96;
        DeviceWeight norm = b.Vector(d, 1), q = b.Weight(type, 48, d, WeightRole.Matrix), k = b.Weight(type, 17, d, WeightRole.Matrix), v = b.Weight(DType.Q8_0, 33, d, WeightRole.Matrix), bias = b.Vector(17);
        foreach (int t in RowCounts)
            foreach (bool normed in (bool[])[true, false])
            {
                Tensor x = b.Random(t, d), yq = b.Random(t, 48), yk = b.Random(t, 17, strided: true), yv = b.Random(t, 33);
                b.Backend.Project(x, normed ? norm : null, 1e-5f, new Projection(yq, q), new Projection(yk, k, bias), new Projection(yv, v));
                b.Report($"{t} rows, normed {normed}, k", yk);
                b.Report($"{t} rows, normed {normed}, q", yq);
                b.Report($"{t} rows, normed {normed}, v", yv);
            }
    }

    private static void Head(OperationBench b, DType type)
    {
        int d = type.Info().BlockElements == 256 ? 512 : 96;
        DeviceWeight head = b.Weight(type, 323, d, WeightRole.Head);
        Tensor hidden = b.Random(9, d);
        foreach (int[] rows in (int[][])[[8], [0, 3, 8]])
        {
            Tensor logits = b.Random(rows.Length, 323);
            b.Backend.Head(logits, hidden, rows, head);
            b.Report($"{rows.Length} rows", logits);
        }
    }

    private static void GatedMlp(OperationBench b, DType type)
    {
        (int d, int f) = Widths(type);
        DeviceWeight norm = b.Vector(d, 1);
        GatedMlpWeights mlp = Mlp(b, type, d, f, WeightRole.Matrix);
        foreach (int t in RowCounts)
        {
            Tensor residual = b.Tensor(t, d, false, _ => 0.1f * b.Normal());
            b.Backend.GatedMlp(residual, norm, 1e-6f, mlp);
            b.Report($"{t} rows", residual);
        }
    }

    private static void Experts(OperationBench b, DType type)
    {
        (int d, int f) = Widths(type);
        DeviceWeight norm = b.Vector(d, 1);
        foreach (RouterSettings settings in (RouterSettings[])
        [
            new(16, 4, RouterScoring.Softmax, 1, 1, Normalise: false, 1), new(16, 3, RouterScoring.Softmax, 4, 2, Normalise: true, 2), new(8, 2, RouterScoring.Sigmoid, 4, 2, Normalise: true, 2.5f),
        ])
        {
            DeviceWeight router = b.Weight(settings.ExpertCount, d, WeightRole.Router, _ => b.Normal() / 8);
            DeviceWeight? bias = settings.Scoring == RouterScoring.Sigmoid ? b.Vector(settings.ExpertCount) : null;
            GatedMlpWeights[] experts = [.. Enumerable.Range(0, settings.ExpertCount).Select(_ => Mlp(b, type, d, f, WeightRole.Expert))];
            foreach (GatedMlpWeights? shared in (GatedMlpWeights?[])[null, Mlp(b, type, d, 2 * f, WeightRole.Matrix)])
                foreach (int t in (int[])[1, 2, 7, 33])
                {
                    Tensor residual = b.Tensor(t, d, false, _ => 0.1f * b.Normal());
                    b.Backend.Experts(residual, norm, 1e-6f, new ExpertWeights(settings, router, bias, experts, shared));
                    b.Report($"{settings}, {t} rows, shared {shared is not null}", residual);
                }
        }
    }

    /// <summary>Routers whose logits tie exactly, however they are summed: small integers. The lower index wins.</summary>
    private static void TiedExperts(OperationBench b)
    {
        (int d, int f) = (96, 64);
        GatedMlpWeights[] experts = [.. Enumerable.Range(0, 8).Select(_ => Mlp(b, DType.F32, d, f, WeightRole.Expert))];
        DeviceWeight router = b.Weight(8, d, WeightRole.Router, i => i / d % 3 - 1);
        foreach (RouterScoring scoring in Enum.GetValues<RouterScoring>())
        {
            var settings = new RouterSettings(8, 3, scoring, 4, 2, Normalise: true, 1);
            Tensor x = b.Tensor(7, d, false, i => i / d % 2 == 0 ? 0 : i % 3), y = b.Tensor(7, d, false, _ => 0);
            x = x.TakeRows(1, 6);
            y = y.TakeRows(1, 6);
            b.Backend.RoutedExperts(y, x, new ExpertWeights(settings, router, null, experts, null));
            b.Report($"{scoring}", y);
        }
    }

    private static (int Hidden, int Width) Widths(DType type) => type.Info().BlockElements == 256 ? (512, 256) : (96, 160);

    private static GatedMlpWeights Mlp(OperationBench b, DType type, int d, int f, WeightRole role) => new(b.Weight(type, f, d, role), b.Weight(type, f, d, role), b.Weight(type, d, f, role));

    private static void Attention(OperationBench b, CacheFormat format)
    {
        foreach ((int heads, int keyHeads, int size) in ((int, int, int)[])[(6, 2, 16), (3, 3, 10), (8, 1, 64), (4, 2, 128)])
            foreach ((int Past, int New)[] parts in Steps.Shapes)
            {
                int width = keyHeads * size;
                CacheStorage cache = b.Cache([new CacheStream(0, "key", width), new CacheStream(0, "value", width), new CacheStream(1, "key", 8)], format, Steps.BlockTokens, Steps.Blocks);
                var settings = new AttentionSettings(heads, keyHeads, size, 1 / MathF.Sqrt(size), 0, 1);
                (StepLayout past, StepLayout step) = Steps.WithPast(parts, seed: 5);
                if (past.TokenCount > 0)
                {
                    b.Backend.Append(cache, 0, b.Random(past.TokenCount, width), past);
                    b.Backend.Append(cache, 1, b.Random(past.TokenCount, width), past);
                }
                Tensor q = b.Random(step.TokenCount, heads * size), k = b.Random(step.TokenCount, width, strided: true), v = b.Random(step.TokenCount, width, strided: true), o = b.Random(step.TokenCount, heads * size);
                b.Backend.Attend(o, q, k, v, settings, step, cache);
                b.Report($"{heads}/{keyHeads} heads of {size}, {Steps.Describe(parts)}", o);
            }
    }

    private static void LatentAttention(OperationBench b, CacheFormat format, DType type, int firstPosition)
    {
        foreach ((int heads, int n, int r, int v, int c) in ((int, int, int, int, int)[])[(3, 32, 16, 32, 64), (2, 64, 32, 96, 160)])
            foreach (bool transposed in (bool[])[false, true])
                foreach ((int Past, int New)[] parts in Steps.Shapes)
                {
                    CacheStorage cache = b.Cache([new CacheStream(0, "latent", c + r)], format, Steps.BlockTokens, Steps.Blocks);
                    Weight keys = transposed ? b.Weight(type, heads * c, n) : b.Weight(type, heads * (n + v), c), values = transposed ? b.Weight(type, heads * v, c) : keys;
                    DeviceWeight[] keyUp = [.. Enumerable.Range(0, heads).Select(h => b.Backend.Prepare(transposed ? keys.Slice(h * c, c) : keys.Slice(h * (n + v), n), WeightRole.Matrix))];
                    DeviceWeight[] valueUp = [.. Enumerable.Range(0, heads).Select(h => b.Backend.Prepare(transposed ? values.Slice(h * v, v) : values.Slice(h * (n + v) + n, v), WeightRole.Matrix))];
                    var settings = new LatentAttentionSettings(heads, n, r, v, c, 1 / MathF.Sqrt(n + r), 0, keyUp, transposed, valueUp, firstPosition);
                    (StepLayout past, StepLayout step) = Steps.WithPast(parts, seed: 6, firstPosition);
                    if (past.TokenCount > 0) b.Backend.Append(cache, 0, b.Random(past.TokenCount, c + r), past);
                    Tensor q = b.Random(step.TokenCount, heads * (n + r)), latents = b.Random(step.TokenCount, c + r), o = b.Random(step.TokenCount, heads * v);
                    b.Backend.AttendLatent(o, q, latents, settings, step, cache);
                    b.Report($"{heads} heads, latent {c}+{r}, transposed {transposed}, {Steps.Describe(parts)}", o);
                }
    }

    /// <summary>Blocks copied, and carried out and in again, hold the same rows: attention over them tells.</summary>
    private static void CacheBlocks(OperationBench b, CacheFormat format)
    {
        CacheStorage cache = b.Cache([new CacheStream(0, "key", 40), new CacheStream(0, "value", 40)], format, 4, 8);
        StepLayout past = Steps.Of(4, (0, 7, [5, 2])), step = Steps.Of(4, (7, 1, [1, 6]));
        b.Backend.Append(cache, 0, b.Random(7, 40), past);
        b.Backend.Append(cache, 1, b.Random(7, 40), past);
        cache.CopyBlock(5, 1);
        var bytes = new byte[cache.BlockBytes];
        cache.ReadBlock(2, bytes);
        cache.WriteBlock(6, bytes);
        Tensor o = b.Random(1, 80);
        b.Backend.Attend(o, b.Random(1, 80), b.Random(1, 40), b.Random(1, 40), new AttentionSettings(4, 2, 20, 0.2f, 0, 1), step, cache);
        b.Report("attention over copied blocks", o);
    }
}
