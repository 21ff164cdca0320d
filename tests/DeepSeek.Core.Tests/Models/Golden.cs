using System.Text.Json;

namespace DeepSeek.Core.Tests.Models;

/// <summary>One prompt of a golden.json.</summary>
internal sealed record GoldenPrompt(int[] Ids, float[] LastLogits, int[] Greedy, int[] ArgmaxPerPosition, double? MeanNll, float[][]? AllLogits, float[]? LastHidden);

/// <summary>Reference answers of the golden checkpoints, and the measure of agreement.</summary>
internal static class Golden
{
    /// <summary>Every golden checkpoint of these architectures, as a folder and as every GGUF file beside it.</summary>
    public static TheoryData<string> All =>
    [
        "llama", "llama3-rope", "llama3-rope/model-bf16.gguf", "llama-linear-rope-tied", "qwen2", "qwen2/model-bf16.gguf", "qwen3", "qwen3-yarn", "qwen3-yarn/model-bf16.gguf",
        "qwen3-moe", "qwen3-moe/model-bf16.gguf", "deepseek-moe", "deepseek-moe/model-bf16.gguf", "deepseek-v2-lite", "deepseek-v2-lite/model-bf16.gguf",
        "deepseek-v2-lite/model-legacy-kv_b.gguf", "deepseek-v2", "deepseek-v3", "deepseek-v3/model-bf16.gguf", "deepseek-v3-no-yarn", "deepseek-v3-fp8",
    ];

    /// <summary>Those of which every clone has a copy.</summary>
    public static TheoryData<string> Small => ["llama", "llama3-rope/model-bf16.gguf", "qwen2", "qwen3-moe", "deepseek-v3", "deepseek-v3/model-bf16.gguf", "deepseek-v3-fp8"];

    /// <summary>The prompts of a golden.json.</summary>
    public static GoldenPrompt[] Read(string file)
    {
        using JsonDocument json = JsonDocument.Parse(File.ReadAllBytes(file));
        return [.. json.RootElement.GetProperty("prompts").EnumerateArray().Select(p => new GoldenPrompt(
            Ints(p, "ids"), Floats(p.GetProperty("last_logits")), Ints(p, "greedy"), Ints(p, "argmax_per_position"),
            p.TryGetProperty("mean_nll_of_prompt", out JsonElement nll) ? nll.GetDouble() : null,
            p.TryGetProperty("all_logits", out JsonElement all) ? [.. all.EnumerateArray().Select(Floats)] : null,
            p.TryGetProperty("hidden_last_token", out JsonElement hidden) ? Floats(hidden[hidden.GetArrayLength() - 1]) : null))];
    }

    /// <summary>Normalised mean squared error: Σ(x − y)² / Σy².</summary>
    public static double Nmse(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        double error = 0, power = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            error += ((double)actual[i] - expected[i]) * ((double)actual[i] - expected[i]);
            power += (double)expected[i] * expected[i];
        }
        return actual.Length == expected.Length ? error / Math.Max(power, 1e-30) : double.PositiveInfinity;
    }

    /// <summary>Mean of −ln p(ids[i]) for i ≥ 1, from the logits of every position.</summary>
    public static double MeanNll(float[][] logits, int[] ids)
    {
        double sum = 0;
        for (int i = 1; i < ids.Length; i++)
        {
            double max = logits[i - 1].Max();
            sum += max + Math.Log(logits[i - 1].Sum(x => Math.Exp(x - max))) - logits[i - 1][ids[i]];
        }
        return sum / (ids.Length - 1);
    }

    private static int[] Ints(JsonElement e, string name) => e.TryGetProperty(name, out JsonElement list) ? [.. list.EnumerateArray().Select(x => x.GetInt32())] : [];

    private static float[] Floats(JsonElement e) => [.. e.EnumerateArray().Select(x => x.GetSingle())];
}
