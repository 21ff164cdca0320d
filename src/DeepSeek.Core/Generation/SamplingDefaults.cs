using System.Globalization;
using DeepSeek.Formats;

namespace DeepSeek.Generation;

/// <summary>A model's own sampling settings, from its generation_config.json; what the caller does not say is taken from here.</summary>
/// <param name="Temperature">0 where the model says <c>do_sample: false</c>.</param>
/// <param name="TopK">Null: the model does not say.</param>
/// <param name="TopP">Null: the model does not say.</param>
/// <param name="MinP">Null: the model does not say.</param>
/// <param name="RepetitionPenalty">Null: the model does not say.</param>
internal sealed record SamplingDefaults(float? Temperature, int? TopK, float? TopP, float? MinP, float? RepetitionPenalty)
{
    /// <summary>Plain sampling: nothing is cut off, nothing is sharpened.</summary>
    public static SamplingDefaults Plain { get; } = new(1, 0, 1, 0, 1);

    /// <summary>Reads the keys of generation_config.json.</summary>
    /// <exception cref="InvalidModelFileException">A value is out of range.</exception>
    public static SamplingDefaults From(ModelConfig config)
    {
        float? Get(string key, double min, double max) => config.Has(key) ? (float)config.Number(key, 0, min, max) : null;
        return new(config.Bool("do_sample", true) ? Get("temperature", 0, 100) : 0, config.Has("top_k") ? config.Int("top_k", 0, 0, 1 << 24) : null, Get("top_p", 0, 1) is > 0 and { } p ? p : null,
            Get("min_p", 0, 1), Get("repetition_penalty", 0, 100) is > 0 and { } r ? r : null);
    }

    /// <summary>Resolves and checks a caller's options.</summary>
    /// <param name="options">The caller's.</param>
    /// <param name="newSeed">The seed where the caller gives none.</param>
    /// <exception cref="InvalidOptionException">Options are impossible; all of them are listed.</exception>
    public SamplingSettings Resolve(GenerationOptions options, ulong newSeed)
    {
        var wrong = new List<string>();
        void Check(string name, double? value, bool fine, string expected)
        {
            if (value is { } v && !fine) wrong.Add(string.Create(CultureInfo.InvariantCulture, $"{name} is {v}, expected {expected}"));
        }
        Check(nameof(options.Temperature), options.Temperature, options.Temperature is >= 0 and <= 100, "0 to 100");
        Check(nameof(options.TopK), options.TopK, options.TopK >= 0, "0 or more");
        Check(nameof(options.TopP), options.TopP, options.TopP is > 0 and <= 1, "more than 0, up to 1");
        Check(nameof(options.MinP), options.MinP, options.MinP is >= 0 and <= 1, "0 to 1");
        Check(nameof(options.RepetitionPenalty), options.RepetitionPenalty, options.RepetitionPenalty is > 0 and <= 100, "more than 0, up to 100");
        Check(nameof(options.PresencePenalty), options.PresencePenalty, options.PresencePenalty is >= -2 and <= 2, "−2 to 2");
        Check(nameof(options.FrequencyPenalty), options.FrequencyPenalty, options.FrequencyPenalty is >= -2 and <= 2, "−2 to 2");
        Check(nameof(options.MaxTokens), options.MaxTokens, options.MaxTokens >= 1, "1 or more");
        Check(nameof(options.TopLogProbabilities), options.TopLogProbabilities, options.TopLogProbabilities is >= 0 and <= 20, "0 to 20");
        Check(nameof(options.ThinkingBudget), options.ThinkingBudget, options.ThinkingBudget >= 0, "0 or more");
        if (options.StopSequences?.Any(string.IsNullOrEmpty) == true) wrong.Add($"{nameof(options.StopSequences)} has an empty string, expected text");
        foreach ((int id, float bias) in options.LogitBias ?? new Dictionary<int, float>())
            if (id < 0 || float.IsNaN(bias)) wrong.Add(string.Create(CultureInfo.InvariantCulture, $"{nameof(options.LogitBias)} has {bias} for token {id}, expected a number for an id of the vocabulary"));
        if (wrong.Count > 0) throw new InvalidOptionException(string.Join("; ", wrong) + ".");
        return new SamplingSettings
        {
            Temperature = options.Temperature ?? Temperature ?? GenerationOptions.DefaultTemperature,
            TopK = options.TopK ?? TopK ?? 0,
            TopP = options.TopP ?? TopP ?? GenerationOptions.DefaultTopP,
            MinP = options.MinP ?? MinP ?? 0,
            RepetitionPenalty = options.RepetitionPenalty ?? RepetitionPenalty ?? 1,
            PresencePenalty = options.PresencePenalty ?? 0,
            FrequencyPenalty = options.FrequencyPenalty ?? 0,
            LogitBias = options.LogitBias?.Select(b => (b.Key, b.Value)).ToArray() ?? [],
            Seed = options.Seed is { } seed ? unchecked((ulong)seed) : newSeed,
        };
    }
}
