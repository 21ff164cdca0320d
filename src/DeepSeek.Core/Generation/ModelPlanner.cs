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
    private const int ProbeBytes = 64 << 20;

    private static readonly TimeSpan ProbeTime = TimeSpan.FromMilliseconds(120);

    public static ModelPlan Plan(string path, LanguageModelOptions options, MachineLimits machine)
    {
        using Checkpoint checkpoint = Checkpoint.Open(path);
        ModelFacts facts = ModelFacts.Of(checkpoint);
        Backend backend = BackendFactory.Create(options);
        try
        {
            CacheFormat format = BackendFactory.FormatOf(options.CacheType, backend);
            MemoryBudget memory = MemoryBudget.Of(checkpoint, options, machine);
            DevicePlan? device = null;
            string? deviceRefusal = null;
            try { device = DevicePlan.Of(options, checkpoint, format, memory); }
            catch (ModelMemoryException e) { deviceRefusal = e.Message; }
            if (device is not null)
            {
                memory = device.OnHost(memory);
                backend = BackendFactory.Place(options, backend, device.Placement);
            }
            return Plan(options, machine, checkpoint, facts, backend, format, memory, device, deviceRefusal);
        }
        finally { backend.Dispose(); }
    }

    private static ModelPlan Plan(LanguageModelOptions options, MachineLimits machine, Checkpoint checkpoint, ModelFacts facts, Backend backend, CacheFormat format, MemoryBudget memory,
        DevicePlan? device, string? deviceRefusal)
    {
        using var headers = new ReferenceBackend(); // a device would take the weights in
        Model model = Architectures.Bind(new ModelSource(checkpoint, options.Device is IBackendDevice ? headers : backend));
        long perToken = CacheStorage.BytesOfBlock(model.Streams, format, CachePlan.BlockTokens) / CachePlan.BlockTokens;
        int wanted = Math.Min(options.ContextLength ?? LanguageModelOptions.DefaultContextLength, model.MaxPositions);
        // Where weights do not fit, the context is the one that paging would leave.
        long room = (memory.Fits ? memory : memory with { IsPaged = true }).CacheRoom - backend.PreparedBytes;
        (int context, bool shortened, string? refusal) = device is not null ? (device.Cache.ContextLength, device.Cache.IsShortened, null)
            : deviceRefusal is not null ? (0, false, deviceRefusal) : Context(options, model, format, room, perToken);
        (PlanVerdict verdict, string advice) = !memory.Fits ? context >= CachePlan.BlockTokens ? (PlanVerdict.NeedsPaging, memory.Refusal(options)) : (PlanVerdict.DoesNotFit, memory.Refusal(options))
            : refusal is not null ? (context >= CachePlan.BlockTokens ? PlanVerdict.FitsWithShorterContext : PlanVerdict.DoesNotFit, refusal)
            : (shortened ? PlanVerdict.FitsWithShorterContext : PlanVerdict.Fits, Fitting(memory, shortened, context, wanted));
        int threads = BackendFactory.ThreadsOf(options);
        double bandwidth = MeasureBandwidth(threads), paging = memory.IsExceeded ? MeasureFile(checkpoint) : bandwidth;
        // Of the processor's share: how fast a device reads its own is not measured.
        double read = device is null ? facts.BytesPerToken : facts.BytesPerToken * Math.Max(1 - device.DeviceWeightBytes / (double)Math.Max(checkpoint.WeightBytes, 1), 0);
        return new ModelPlan
        {
            Name = facts.Name, Architecture = facts.Architecture, Format = facts.Format, ParameterCount = facts.ParameterCount, WeightBytes = checkpoint.WeightBytes, BytesReadPerToken = facts.BytesPerToken,
            CacheBytesPerToken = perToken, CacheBytes = perToken * context, ContextLength = context, MaxContextLength = model.MaxPositions, AvailableMemoryBytes = memory.AvailableBytes,
            Processors = machine.Processors(), Device = backend.Name, Placement = device?.Text ?? (deviceRefusal is null ? $"all on {backend.Name}" : $"{backend.Name} is too small"), DeviceBytes = device?.Bytes ?? 0,
            Kernels = backend.Description, MemoryBytesPerSecond = bandwidth,
            ExpectedTokensPerSecond = read > 0 ? Math.Min(bandwidth, paging) / read : 0, Verdict = verdict, Advice = advice,
            Tensors = [.. checkpoint.Tensors.Select(t => new PlannedTensor(t.Name, t.Type.Info().Name, t.Shape, t.Bytes))],
        };
    }

    private static string Fitting(MemoryBudget memory, bool shortened, int context, int wanted) => string.Create(CultureInfo.InvariantCulture,
        $"It {(memory.IsExceeded ? "runs paged (the weights exceed the memory and are read from the file as needed, so that the disk sets the speed)" : "fits")}{(shortened ? $" with a context of {context} tokens instead of {wanted}; a smaller {nameof(CacheType)} makes it longer" : "")}.");

    /// <summary>The context that loading would give; where it would refuse, why, and the longest that it would not refuse.</summary>
    private static (int Length, bool IsShortened, string? Refusal) Context(LanguageModelOptions options, Model model, CacheFormat format, long room, long perToken)
    {
        try
        {
            CachePlan plan = CachePlan.For(options, model.Streams, format, model.MaxPositions, room);
            return (plan.ContextLength, plan.IsShortened, null);
        }
        catch (ModelMemoryException e)
        {
            return ((int)(e.AvailableBytes / (perToken * CachePlan.BlockTokens) * CachePlan.BlockTokens), true, e.Message);
        }
    }

    /// <summary>Bytes of weights a second that come from the mapped file, from places all over it. What other processes left in memory comes faster than it will.</summary>
    private static unsafe double MeasureFile(Checkpoint checkpoint)
    {
        TensorInfo[] tensors = [.. checkpoint.Tensors.Where(t => t.Shape.Count == 2 && t.Bytes >= 1 << 20 && t.Shape.All(d => d <= int.MaxValue))];
        long started = Stopwatch.GetTimestamp(), bytes = 0, sum = 0;
        int stride = Math.Max(1, tensors.Length / 8), page = Environment.SystemPageSize;
        for (int i = 0; i < tensors.Length && Stopwatch.GetElapsedTime(started) < ProbeTime; i++)
        {
            TensorInfo t = tensors[(int)((long)i * stride % tensors.Length)];
            if (checkpoint.Find(t.Name, (int)t.Shape[0], (int)t.Shape[1]) is not { } weight) continue;
            for (long at = 0; at < Math.Min(weight.Bytes, ProbeBytes / 8); at += page, bytes += page) sum += ((byte*)weight.Data)[at];
        }
        return sum < 0 || bytes == 0 ? double.PositiveInfinity : bytes / Stopwatch.GetElapsedTime(started).TotalSeconds;
    }

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
