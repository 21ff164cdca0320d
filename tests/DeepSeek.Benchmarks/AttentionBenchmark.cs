using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using DeepSeek.Backends;
using DeepSeek.Backends.Cpu;
using DeepSeek.Tensors;

namespace DeepSeek.Benchmarks;

/// <summary>
/// Times attention alone: decoding one token at several contexts (over as many layers as fill 128 MiB, so that keys come from memory as in a model) and steps of a
/// prompt. Prints the least of several runs, since others may load the machine; with one thread it counts processor time, which others disturb less.
/// </summary>
internal static class AttentionBenchmark
{
    private const int BlockTokens = 64, Repetitions = 7;
    private const long CacheBytes = 128 << 20;

    private sealed record Shape(string Name, int Heads, int KeyHeads, int Size);

    private static readonly Shape[] Shapes = [new("qwen1.5b", 12, 2, 128), new("smol135m", 9, 3, 64), new("llama8b", 32, 8, 128), new("mha", 16, 16, 128)];

    /// <summary>Arguments: threads, cache format, the beginning of a shape's name, the one context wanted.</summary>
    public static void Run(ReadOnlySpan<string> arguments)
    {
        int threads = arguments.Length > 0 ? int.Parse(arguments[0], CultureInfo.InvariantCulture) : 2;
        CacheFormat format = arguments.Length > 1 ? Enum.Parse<CacheFormat>(arguments[1], ignoreCase: true) : CacheFormat.BF16;
        string name = arguments.Length > 2 ? arguments[2] : "";
        using CpuBackend backend = new(new CpuBackendOptions { Threads = threads });
        Console.WriteLine($"{backend.Description}; cache {format}");
        (int Rows, int Context)[] cases = [(1, 64), (1, 4096), (1, 32768), (512, 512), (512, 4096)];
        int only = arguments.Length > 3 ? int.Parse(arguments[3], CultureInfo.InvariantCulture) : 0;
        if (only > 0) cases = [.. cases.Where(c => c.Context == only)];
        foreach (Shape shape in Shapes.Where(s => s.Name.StartsWith(name, StringComparison.Ordinal)))
            foreach ((int rows, int context) in cases) Grouped(backend, format, shape, rows, context);
        if ("latent".StartsWith(name, StringComparison.Ordinal))
            foreach ((int rows, int context) in cases) Latent(backend, format, 16, rows, context);
    }

    private static void Grouped(CpuBackend backend, CacheFormat format, Shape s, int rows, int context)
    {
        int width = s.KeyHeads * s.Size, blocks = (context + BlockTokens - 1) / BlockTokens;
        long layerBytes = 2 * CacheStorage.RowBytes(format, width) * blocks * BlockTokens;
        int layers = Layers(layerBytes, rows);
        CacheStream[] streams = [.. Enumerable.Range(0, 2 * layers).Select(i => new CacheStream(i / 2, i % 2 == 0 ? "key" : "value", width))];
        AttentionSettings[] settings = [.. Enumerable.Range(0, layers).Select(i => new AttentionSettings(s.Heads, s.KeyHeads, s.Size, 1 / MathF.Sqrt(s.Size), 2 * i, 2 * i + 1))];
        double pairs = Pairs(rows, context), flops = 4 * pairs * s.Heads * s.Size;
        Time(backend, format, s.Name, streams, rows, context, s.Heads * s.Size, s.Heads * s.Size, layerBytes, flops,
            (output, q, step, cache, layer) => backend.AttendCached(output, q, settings[layer], step, cache));
    }

    private static unsafe void Latent(CpuBackend backend, CacheFormat format, int heads, int rows, int context)
    {
        const int n = 128, r = 64, v = 128, c = 512;
        int blocks = (context + BlockTokens - 1) / BlockTokens;
        long layerBytes = CacheStorage.RowBytes(format, c + r) * blocks * BlockTokens;
        int layers = Layers(layerBytes, rows);
        DeviceWeight Weight(int outputs)
        {
            ushort* p = (ushort*)NativeMemory.AlignedAlloc((nuint)(2 * outputs * c), 64);
            for (int i = 0; i < outputs * c; i++) p[i] = (ushort)(0x3C00 + i * 7919 % 256);
            return backend.Prepare(new Weight("w", DType.BF16, outputs, c, (nint)p), WeightRole.Matrix);
        }
        LatentAttentionSettings[] settings = [.. Enumerable.Range(0, layers).Select(i => new LatentAttentionSettings(heads, n, r, v, c, 1 / MathF.Sqrt(n + r), i,
            [.. Enumerable.Range(0, heads).Select(_ => Weight(n))], false, [.. Enumerable.Range(0, heads).Select(_ => Weight(v))]))];
        double flops = 2.0 * heads * (Pairs(rows, context) * (2 * c + r) + 2.0 * rows * n * c);
        Time(backend, format, $"latent{heads}", [.. Enumerable.Range(0, layers).Select(i => new CacheStream(i, "latent", c + r))], rows, context, heads * (n + r), heads * v,
            layerBytes + 2L * heads * (n + v) * c, flops, (output, q, step, cache, layer) => backend.AttendLatentCached(output, q, settings[layer], step, cache));
    }

    private static int Layers(long layerBytes, int rows) => rows > 1 ? 1 : (int)Math.Clamp(CacheBytes / layerBytes, 1, 64);

    private static double Pairs(int rows, int context) => rows * (context - (rows - 1) / 2.0);

    private static void Time(CpuBackend backend, CacheFormat format, string name, CacheStream[] streams, int rows, int context, int queryWidth, int outputWidth, long bytes, double flops,
        Action<Tensor, Tensor, StepLayout, CacheStorage, int> attend)
    {
        int blocks = (context + BlockTokens - 1) / BlockTokens, layers = streams.Length / (streams.Any(s => s.Kind == "value") ? 2 : 1);
        using CacheStorage cache = backend.CreateCache(streams, format, BlockTokens, blocks);
        byte[] block = new byte[cache.BlockBytes];
        if (format == CacheFormat.Q8) block.AsSpan().Fill(0x3C); // scales too: 0x3C3C3C3C is 0.0115
        else for (int i = 0; i + 1 < block.Length; i += 2) (block[i], block[i + 1]) = ((byte)(i * 37), (byte)(i / 2 % 2 == 0 ? 0x3C : 0xBC));
        for (int b = 0; b < blocks; b++) cache.WriteBlock(b, block);
        StepLayout step = new(rows, 1, blocks, BlockTokens);
        int[] table = [.. Enumerable.Range(0, blocks)];
        step.Add(new int[rows], context - rows, table, 0);
        long mark = backend.Mark();
        Tensor q = backend.Rent(rows, queryWidth), output = backend.Rent(rows, outputWidth);
        float[] numbers = new float[rows * queryWidth];
        for (int i = 0; i < numbers.Length; i++) numbers[i] = i * 31 % 64 / 64f - 0.5f;
        backend.Write(q, numbers);
        double best = double.MaxValue;
        for (int i = 0; i < Repetitions + 3; i++)
        {
            bool processor = backend.Pool.ThreadCount == 1;
            TimeSpan used = processor ? Environment.CpuUsage.TotalTime : default;
            long start = Stopwatch.GetTimestamp();
            for (int layer = 0; layer < layers; layer++) attend(output, q, step, cache, layer);
            double seconds = (processor ? Environment.CpuUsage.TotalTime - used : Stopwatch.GetElapsedTime(start)).TotalSeconds / layers;
            if (i >= 3) best = Math.Min(best, seconds);
            if (i == 2) Thread.Sleep(300); // compiled again, optimised, in the background
        }
        backend.Release(mark);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{name,-10} rows {rows,4} context {context,6}  {best * 1e6,10:F1} us a layer  {bytes / best / 1e9,7:F2} GB/s  {flops / best / 1e9,8:F1} GFLOP/s"));
    }
}
