using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using DeepSeek.Tensors;

namespace DeepSeek.Conformance.Verbs;

/// <summary><c>blocks TYPE</c>: what blocks of a format stand for.</summary>
internal sealed class BlocksVerb(Arguments arguments) : IVerb
{
    private readonly DType type = Format(arguments.Required);

    public JsonNode Answer(JsonObject line)
    {
        byte[] blocks = Convert.FromBase64String(line["blocks"]!.GetValue<string>());
        var values = new float[blocks.Length / type.Info().BlockBytes * type.Info().BlockElements];
        Dequantise.Blocks(type, blocks, values);
        return new JsonObject { ["values"] = Convert.ToBase64String(MemoryMarshal.AsBytes(values.AsSpan())) };
    }

    public void Dispose() { }

    /// <summary>A format by name.</summary>
    internal static DType Format(string name) => DTypes.FromName(name) ?? throw new UnsupportedModelException($"There is no number format '{name}'.");
}
