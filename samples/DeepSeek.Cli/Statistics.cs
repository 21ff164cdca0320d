namespace DeepSeek.Cli;

/// <summary>What an answer cost, in a line.</summary>
internal static class Statistics
{
    public static string Line(GenerationUsage usage)
    {
        int computed = usage.PromptTokens - usage.CachedTokens;
        string drafts = usage.DraftedTokens > 0 ? $", {usage.AcceptedTokens} of {usage.DraftedTokens} drafted tokens accepted" : "";
        return FormattableString.Invariant($"prompt {usage.PromptTokens} tokens ({usage.CachedTokens} cached) at {Rate(computed, usage.PromptTime):0.#} tokens/s, answer {usage.GeneratedTokens} tokens at {Rate(usage.GeneratedTokens - 1, usage.GenerationTime):0.#} tokens/s{drafts}");
    }

    public static double Rate(int tokens, TimeSpan time) => time > TimeSpan.Zero ? tokens / time.TotalSeconds : 0;
}
