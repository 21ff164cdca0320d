using System.Text.Json;

namespace DeepSeek.Text;

/// <summary>What chat templates may name: bos_token, eos_token, … and their text.</summary>
internal static class SpecialTokens
{
    /// <summary>From tokenizer_config.json in the model's folder; what it lacks, and for GGUF everything, from the tokenizer.</summary>
    public static IReadOnlyDictionary<string, string> Of(string path, Tokenizer tokenizer)
    {
        var tokens = new Dictionary<string, string>();
        string file = Path.Combine(path, "tokenizer_config.json");
        if (File.Exists(file)) Read(file, tokens);
        if (tokenizer.BeginningOfSequenceId is { } bos && tokenizer.GetTokenText(bos) is { } bosText) tokens.TryAdd("bos_token", bosText);
        if (tokenizer.EndOfSequenceId is { } eos && tokenizer.GetTokenText(eos) is { } eosText) tokens.TryAdd("eos_token", eosText);
        return tokens;
    }

    private static void Read(string file, Dictionary<string, string> tokens)
    {
        try
        {
            using JsonDocument config = JsonDocument.Parse(File.ReadAllBytes(file), new JsonDocumentOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true });
            if (config.RootElement.ValueKind != JsonValueKind.Object) return;
            foreach (JsonProperty p in config.RootElement.EnumerateObject())
            {
                if (!p.Name.EndsWith("_token", StringComparison.Ordinal)) continue;
                JsonElement text = p.Value.ValueKind == JsonValueKind.Object && p.Value.TryGetProperty("content", out JsonElement content) ? content : p.Value;
                if (text.ValueKind == JsonValueKind.String) tokens[p.Name] = text.GetString()!;
            }
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException)
        {
            throw new InvalidModelFileException($"'{file}' cannot be read: {e.Message}", e);
        }
    }
}
