namespace DeepSeek;

/// <summary>What a model's engine has done since it was loaded, and what it is doing. A snapshot.</summary>
public sealed record EngineStatistics
{
    /// <summary>Forward passes.</summary>
    public long Steps { get; init; }

    /// <summary>Prompt tokens computed; those found in the cache are not counted.</summary>
    public long PromptTokens { get; init; }

    /// <summary>Prompt tokens found in the cache.</summary>
    public long CachedTokens { get; init; }

    /// <summary>Tokens generated.</summary>
    public long GeneratedTokens { get; init; }

    /// <summary>Tokens drafted by speculation.</summary>
    public long DraftedTokens { get; init; }

    /// <summary>Drafted tokens that were accepted.</summary>
    public long AcceptedTokens { get; init; }

    /// <summary>Requests that ended, whatever the reason.</summary>
    public long FinishedRequests { get; init; }

    /// <summary>Sequences put back into the queue because the cache was full.</summary>
    public long Preemptions { get; init; }

    /// <summary>Managed memory that the engine's own thread allocated inside steps, from schedule to sampled token, in bytes. Delivery to callers is not counted.</summary>
    public long AllocatedBytes { get; init; }

    /// <summary>Sequences that run now.</summary>
    public int RunningSequences { get; init; }

    /// <summary>Requests that wait now.</summary>
    public int QueuedRequests { get; init; }

    /// <summary>Cache blocks in use by running sequences.</summary>
    public int UsedCacheBlocks { get; init; }

    /// <summary>Cache blocks in all.</summary>
    public int CacheBlocks { get; init; }
}
