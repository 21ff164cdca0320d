using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using DeepSeek.Gpu;

namespace DeepSeek.Cli.Commands;

/// <summary>Says what is in a model's file and what it would need, without loading it.</summary>
internal sealed class InspectCommand : Command
{
    private readonly Argument<string?> path = CommandLine.Text("path", "A GGUF file, a Hugging Face folder or the name of an embedded model; --model does the same.");
    private readonly Option<bool> json = new("--json") { Description = "One JSON object on standard output." };
    private readonly Option<bool> tensors = new("--tensors") { Description = "List every tensor." };
    private readonly ModelOptions model = new();

    public InspectCommand() : base("inspect", "Say what is in a model's file, what it will need, and how fast it should run here.")
    {
        Arguments.Add(path);
        Options.Add(json);
        Options.Add(tensors);
        model.AddTo(this);
        SetAction(Run);
    }

    private int Run(ParseResult parsed)
    {
        ModelPlan plan = LanguageModel.Plan(model.Path(parsed, parsed.GetValue(path)), model.Options(parsed));
        if (parsed.GetValue(json)) WriteJson(plan, parsed.GetValue(tensors));
        else WriteText(plan, parsed.GetValue(tensors));
        return 0;
    }

    private static void WriteText(ModelPlan plan, bool tensors)
    {
        Line("name", plan.Name);
        Line("architecture", plan.Architecture);
        Line("format", plan.Format);
        Line("parameters", $"{plan.ParameterCount / 1e6:#,0.0} million");
        Line("weights", $"{Bytes(plan.WeightBytes)}, of which a token reads {Bytes(plan.BytesReadPerToken)}");
        Line("cache", $"{plan.CacheBytesPerToken:#,0} bytes a token, {Bytes(plan.CacheBytes)} for the context");
        Line("context", $"{plan.ContextLength:#,0} tokens (made for {plan.MaxContextLength:#,0})");
        Line("memory", $"{Bytes(plan.AvailableMemoryBytes)} available, {Bytes(plan.MemoryBytesPerSecond)}/s measured");
        Line("device", $"{plan.Device}, {plan.Processors} processors: {plan.Kernels}");
        Line("placement", plan.Placement);
        Line("graphics", GpuDevice.WhyNone ?? string.Join("; ", GpuDevice.All.Select(d => $"{d.Name}: {d.Description}")));
        Line("expected", plan.ExpectedTokensPerSecond == 0 ? "not known: a device's memory is not measured" : $"about {plan.ExpectedTokensPerSecond:0.#} tokens/s of one answer{(plan.DeviceBytes > 0 ? ", at most: the processor's part alone" : "")}");
        Line("verdict", plan.Advice);
        if (!tensors) return;
        Console.WriteLine();
        foreach (PlannedTensor t in plan.Tensors) Console.WriteLine($"{t.Type,-8} {Bytes(t.Bytes),10}  {t.Name} [{string.Join(", ", t.Shape)}]");
    }

    private static void WriteJson(ModelPlan plan, bool tensors)
    {
        using var writer = new Utf8JsonWriter(Console.OpenStandardOutput(), new JsonWriterOptions { Indented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        writer.WriteStartObject();
        writer.WriteString("name", plan.Name);
        writer.WriteString("architecture", plan.Architecture);
        writer.WriteString("format", plan.Format);
        writer.WriteNumber("parameters", plan.ParameterCount);
        writer.WriteNumber("weight_bytes", plan.WeightBytes);
        writer.WriteNumber("bytes_read_per_token", plan.BytesReadPerToken);
        writer.WriteNumber("cache_bytes_per_token", plan.CacheBytesPerToken);
        writer.WriteNumber("cache_bytes", plan.CacheBytes);
        writer.WriteNumber("context_length", plan.ContextLength);
        writer.WriteNumber("max_context_length", plan.MaxContextLength);
        writer.WriteNumber("available_memory_bytes", plan.AvailableMemoryBytes);
        writer.WriteNumber("memory_bytes_per_second", plan.MemoryBytesPerSecond);
        writer.WriteNumber("processors", plan.Processors);
        writer.WriteString("device", plan.Device);
        writer.WriteString("placement", plan.Placement);
        writer.WriteNumber("device_bytes", plan.DeviceBytes);
        writer.WriteStartArray("graphics_devices");
        foreach (GpuDevice device in GpuDevice.All) writer.WriteStringValue($"{device.Name}: {device.Description}");
        writer.WriteEndArray();
        writer.WriteString("kernels", plan.Kernels);
        writer.WriteNumber("expected_tokens_per_second", plan.ExpectedTokensPerSecond);
        writer.WriteString("verdict", plan.Verdict.ToString());
        writer.WriteString("advice", plan.Advice);
        if (tensors)
        {
            writer.WriteStartArray("tensors");
            foreach (PlannedTensor t in plan.Tensors)
            {
                writer.WriteStartObject();
                writer.WriteString("name", t.Name);
                writer.WriteString("type", t.Type);
                writer.WriteStartArray("shape");
                foreach (long d in t.Shape) writer.WriteNumberValue(d);
                writer.WriteEndArray();
                writer.WriteNumber("bytes", t.Bytes);
                writer.WriteEndObject();
            }
            writer.WriteEndArray();
        }
        writer.WriteEndObject();
        writer.Flush();
        Console.WriteLine();
    }

    private static void Line(string name, string value) => Console.WriteLine($"{name,-14}{value}");

    private static string Bytes(double bytes) => string.Create(CultureInfo.InvariantCulture, $"{(bytes >= 1e9 ? bytes / 1e9 : bytes / 1e6):0.##} {(bytes >= 1e9 ? "GB" : "MB")}");
}
