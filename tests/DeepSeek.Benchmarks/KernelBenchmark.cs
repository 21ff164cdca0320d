using System.Diagnostics;
using System.Runtime.InteropServices;
using DeepSeek.Backends;
using DeepSeek.Backends.Cpu;
using DeepSeek.Tensors;

namespace DeepSeek.Benchmarks;

/// <summary>Times products of one large matrix: GB/s of weights read for few tokens, billions of operations a second for many. Best of several rounds, because other programs run too.</summary>
internal static unsafe class KernelBenchmark
{
    public static void Run(string[] arguments)
    {
        static int Number(string name, int value) => Environment.GetEnvironmentVariable(name) is { } s ? int.Parse(s, System.Globalization.CultureInfo.InvariantCulture) : value;
        int threads = Number("THREADS", 2), rows = Number("ROWS", 65536), columns = Number("COLUMNS", 1536);
        int[] tokenCounts = [.. (Environment.GetEnvironmentVariable("TOKENS") ?? "1,2,4,8,16,64,512").Split(',').Select(s => int.Parse(s, System.Globalization.CultureInfo.InvariantCulture))];
        string[] formats = arguments.Length > 0 ? arguments : ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "MXFP4", "BF16", "F16", "F8_E4M3"];
        using CpuBackend backend = new(new CpuBackendOptions { Threads = threads });
        Console.WriteLine(backend.Description);
        Console.WriteLine("format     tokens      ms     GB/s    GOP/s");
        foreach (string name in formats)
        {
            DType type = DTypes.FromName(name) ?? DTypes.FromSafetensors(name) ?? throw new ArgumentException($"no format {name}");
            nuint bytes = (nuint)(type.RowBytes(columns) * rows);
            void* memory = NativeMemory.AlignedAlloc(bytes, 4096);
            // Every 16-bit word is a small half, so that scales are ordinary numbers wherever they are.
            Random random = new(1);
            Span<ushort> words = new(memory, (int)(bytes / 2));
            ushort[] pool = new ushort[1 << 16];
            for (int i = 0; i < pool.Length; i++) pool[i] = (ushort)(0x1400 | random.Next(0x0400) | random.Next(2) << 15);
            for (int i = 0; i < words.Length; i += pool.Length) pool.AsSpan(0, Math.Min(pool.Length, words.Length - i)).CopyTo(words[i..]);
            BlockScales? scales = null;
            if (type == DType.F8E4M3) scales = new((nint)NativeMemory.AllocZeroed((nuint)((columns + 127) / 128 * ((rows + 127) / 128) * 4)), DType.F32, 128, 128, (columns + 127) / 128);
            Weight source = new(name, type, rows, columns, (nint)memory, scales);
            DeviceWeight weight = backend.Prepare(source, WeightRole.Matrix);
            foreach (int tokens in tokenCounts)
            {
                long mark = backend.Mark();
                Tensor x = backend.Rent(tokens, columns), y = backend.Rent(tokens, rows);
                float[] values = new float[tokens * columns];
                for (int i = 0; i < values.Length; i++) values[i] = (float)(random.NextDouble() - 0.5);
                backend.Write(x, values);
                double best = double.MaxValue, spent = 0;
                for (int round = 0; round < 40 && (round < 3 || spent < 1.0); round++)
                {
                    long start = Stopwatch.GetTimestamp();
                    TimeSpan before = Environment.CpuUsage.TotalTime;
                    backend.MatMul(y, x, weight);
                    // One thread: processor time, which other programs disturb less.
                    double t = threads == 1 ? (Environment.CpuUsage.TotalTime - before).TotalSeconds : Stopwatch.GetElapsedTime(start).TotalSeconds;
                    (best, spent) = (Math.Min(best, t), spent + t);
                }
                Console.WriteLine($"{name,-10} {tokens,6} {best * 1e3,7:f2} {bytes / best / 1e9,8:f1} {2.0 * tokens * rows * columns / best / 1e9,8:f0} {(((CpuWeight)weight).Kernel is { } stored ? stored.GetType().Name : "")}");
                backend.Release(mark);
            }
            NativeMemory.AlignedFree(memory);
        }
    }
}
