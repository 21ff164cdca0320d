using System.Diagnostics;
using System.Globalization;
using DeepSeek.Backends;
using DeepSeek.Core.Tests;
using DeepSeek.Core.Tests.Backends;
using DeepSeek.Core.Tests.Models;

namespace DeepSeek.Gpu.Tests;

/// <summary>
/// Runs the operation cases, and the golden checkpoints that are here, on a device of one's choice, by hand: <c>DEVICE [PART OF A NAME…]</c>. A line each: seconds, the largest error, what is
/// allowed. Fails where one fails.
/// </summary>
internal static class Program
{
    private const string Usage = """
        usage: DeepSeek.Gpu.Tests DEVICE [PART OF A NAME…]
        DEVICE: host, gpu:N, cuda:N or opencl:N as everywhere; where ILGPU is built in (UseIlgpu) also
          opencl    the first OpenCL device of any kind, a processor's too
          cpu       ILGPU's CPU accelerator with warps of 4
          cpu:32    the same with NVIDIA's warps: hours for all
          cpu:1     the same without warps, as OpenCL runs the kernels
        """;

    private static int Main(string[] args)
    {
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        if (args.Length == 0)
        {
            Console.Error.WriteLine(Usage);
            return 64;
        }
        Dictionary<string, Func<(string Label, double Error, double Allowed)>> all = [];
        Func<Backend> create;
        try
        {
            create = Opener(args[0]);
            using Backend backend = create();
            Console.WriteLine(backend.Description);
        }
        catch (ModelException e)
        {
            Console.Error.WriteLine(e.Message);
            return 2;
        }
        foreach (string name in OperationCases.Names) all.Add(name, () => OperationCases.Measure(name, create));
        foreach (string name in SharedData.Absent is null ? Golden.All : Golden.Small)
        {
            string path = SharedData.Absent is null ? SharedData.Path("golden", name) : SharedData.Local("golden", name);
            all.Add($"golden {name}", () => ("logits of the prompt", GoldenTests.Measure(path, create), GoldenTests.Limit));
        }
        string[] names = [.. all.Keys.Where(n => args.Length == 1 || args[1..].Any(part => n.Contains(part, StringComparison.OrdinalIgnoreCase)))];
        int passed = 0;
        var whole = Stopwatch.StartNew();
        foreach (string name in names)
        {
            var watch = Stopwatch.StartNew();
            bool good = false;
            string result;
            try
            {
                (string label, double error, double allowed) = all[name]();
                good = error <= allowed;
                result = $"nmse {error:e1} of {allowed:e0}, {label}";
            }
            catch (Exception e) { result = $"{e.GetType().Name}: {e.Message}"; }
            if (good) passed++;
            Console.WriteLine($"{(good ? "passed" : "FAILED")} {watch.Elapsed.TotalSeconds,7:0.0} s  {name}: {result}");
        }
        Console.WriteLine($"{passed} passed, {names.Length - passed} failed, {whole.Elapsed.TotalSeconds:0} s");
        return passed == names.Length && passed > 0 ? 0 : 1;
    }

    private static Func<Backend> Opener(string device)
    {
#if ILGPU
        if (Ilgpu.Accelerators.Opener(device) is { } open) return open;
#endif
        IBackendDevice found = GpuDevice.Find(device) as GpuDevice ?? throw new DeviceException($"'{device}' is no device of this package; ILGPU's CPU accelerator needs the property UseIlgpu.");
        return () => found.CreateBackend(new LanguageModelOptions());
    }
}
