using DeepSeek.Benchmarks;

switch (args)
{
    case ["attention", ..]: AttentionBenchmark.Run(args.AsSpan(1)); return 0;
    default:
        Console.Error.WriteLine("usage: DeepSeek.Benchmarks attention [THREADS] [F32|F16|BF16|Q8] [SHAPE]");
        return 64;
}
