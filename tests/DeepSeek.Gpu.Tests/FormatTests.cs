using System.Text.Json;
using DeepSeek.Backends;
using DeepSeek.Core.Tests;
using DeepSeek.Core.Tests.Models;
using DeepSeek.Formats;
using DeepSeek.Tensors;
using Xunit.Abstractions;

namespace DeepSeek.Gpu.Tests;

/// <summary>A one-layer model in every stored format, on the kernels, against transformers in float64 over the same weights: a short prompt (matrix-vector kernels) and a longer one (tiles).</summary>
public class FormatTests(ITestOutputHelper output)
{
    /// <summary>Activations in 8 bits.</summary>
    private const double Limit = 1e-3;

    public static TheoryData<string> Formats =>
    [
        "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M",
        "TQ1_0", "TQ2_0", "BF16", "MIX_Q4_K_M", "MIX_Q2_K_S", "MIX_F16",
    ];

    [SharedTheory]
    [MemberData(nameof(Formats))]
    public void AgreesWithTransformers(string format)
    {
        using JsonDocument json = JsonDocument.Parse(File.ReadAllBytes(SharedData.Path("quants", "models.json")));
        using Checkpoint checkpoint = Checkpoint.Open(SharedData.Path("quants", $"{format}.gguf"));
        using Backend backend = OperationTests.Host(1, 1);
        using var run = new ModelRun(checkpoint, backend);
        for (int i = 0; i < 2; i++)
        {
            int[] ids = [.. json.RootElement.GetProperty("ids")[i].EnumerateArray().Select(x => x.GetInt32())];
            float[] expected = [.. json.RootElement.GetProperty("models").GetProperty(format)[i].GetProperty("last_logits").EnumerateArray().Select(x => x.GetSingle())];
            double error = Golden.Nmse(run.Step((i, ids))[^1], expected);
            output.WriteLine($"{ids.Length} tokens: nmse {error:e1}");
            Assert.True(error < Limit, $"{ids.Length} tokens: nmse {error:e2}");
        }
    }

    /// <summary>What a plan counts: the device's form of a matrix may be larger than the file's.</summary>
    [Theory]
    [InlineData("Q8_0", 34 * 8)]
    [InlineData("Q4_K", 144 + 4)] // its six-bit scales are bytes
    [InlineData("Q6_K", 210)]
    [InlineData("IQ2_XXS", 320)] // as signed bytes with a scale for every 16
    [InlineData("F8_E4M3", 256 + 8)]
    [InlineData("F64", 1024)] // as float32
    public void BytesOfARowOf256(string type, int bytes)
        => Assert.Equal(3 * ((bytes + 15) / 16 * 16), ((IBackendDevice)GpuDevice.Host).BytesOf(DTypes.FromName(type)!.Value, 3, 256));
}
