using DeepSeek.Benchmarks;
using DeepSeek.Core.Tests.Backends.Cpu.Assembly;

switch (args)
{
    case ["assemble", ..]:
        string path = args.Length > 1 ? args[1] : KernelCatalogue.SourcePath;
        File.WriteAllText(path, KernelCatalogue.Source());
        Console.WriteLine($"{path}: {KernelCatalogue.All().Count()} kernels, {KernelCatalogue.All().Sum(k => k.Code.Length)} bytes of code");
        return 0;
    case ["attention", ..]: AttentionBenchmark.Run(args.AsSpan(1)); return 0;
    case ["masks", ..] when args.Length > 1: MaskBenchmark.Run(args.AsSpan(1)); return 0;
    case ["constrained", ..] when args.Length > 1: await ConstrainedBenchmark.RunAsync(args[1..]); return 0;
    case ["load", var model, ..]: await LoadBenchmark.RunAsync(model, 5); return 0;
    case ["kernels", ..]: KernelBenchmark.Run(args[1..]); return 0;
    case ["fp8", var folder, ..]:
        RandomFp8Folder.Write(folder, args.Length > 2 ? double.Parse(args[2], System.Globalization.CultureInfo.InvariantCulture) : 4.2, args.Length > 3 ? args[3] : null);
        return 0;
    case ["soak", var model, ..]: return await Soak.RunAsync(model, args.Length > 2 ? int.Parse(args[2], System.Globalization.CultureInfo.InvariantCulture) : 10_000);
    default:
        Console.Error.WriteLine("""
            usage: DeepSeek.Benchmarks attention [THREADS] [F32|F16|BF16|Q8] [SHAPE]
                   DeepSeek.Benchmarks assemble [FILE]    assembles the machine-code kernels into the library's source file of constants
                   DeepSeek.Benchmarks masks TOKENIZER [ROWS]  times the token masks of constrained decoding
                   DeepSeek.Benchmarks constrained MODEL [TOKENS] [RUNS]  times decode steps with a schema and without, in turns
                   DeepSeek.Benchmarks kernels [FORMAT…]  times matrix products: bandwidth for few tokens, operations for many
                   DeepSeek.Benchmarks fp8 FOLDER [GIGABYTES] [TOKENIZER]  writes a random float8 checkpoint in DeepSeek-V3's layout
                   DeepSeek.Benchmarks soak MODEL [REQUESTS]  sends short requests of every kind and watches memory
                   DeepSeek.Benchmarks load MODEL         times opening a model, cold and warm, and its first token
            """);
        return 64;
}
