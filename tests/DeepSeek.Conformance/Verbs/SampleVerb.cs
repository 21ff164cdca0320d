using System.Text.Json.Nodes;
using DeepSeek.Generation;

namespace DeepSeek.Conformance.Verbs;

/// <summary>The distribution that the sampler draws from.</summary>
internal sealed class SampleVerb : IVerb
{
    public JsonNode Answer(JsonObject line)
    {
        float[] logits = line["logits"]!.AsArray().Select(x => x!.GetValue<float>()).ToArray(), probabilities = new float[logits.Length];
        int[] history = line["history"]!.AsArray().Select(x => x!.GetValue<int>()).ToArray();
        JsonObject given = line["settings"]!.AsObject();
        float? Number(string key) => given[key]?.GetValue<float>();
        var settings = SamplingDefaults.Plain.Resolve(new GenerationOptions
        {
            Temperature = Number("temperature"), TopK = given["top_k"]?.GetValue<int>(), TopP = Number("top_p"), MinP = Number("min_p"),
            RepetitionPenalty = Number("repetition_penalty"), PresencePenalty = Number("presence_penalty"), FrequencyPenalty = Number("frequency_penalty"),
        }, newSeed: 0);
        var said = new Penalties(logits.Length, history.Length);
        foreach (int token in history) said.AddAnswer(token);
        new Sampler(logits.Length).Probabilities(logits, settings, said, probabilities);
        return new JsonObject { ["probabilities"] = Lists.Floats(probabilities) };
    }

    public void Dispose() { }
}
