using System.CommandLine;
using DeepSeek.Gpu;

namespace DeepSeek.Cli;

/// <summary>The options of every command that runs a model, and how they become a loaded model.</summary>
internal sealed class ModelOptions
{
    private const string DefaultModel = "SmolLM2-135M-Instruct.Q4_1.gguf";

    private readonly Option<string?> model = new("--model", "-m") { Description = "A GGUF file, a Hugging Face folder, or the name of an embedded model (tiny-reasoner). Default: the embedded SmolLM2-135M-Instruct." };
    private readonly Option<int?> threads = new("--threads", "-t") { Description = "Threads of computation. Default: the physical cores that this process may use." };
    private readonly Option<int?> context = new("--context", "-c") { Description = "Longest conversation, in tokens. Default: the model's own, at most 32,768." };
    private readonly Option<string?> device = new("--device") { Description = "Where the model runs: cpu, gpu (the first graphics processor), gpu:N, cuda:N, opencl:N; for tests host (the graphics kernels on the processor) or reference (plain scalar arithmetic), both very slow. Default: cpu." };
    private readonly Option<long?> deviceMemory = new("--device-memory") { Description = "Megabytes of a graphics processor's memory that weights and cache may take; the rest of the model runs on the CPU. Default: most of what is free there." };
    private readonly Option<bool> reproducible = new("--reproducible") { Description = "Bit-equal results whatever else runs and however many threads there are; slower." };
    private readonly Option<string?> speculate = new("--speculate") { Description = "Draft tokens ahead and verify them together: auto, on or off. The text is the same. Default: auto." };
    private readonly Option<bool> allowPaging = new("--allow-paging") { Description = "Run a model whose weights exceed the memory: they are read from the file as needed, slowly." };
    private readonly Option<string[]> disable = new("--disable") { Description = "An instruction set that must not be used (AVX512, AVX512_VNNI, AVX2, …); may be repeated.", AllowMultipleArgumentsPerToken = false };

    /// <summary>The option that names the model, for commands that do not run it.</summary>
    public Option Model => model;

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command)
    {
        foreach (Option o in (Option[])[model, threads, context, device, deviceMemory, reproducible, speculate, allowPaging, disable]) command.Options.Add(o);
    }

    /// <summary>The model's file or folder.</summary>
    public string Path(ParseResult parsed, string? named = null) => Find(named ?? parsed.GetValue(model));

    /// <summary>Whether no model was named, so that the embedded one runs.</summary>
    public bool IsEmbeddedDefault(ParseResult parsed) => parsed.GetValue(model) is null;

    /// <summary>Whether the command line says when to draft.</summary>
    public bool Speculates(ParseResult parsed) => parsed.GetValue(speculate) is not null and not "off";

    /// <summary>Options for loading.</summary>
    public LanguageModelOptions Options(ParseResult parsed) => new()
    {
        Threads = parsed.GetValue(threads),
        ContextLength = parsed.GetValue(context),
        Reproducible = parsed.GetValue(reproducible),
        AllowPaging = parsed.GetValue(allowPaging),
        DisabledInstructionSets = parsed.GetValue(disable) is { Length: > 0 } sets ? sets : null,
        Device = parsed.GetValue(device) is { } named ? GpuDevice.Find(named) : ComputeDevice.Cpu,
        DeviceBytes = parsed.GetValue(deviceMemory) * 1_000_000,
        Speculation = parsed.GetValue(speculate) switch
        {
            null or "auto" => Speculation.Auto,
            "on" => Speculation.On,
            "off" => Speculation.Off,
            var other => throw new InvalidOptionException($"--speculate is '{other}', expected auto, on or off."),
        },
    };

    /// <summary>Loads the model; a status line shows the progress where it takes over a second.</summary>
    public async Task<LanguageModel> LoadAsync(ParseResult parsed, CancellationToken cancellationToken, Func<LanguageModelOptions, LanguageModelOptions>? change = null)
    {
        LanguageModelOptions options = Options(parsed);
        long start = TimeProvider.System.GetTimestamp();
        var progress = new Progress<LoadProgress>(p =>
        {
            if (TimeProvider.System.GetElapsedTime(start) > TimeSpan.FromSeconds(1)) Terminal.Status($"{p.Stage} {p.Fraction:P0}");
        });
        try { return await LanguageModel.LoadAsync(Path(parsed), change is null ? options : change(options), progress, cancellationToken); }
        finally { Terminal.EndStatus(); }
    }

    /// <summary>What was named as it stands, else a file or folder of samples/models.</summary>
    public static string Find(string? name)
    {
        if (name is not null && (File.Exists(name) || Directory.Exists(name))) return name;
        string? folder = Above(AppContext.BaseDirectory) ?? Above(Environment.CurrentDirectory);
        if (folder is not null && System.IO.Path.Combine(folder, name ?? DefaultModel) is var inside && (File.Exists(inside) || Directory.Exists(inside))) return inside;
        string known = folder is null ? "" : " Embedded: " + string.Join(", ", Directory.EnumerateFileSystemEntries(folder).Select(System.IO.Path.GetFileName).Where(f => f!.EndsWith(".gguf", StringComparison.Ordinal) || !f.Contains('.', StringComparison.Ordinal))) + ".";
        throw new InvalidOptionException(name is null
            ? "The embedded model (samples/models) is not beside this program. Name a model with --model PATH."
            : $"There is no file, folder or embedded model '{name}'.{known}");
    }

    private static string? Above(string start)
    {
        for (DirectoryInfo? d = new(start); d is not null; d = d.Parent)
            if (System.IO.Path.Combine(d.FullName, "samples", "models") is var models && Directory.Exists(models)) return models;
        return null;
    }
}
