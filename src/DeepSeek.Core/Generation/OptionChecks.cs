using System.Globalization;
using DeepSeek.Backends;
using DeepSeek.Text.ToolCalls;

namespace DeepSeek.Generation;

/// <summary>Refuses impossible options, all failures at once.</summary>
internal static class OptionChecks
{
    /// <exception cref="InvalidOptionException">Options are impossible.</exception>
    public static void Check(LanguageModelOptions options)
    {
        if (Failures(options) is { Count: > 0 } wrong) throw new InvalidOptionException(string.Join("; ", wrong) + ".");
    }

    /// <summary>Each as "X is Y, expected Z".</summary>
    public static List<string> Failures(LanguageModelOptions options)
    {
        var wrong = new List<string>();
        void Need(bool fine, string name, object? value, string expected)
        {
            if (!fine) wrong.Add(string.Create(CultureInfo.InvariantCulture, $"{name} is {value}, expected {expected}"));
        }
        Need(options.Device is not null, nameof(options.Device), "null", "a device");
        Need(options.Threads is null or (>= 1 and <= 1024), nameof(options.Threads), options.Threads, "1 to 1024, or null");
        Need(options.ContextLength is null or >= 1, nameof(options.ContextLength), options.ContextLength, "1 or more, or null");
        Need(options.MaxSequences is >= 1 and <= 1024, nameof(options.MaxSequences), options.MaxSequences, "1 to 1024");
        Need(options.MaxQueuedRequests >= 1, nameof(options.MaxQueuedRequests), options.MaxQueuedRequests, "1 or more");
        Need(options.MaxStepTokens is >= 1 and <= 65536, nameof(options.MaxStepTokens), options.MaxStepTokens, "1 to 65536");
        Need(options.CacheBytes is null or >= 1, nameof(options.CacheBytes), options.CacheBytes, "1 or more, or null");
        Need(options.DeviceBytes is null or >= 1, nameof(options.DeviceBytes), options.DeviceBytes, "1 or more, or null");
        Need(options.DeviceBytes is null || options.Device is null or IBackendDevice, nameof(options.DeviceBytes), options.DeviceBytes, $"null with the device '{options.Device?.Name}', which is the processor itself");
        Need(Enum.IsDefined(options.CacheType), nameof(options.CacheType), options.CacheType, "one of CacheType's values");
        Need(Enum.IsDefined(options.Speculation), nameof(options.Speculation), options.Speculation, "one of Speculation's values");
        string[] dialects = [.. ToolCallDialect.All.Select(d => d.Name)];
        Need(options.ToolDialect is null || dialects.Contains(options.ToolDialect), nameof(options.ToolDialect), $"'{options.ToolDialect}'", $"null or one of {string.Join(", ", dialects)}");
        return wrong;
    }
}
