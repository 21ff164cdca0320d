namespace DeepSeek.Generation;

/// <summary>How tokens are drawn, with every default resolved. Immutable; checked by <see cref="SamplingDefaults"/>.</summary>
internal sealed record SamplingSettings
{
    public float Temperature { get; init; } = GenerationOptions.DefaultTemperature;

    public int TopK { get; init; }

    public float TopP { get; init; } = 1;

    public float MinP { get; init; }

    public float RepetitionPenalty { get; init; } = 1;

    public float PresencePenalty { get; init; }

    public float FrequencyPenalty { get; init; }

    /// <summary>Token ids with a bias, and the bias of each.</summary>
    public (int Id, float Bias)[] LogitBias { get; init; } = [];

    public ulong Seed { get; init; }

    /// <summary>Tokens that can be drawn, before top-p and min-p; 0: any.</summary>
    public int Candidates => Temperature < Sampler.SmallestTemperature ? 1 : TopK;

    public bool HasPenalties => RepetitionPenalty != 1 || PresencePenalty != 0 || FrequencyPenalty != 0;
}
