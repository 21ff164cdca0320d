using System.Runtime.InteropServices;
using System.Text.Json;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Tensors;

public sealed class DequantiseTests
{
    [SharedFact]
    public void Every_format_stands_for_the_reference_values_bit_for_bit()
    {
        using JsonDocument vectors = JsonDocument.Parse(File.ReadAllBytes(SharedData.Path("quants", "blocks.json")));
        var wrong = new List<string>();
        int formats = 0;
        foreach (JsonProperty format in vectors.RootElement.EnumerateObject())
        {
            DType type = DTypes.FromName(format.Name)!.Value;
            Assert.Equal(format.Value.GetProperty("ggml_type").GetInt32(), type.Info().GgufId);
            Assert.Equal(format.Value.GetProperty("block_elements").GetInt32(), type.Info().BlockElements);
            byte[] want = format.Value.GetProperty("values").GetBytesFromBase64();
            var values = new float[want.Length / 4];
            Dequantise.Blocks(type, format.Value.GetProperty("blocks").GetBytesFromBase64(), values);
            int different = 0;
            ReadOnlySpan<float> expected = MemoryMarshal.Cast<byte, float>(want);
            for (int i = 0; i < values.Length; i++)
                if (!values[i].Equals(expected[i])) different++; // -0 equals 0
            if (different > 0) wrong.Add($"{format.Name}: {different} of {values.Length}");
            formats++;
        }
        Assert.Empty(wrong);
        Assert.Equal(23, formats);
    }
}
