using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using DeepSeek.Tensors;

namespace DeepSeek.Conformance.Verbs;

/// <summary><c>quantise TYPE</c>: numbers as blocks of a format that the library can write.</summary>
internal sealed class QuantiseVerb(Arguments arguments) : IVerb
{
    private readonly DType type = BlocksVerb.Format(arguments.Required);

    public JsonNode Answer(JsonObject line)
    {
        float[] values = MemoryMarshal.Cast<byte, float>(Convert.FromBase64String(line["values"]!.GetValue<string>())).ToArray();
        var blocks = new byte[type.RowBytes(values.Length)];
        Quantise.Row(type, values, blocks);
        return new JsonObject { ["blocks"] = Convert.ToBase64String(blocks) };
    }

    public void Dispose() { }
}
