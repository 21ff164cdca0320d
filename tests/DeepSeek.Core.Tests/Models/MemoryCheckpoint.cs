using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using DeepSeek.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Models;

/// <summary>A checkpoint that a test builds or alters: tensors by name, in native memory.</summary>
internal sealed unsafe class MemoryCheckpoint : Checkpoint
{
    private readonly Dictionary<string, (DType Type, long[] Shape, nint Data, long Bytes)> tensors = [];
    private JsonObject config = [];

    public override string Path => "memory";

    public override string Format => "memory";

    public override ModelConfig Config => ModelConfig.Parse(System.Text.Encoding.UTF8.GetBytes(config.ToJsonString()), "config.json");

    public override ModelConfig GenerationConfig => ModelConfig.Empty;

    public override string? ChatTemplate => null;

    public override IReadOnlyCollection<TensorInfo> Tensors => [.. tensors.Select(t => new TensorInfo(t.Key, t.Value.Type, t.Value.Shape, t.Value.Bytes))];

    /// <summary>Reads a folder with one safetensors file whose tensors need no scales.</summary>
    public static MemoryCheckpoint Load(string folder)
    {
        var checkpoint = new MemoryCheckpoint { config = JsonNode.Parse(File.ReadAllText(System.IO.Path.Combine(folder, "config.json")))!.AsObject() };
        byte[] file = File.ReadAllBytes(System.IO.Path.Combine(folder, "model.safetensors"));
        int header = (int)BitConverter.ToUInt64(file);
        using JsonDocument json = JsonDocument.Parse(file.AsMemory(8, header));
        foreach (JsonProperty t in json.RootElement.EnumerateObject())
        {
            if (t.Name == "__metadata__") continue;
            int from = 8 + header + t.Value.GetProperty("data_offsets")[0].GetInt32(), to = 8 + header + t.Value.GetProperty("data_offsets")[1].GetInt32();
            checkpoint.Add(t.Name, DTypes.FromSafetensors(t.Value.GetProperty("dtype").GetString()!)!.Value, [.. t.Value.GetProperty("shape").EnumerateArray().Select(d => d.GetInt64())], file.AsSpan(from, to - from));
        }
        return checkpoint;
    }

    /// <summary>Sets a key of the configuration; null removes it.</summary>
    public MemoryCheckpoint With(string key, JsonNode? value)
    {
        config.Remove(key);
        if (value is not null) config[key] = value;
        return this;
    }

    public MemoryCheckpoint Without(string tensor)
    {
        if (!tensors.Remove(tensor, out var t)) throw new ArgumentException(tensor, nameof(tensor));
        NativeMemory.Free((void*)t.Data);
        return this;
    }

    public MemoryCheckpoint Add(string name, DType type, long[] shape, ReadOnlySpan<byte> data)
    {
        nint copy = (nint)NativeMemory.Alloc((nuint)data.Length);
        data.CopyTo(new Span<byte>((void*)copy, data.Length));
        tensors.Add(name, (type, shape, copy, data.Length));
        return this;
    }

    public MemoryCheckpoint Add(string name, long[] shape, ReadOnlySpan<float> numbers) => Add(name, DType.F32, shape, MemoryMarshal.AsBytes(numbers));

    /// <summary>Adds a tensor with the contents of another one.</summary>
    public MemoryCheckpoint AddCopy(string from, string to) => Add(to, tensors[from].Type, tensors[from].Shape, new ReadOnlySpan<byte>((void*)tensors[from].Data, (int)tensors[from].Bytes));

    public override bool Contains(string name) => tensors.ContainsKey(name);

    public override Weight? Find(string name, int rows, int columns)
    {
        if (!tensors.TryGetValue(name, out var t)) return null;
        long last = t.Shape[^1], first = t.Shape[..^1].Aggregate(1L, (a, b) => a * b);
        return (first, last) == (rows, columns) ? new Weight(name, t.Type, rows, columns, t.Data)
            : throw new InvalidModelFileException($"The tensor '{name}' is [{string.Join(", ", t.Shape)}], expected [{rows}, {columns}].");
    }

    public override Weight[] GetExperts(string name, int count, int rows, int columns)
    {
        var experts = new List<Weight>();
        for (int e = 0; e < count; e++) experts.Add(Get(name.Replace("{e}", $"{e}", StringComparison.Ordinal), rows, columns));
        return [.. experts];
    }

    public override void Dispose()
    {
        foreach (var t in tensors.Values) NativeMemory.Free((void*)t.Data);
        tensors.Clear();
    }
}
