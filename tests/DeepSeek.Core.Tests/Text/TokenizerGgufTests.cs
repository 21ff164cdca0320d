using System.Text;
using DeepSeek.Text;

namespace DeepSeek.Core.Tests.Text;

/// <summary>Tokenizers in GGUF metadata: what converters write, and what is wrong with it.</summary>
public class TokenizerGgufTests
{
    /// <summary>The 256 byte symbols, "ab", and a few of each type.</summary>
    private static readonly string[] Tokens = [.. Enumerable.Range(0, 256).Select(b => ByteSymbols.SymbolOf((byte)b).ToString()), "ab", "<end>", "<think>", "[PAD259]", "[PAD260]", "unused"];
    private static readonly int[] Types = [.. Enumerable.Repeat(1, 257), 3, 4, 4, 1, 5];

    private static Tokenizer Load(string? pre = "qwen2", string model = "gpt2", string[]? merges = null, int[]? types = null, uint eos = 257)
    {
        var body = new MemoryStream();
        var w = new BinaryWriter(body, Encoding.UTF8);
        int keys = 0;
        void Text(string s)
        {
            byte[] utf8 = Encoding.UTF8.GetBytes(s);
            w.Write((ulong)utf8.Length);
            w.Write(utf8);
        }
        void Key(string key, uint type)
        {
            keys++;
            Text(key);
            w.Write(type);
        }
        void Strings(string key, string[] values)
        {
            Key(key, 9);
            w.Write(8u);
            w.Write((ulong)values.Length);
            foreach (string v in values) Text(v);
        }
        Key("tokenizer.ggml.model", 8);
        Text(model);
        if (pre is not null)
        {
            Key("tokenizer.ggml.pre", 8);
            Text(pre);
        }
        Strings("tokenizer.ggml.tokens", Tokens);
        Strings("tokenizer.ggml.merges", merges ?? ["a b"]);
        Key("tokenizer.ggml.token_type", 9);
        w.Write(5u);
        w.Write((ulong)(types ?? Types).Length);
        foreach (int t in types ?? Types) w.Write(t);
        Key("tokenizer.ggml.eos_token_id", 4);
        w.Write(eos);
        Key("tokenizer.ggml.bos_token_id", 4);
        w.Write(uint.MaxValue);
        using var folder = new TemporaryFolder();
        using (var file = new BinaryWriter(File.Create(folder.File("t.gguf"))))
        {
            file.Write("GGUF"u8);
            file.Write(3u);
            file.Write(0UL);
            file.Write((ulong)keys);
            file.Write(body.ToArray());
        }
        return Tokenizer.Load(folder.File("t.gguf"));
    }

    [Fact]
    public void TypesSayWhatTokensAre()
    {
        Tokenizer t = Load();
        Assert.Equal([256, 257, 258], t.Encode("ab<end><think>", parseSpecialTokens: true));
        Assert.Equal(Tokens.Length, t.VocabularySize);
        Assert.True(t.IsControl(257));
        Assert.False(t.IsControl(258));
        Assert.True(t.IsAdded(258));
        Assert.Null(t.BeginningOfSequenceId);
        Assert.Equal([257], t.EndOfTurnIds);
        // Rows that pad the vocabulary are no tokens, whatever their type.
        Assert.DoesNotContain(259, t.Encode("[PAD259][PAD260]unused", parseSpecialTokens: true));
        Assert.True(t.TokenBytes(259).IsEmpty && t.TokenBytes(260).IsEmpty && t.TokenBytes(261).IsEmpty);
    }

    [Fact]
    public void QwenIsNormalisedAndDeepSeekIsNot()
    {
        Assert.Equal(Load().Encode("é"), Load().Encode("e\u0301"));
        Assert.NotEqual(Load("deepseek-v3").Encode("é"), Load("deepseek-v3").Encode("e\u0301"));
    }

    [Fact]
    public void MergesOfUnknownTokensArePassedOver() => Assert.Equal([256, 'c'], Load(merges: ["b c", "a b", "< end>"]).Encode("abc"));

    [Fact]
    public void WhatIsWrongIsNamed()
    {
        Assert.Contains("'no-such-rule'", Assert.Throws<UnsupportedModelException>(() => Load("no-such-rule")).Message, StringComparison.Ordinal);
        Assert.Contains("tokenizer.ggml.pre", Assert.Throws<UnsupportedModelException>(() => Load(pre: null)).Message, StringComparison.Ordinal);
        Assert.Contains("'llama'", Assert.Throws<UnsupportedModelException>(() => Load(model: "llama")).Message, StringComparison.Ordinal);
        Assert.Contains("'ab'", Assert.Throws<InvalidModelFileException>(() => Load(merges: ["ab"])).Message, StringComparison.Ordinal);
        Assert.Contains("3 token types", Assert.Throws<InvalidModelFileException>(() => Load(types: [1, 1, 1])).Message, StringComparison.Ordinal);
        Assert.Contains("type 9", Assert.Throws<InvalidModelFileException>(() => Load(types: [9, .. Types[1..]])).Message, StringComparison.Ordinal);
        Assert.Contains("eos_token_id = 7000", Assert.Throws<InvalidModelFileException>(() => Load(eos: 7000)).Message, StringComparison.Ordinal);
    }
}
