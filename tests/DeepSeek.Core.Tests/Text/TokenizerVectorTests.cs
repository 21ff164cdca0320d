using System.Collections.Concurrent;
using System.Text.Json;
using DeepSeek.Text;

namespace DeepSeek.Core.Tests.Text;

/// <summary>Hugging Face's ids, decoded text and stream pieces over the large vectors.</summary>
public class TokenizerVectorTests
{
    private static readonly ConcurrentDictionary<string, Tokenizer> Opened = [];

    private static Tokenizer Open(string name) => Opened.GetOrAdd(name, n => Tokenizer.Load(PathOf(n)));

    private static string PathOf(string name) => name switch
    {
        "smollm2 (GGUF)" => SharedData.Model("SmolLM2-135M-Instruct.Q4_1.gguf"),
        "deepseek_v3" or "qwen3" => SharedData.Path("text", "tokenizers", $"{name}.tokenizer.json.gz"),
        _ => SharedData.Path("text", "tokenizers", $"{name}.rebuilt.tokenizer.json.gz"),
    };

    private static List<JsonElement> Vectors(string name, string kind)
    {
        string file = SharedData.Path("text", "tokenizers", $"{name.Replace(" (GGUF)", "", StringComparison.Ordinal)}{kind}.jsonl");
        return [.. File.ReadLines(file).Where(l => l.Length > 0).Select(l => JsonDocument.Parse(l).RootElement)];
    }

    private static int[] Ids(JsonElement e) => [.. e.GetProperty("ids").EnumerateArray().Select(i => i.GetInt32())];

    [SharedTheory]
    [InlineData("deepseek_v3")]
    [InlineData("qwen3")]
    [InlineData("deepseek_llm")]
    [InlineData("deepseek_coder")]
    [InlineData("smollm2")]
    [InlineData("smollm2 (GGUF)")]
    public void IdsTextAndPiecesAreThoseOfHuggingFace(string name)
    {
        Tokenizer tokenizer = Open(name);
        int lines = 0;
        foreach (JsonElement v in Vectors(name, "").Concat(Vectors(name, ".unicode_edge")))
        {
            string text = v.GetProperty("text").GetString()!;
            bool special = !v.TryGetProperty("special", out JsonElement s) || s.GetBoolean();
            Assert.Equal(Ids(v), tokenizer.Encode(text, special));
            Assert.Equal(Ids(v).Length, tokenizer.CountTokens(text, special));
            Assert.Equal(v.GetProperty("decoded").GetString(), tokenizer.Decode(Ids(v)));
            // The program's own text becomes the same ids as text whose special tokens are parsed, the caller's own the same as text whose are not.
            if (special) Assert.Equal(Ids(v), tokenizer.Encode(RenderedPrompt.Trusted(text)));
            else if (text.Length > 0) Assert.Equal(Ids(v), tokenizer.Encode(new RenderedPrompt(text, [new(0, text.Length)])));
            lines++;
        }
        Assert.True(lines > 300);
        foreach (JsonElement v in Vectors(name, ".stream"))
        {
            var stream = new TokenStream(tokenizer);
            Assert.Equal(v.GetProperty("chunks").EnumerateArray().Select(c => c.GetString()), Ids(v).Select(id => stream.Add(id).ToString()));
            Assert.Equal(v.GetProperty("flush").GetString(), stream.Flush().ToString());
        }
    }

    [SharedTheory]
    [InlineData("deepseek-llm", "deepseek_llm")]
    [InlineData("deepseek-coder", "deepseek_coder")]
    public void IdsAreThoseOfLlamaCppsKnownAnswers(string answers, string name)
    {
        Tokenizer tokenizer = Open(name);
        string[] texts = File.ReadAllText(SharedData.Path("text", "tokenizers", $"known_answers.{answers}.inp")).Split("\n__ggml_vocab_test__\n");
        string[] ids = File.ReadAllText(SharedData.Path("text", "tokenizers", $"known_answers.{answers}.out")).Split('\n');
        Assert.Equal(47, ids.Length);
        for (int i = 0; i < ids.Length; i++) Assert.Equal(ids[i].Trim(), string.Join(' ', tokenizer.Encode(texts[i], parseSpecialTokens: true)));
    }

    [SharedTheory]
    [InlineData("Hello world", "19923 2058")]
    [InlineData("Führer", "40 2134 42243")]
    [InlineData("I've been told he's there, 'RE you sure?", "43 5270 1047 4962 468 734 1031 14 905 3827 440 3645 33")]
    [InlineData("1234567890", "6895 18009 25744 18")]
    [InlineData("你好，世界", "30594 303 3427")]
    [InlineData("日本語のテキスト", "88768 1576 17383 20367 24552")]
    [InlineData(" \n \n\n", "539 1004")]
    [InlineData("a  b   c", "67 223 291 262 274")]
    [InlineData("<｜begin▁of▁sentence｜><｜User｜>What is 1+1?<｜Assistant｜>", "0 128803 3085 344 223 19 13 19 33 128804")]
    public void DeepSeekV3_KnownAnswers(string text, string ids)
    {
        Tokenizer tokenizer = Open("deepseek_v3");
        Assert.Equal(ids, string.Join(' ', tokenizer.Encode(text, parseSpecialTokens: true)));
    }

    [SharedFact]
    public void EndsOfTurnAreThoseOfTheVocabulary()
    {
        Tokenizer qwen = Open("qwen3"), v3 = Open("deepseek_v3"), coder = Open("deepseek_coder");
        Assert.Equal([151643, 151645], qwen.EndOfTurnIds);
        Assert.Equal([1, 128805], v3.EndOfTurnIds);
        Assert.Equal([32014, 32021], coder.EndOfTurnIds);
    }
}
