using System.Diagnostics;
using System.Globalization;
using DeepSeek.Backends;
using DeepSeek.Formats;
using DeepSeek.Models;
using DeepSeek.Tensors;

namespace DeepSeek.Generation;

/// <summary>Says what loading a model would need and give. Nothing is computed with it; binding its weights reads headers only.</summary>
internal static class ModelPlanner
{
    /// <summary>Beside weights and cache: activations, tables, the runtime.</summary>
    private const long OverheadBytes = 192L << 20;

    private const int ProbeBytes = 64 << 20;

    private static readonly TimeSpan ProbeTime = TimeSpan.FromMilliseconds(120);

    public static ModelPlan Plan(string path, LanguageModelOptions options)
    {
        using Checkpoint checkpoint = Checkpoint.Open(path);
        ModelFacts facts = ModelFacts.Of(checkpoint);
        using Backend backend = BackendFactory.Create(options);
        Model model = Architectures.Bind(new ModelSource(checkpoint, backend));
        CacheFormat format = BackendFactory.FormatOf(options.CacheType, backend);
        long available = MachineMemory.AvailableBytes(), weights = checkpoint.WeightBytes, left = available - OverheadBytes - (options.AllowPaging ? 0 : weights);
        long perToken = CacheStorage.BytesOfBlock(model.Streams, format, CachePlan.BlockTokens) / CachePlan.BlockTokens;
        int wanted = Math.Min(options.ContextLength ?? LanguageModelOptions.DefaultContextLength, model.MaxPositions);
        long room = Math.Min(options.CacheBytes ?? long.MaxValue, left);
        int context = (int)Math.Clamp(room / Math.Max(perToken, 1) / CachePlan.BlockTokens * CachePlan.BlockTokens, 0, wanted);
        if (room >= perToken * wanted) context = wanted;
        PlanVerdict verdict = context == wanted && (weights <= available - OverheadBytes || options.AllowPaging) ? PlanVerdict.Fits
            : weights > available - OverheadBytes ? perToken * CachePlan.BlockTokens < available - OverheadBytes ? PlanVerdict.NeedsPaging : PlanVerdict.DoesNotFit
            : context >= CachePlan.BlockTokens ? PlanVerdict.FitsWithShorterContext : PlanVerdict.DoesNotFit;
        int threads = BackendFactory.ThreadsOf(options);
        double bandwidth = MeasureBandwidth(threads);
        return new ModelPlan
        {
            Name = facts.Name, Architecture = facts.Architecture, Format = facts.Format, ParameterCount = facts.ParameterCount, WeightBytes = weights, BytesReadPerToken = facts.BytesPerToken,
            CacheBytesPerToken = perToken, CacheBytes = perToken * context, ContextLength = context, MaxContextLength = model.MaxPositions, AvailableMemoryBytes = available,
            Processors = Environment.ProcessorCount, Device = backend.Name, Kernels = backend.Description, MemoryBytesPerSecond = bandwidth,
            ExpectedTokensPerSecond = bandwidth / Math.Max(facts.BytesPerToken, 1), Verdict = verdict, Advice = Advice(verdict, weights, available, wanted, context),
            Tensors = [.. checkpoint.Tensors.Select(t => new PlannedTensor(t.Name, t.Type.Info().Name, t.Shape, t.Bytes))],
        };
    }

    private static string Advice(PlanVerdict verdict, long weights, long available, int wanted, int context) => verdict switch
    {
        PlanVerdict.Fits => "It fits.",
        PlanVerdict.FitsWithShorterContext => string.Create(CultureInfo.InvariantCulture, $"It fits with a context of {context} tokens instead of {wanted}; a smaller CacheType makes it longer."),
        PlanVerdict.NeedsPaging => string.Create(CultureInfo.InvariantCulture, $"The weights take {weights / 1e9:0.0} GB of the {available / 1e9:0.0} GB that this process can have. Use a smaller quantisation, or set AllowPaging to read them from the file as needed, slowly."),
        _ => string.Create(CultureInfo.InvariantCulture, $"Weights of {weights / 1e9:0.0} GB leave no room for a cache in the {available / 1e9:0.0} GB that this process can have. Use a smaller quantisation or a smaller model."),
    };

    /// <summary>Bytes that all threads together read in a second, of memory that no cache holds.</summary>
    private static double MeasureBandwidth(int threads)
    {
        long[][] buffers = [.. Enumerable.Range(0, Math.Min(threads, 16)).Select(_ => new long[ProbeBytes / sizeof(long)])];
        foreach (long[] b in buffers) Array.Fill(b, 1); // pages that were never written are one and the same page of zeros
        var read = new double[buffers.Length];
        long sink = 0;
        Thread[] probes = [.. buffers.Select((buffer, i) => new Thread(() =>
        {
            long started = Stopwatch.GetTimestamp(), bytes = 0, sum = 0;
            do
            {
                sum += Vectors.Sum(buffer);
                bytes += ProbeBytes;
            }
            while (Stopwatch.GetElapsedTime(started) < ProbeTime);
            Interlocked.Add(ref sink, sum);
            read[i] = bytes / Stopwatch.GetElapsedTime(started).TotalSeconds;
        }))];
        foreach (Thread t in probes) t.Start();
        foreach (Thread t in probes) t.Join();
        return sink == 0 ? 0 : read.Sum();
    }
}
