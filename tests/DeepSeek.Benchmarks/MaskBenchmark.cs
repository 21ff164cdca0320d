using System.Diagnostics;
using System.Text.Json;
using DeepSeek.Generation.Constraints;

namespace DeepSeek.Benchmarks;

/// <summary>What constrained decoding costs a token: masks of new and of known states, and laying them over the logits.</summary>
internal static class MaskBenchmark
{
    private const string Schema = """
        {"type":"object","properties":{"title":{"type":"string","maxLength":200},"body":{"type":"string"},"tags":{"type":"array","items":{"type":"string","maxLength":30}},
        "score":{"type":"number","minimum":0,"maximum":10}},"required":["title","body","tags","score"],"additionalProperties":false}
        """;

    /// <param name="arguments">A tokenizer file, and the rows of the logits (default: the vocabulary).</param>
    public static void Run(ReadOnlySpan<string> arguments)
    {
        Tokenizer tokenizer = Tokenizer.Load(arguments[0]);
        int rows = arguments.Length > 1 ? int.Parse(arguments[1], System.Globalization.CultureInfo.InvariantCulture) : tokenizer.VocabularySize;
        long start = Stopwatch.GetTimestamp();
        TokenTrie trie = TokenTrie.Of(tokenizer, rows);
        Console.WriteLine($"tree of {tokenizer.VocabularySize} tokens: {trie.Nodes.Length} nodes, {Stopwatch.GetElapsedTime(start).TotalMilliseconds:F0} ms");
        string text = "{\"title\": \"The quick brown fox jumps over the lazy dog\", \"body\": \"" + string.Concat(Enumerable.Repeat("Some text that goes on, with “quotes” and \\n line ends; ", 20))
            + "\", \"tags\": [\"alpha\", \"beta gamma\", \"delta\"], \"score\": 7.25}";
        int[] ids = tokenizer.Encode(text);
        var logits = new float[rows];
        using JsonDocument schema = JsonDocument.Parse(Schema);
        for (int run = 0; run < 5; run++)
        {
            start = Stopwatch.GetTimestamp();
            Grammar grammar = Grammar.OfJsonSchema(schema.RootElement);
            double compile = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            var masks = new TokenMasks(grammar, trie);
            Console.WriteLine($"compiled in {compile:F2} ms; new: {Write(masks, ids, logits)}; known: {Write(masks, ids, logits)}");
        }
    }

    private static string Write(TokenMasks masks, int[] ids, float[] logits)
    {
        var matcher = new GrammarMatcher(masks);
        double total = 0, worst = 0, apply = 0;
        foreach (int id in ids)
        {
            long start = Stopwatch.GetTimestamp();
            TokenMask mask = matcher.Mask;
            double time = Stopwatch.GetElapsedTime(start).TotalMicroseconds;
            (total, worst) = (total + time, Math.Max(worst, time));
            start = Stopwatch.GetTimestamp();
            mask.Apply(logits);
            apply += Stopwatch.GetElapsedTime(start).TotalMicroseconds;
            if (!matcher.TryAccept(id)) throw new InvalidOperationException($"Token {id} is refused.");
        }
        return $"{total / ids.Length:F1} µs a mask, at most {worst:F0}, {apply / ids.Length:F1} µs to apply";
    }
}
