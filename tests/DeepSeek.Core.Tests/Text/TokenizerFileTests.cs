using System.IO.Compression;
using System.Text;
using System.Text.Json.Nodes;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Core.Tests.Text;

/// <summary>tokenizer.json and the files beside it: what they declare, and what is wrong with them.</summary>
public class TokenizerFileTests
{
    private static readonly string Tiny = SharedData.Local("golden", "llama", "tokenizer.json");
    private static readonly Tokenizer Whole = Tokenizer.Load(Tiny);

    private static Tokenizer LoadText(string json)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("tokenizer.json"), json);
        return Tokenizer.Load(folder.File("tokenizer.json"));
    }

    private static Tokenizer LoadChanged(Action<JsonNode> change)
    {
        JsonNode json = JsonNode.Parse(File.ReadAllText(Tiny))!;
        change(json);
        return LoadText(json.ToJsonString());
    }

    /// <summary>Its 256 byte symbols are all there, so that any text comes back.</summary>
    [Fact]
    public void AnyWellFormedTextComesBack()
        => Prop.ForAll(Texts.WellFormed.ToArbitrary(), text => Whole.Decode(Whole.Encode(text)) == text).Check(Config.QuickThrowOnFailure.WithMaxTest(500));

    [Fact]
    public void AnyTextComesBackWithItsUnpairedSurrogatesReplaced()
        => Prop.ForAll<string>(text => text is null || Whole.Decode(Whole.Encode(text)) == Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text))).QuickCheckThrowOnFailure();

    [Fact]
    public void LongPiecesMergeAsShortOnesDo()
    {
        // Above and below the length at which the way of merging changes; runs of spaces and letters make one piece.
        Prop.ForAll(Gen.Elements('t', 'h', 'e', 'i', 'n', 'a', 'r').ArrayOf(60).ToArbitrary(), letters =>
        {
            string text = new(letters);
            return Naive(text).SequenceEqual(Whole.Encode(text)) && Naive(text[..20]).SequenceEqual(Whole.Encode(text[..20]));
        }).QuickCheckThrowOnFailure();
    }

    /// <summary>Byte-pair encoding as the paper says it, over the names of tokens.</summary>
    private static List<int> Naive(string word)
    {
        JsonNode model = JsonNode.Parse(File.ReadAllText(Tiny))!["model"]!;
        List<(string A, string B)> merges = [.. model["merges"]!.AsArray().Select(m => ((string)m![0]!, (string)m![1]!))];
        List<string> symbols = [.. word.Select(c => c.ToString())];
        foreach ((string a, string b) in merges)
        {
            for (int i = 0; i + 1 < symbols.Count; i++)
            {
                if (symbols[i] != a || symbols[i + 1] != b) continue;
                symbols[i] = a + b;
                symbols.RemoveAt(i + 1);
            }
        }
        return [.. symbols.Select(s => (int)model["vocab"]![s]!)];
    }

    [Fact]
    public void AFolderSaysHowSequencesBeginAndEnd()
    {
        Tokenizer t = Tokenizer.Load(SharedData.Local("golden", "llama3-rope"));
        Assert.Equal(0, t.BeginningOfSequenceId);
        Assert.Equal(1, t.EndOfSequenceId);
        Assert.True(t.AddBeginningOfSequence);
        Assert.Contains(1, t.EndOfTurnIds);
        Assert.Equal([0], t.Encode("<s>", parseSpecialTokens: true));
        Assert.DoesNotContain(0, t.Encode("<s>"));
    }

    [Fact]
    public void CompressedIsTheSame()
    {
        using var folder = new TemporaryFolder();
        using (var gz = new GZipStream(File.Create(folder.File("t.json.gz")), CompressionLevel.Fastest)) gz.Write(File.ReadAllBytes(Tiny));
        Assert.Equal(Whole.Encode("the inner tree"), Tokenizer.Load(folder.File("t.json.gz")).Encode("the inner tree"));
    }

    [Fact]
    public void AddedTokensObeyTheirFlags()
    {
        Tokenizer t = LoadChanged(j =>
        {
            JsonArray added = j["added_tokens"]!.AsArray();
            void Add(int id, string content, string flag) => added.Add(new JsonObject
            {
                ["id"] = id, ["content"] = content, ["special"] = true, ["normalized"] = false, ["single_word"] = flag == "single_word", ["lstrip"] = flag == "lstrip", ["rstrip"] = flag == "rstrip",
            });
            Add(320, "<left>", "lstrip");
            Add(321, "<right>", "rstrip");
            Add(322, "word", "single_word");
            Add(323, "<s>more", "");
        });
        Assert.Equal([.. t.Encode("a"), 320, .. t.Encode(" b")], t.Encode("a \n<left> b", true));
        Assert.Equal([.. t.Encode("a "), 321, .. t.Encode("b")], t.Encode("a <right> \n b", true));
        Assert.Equal([322, .. t.Encode(" words "), 322, .. t.Encode(".")], t.Encode("word words word.", true));
        Assert.Equal([323, 0], t.Encode("<s>more<s>", true));
        Assert.Equal(324, t.VocabularySize);
    }

    [Fact]
    public void TokensOfTheNormalisedTextAreFoundThere()
    {
        Tokenizer t = LoadChanged(j =>
        {
            j["normalizer"] = new JsonObject { ["type"] = "NFC" };
            j["added_tokens"]!.AsArray().Add(new JsonObject { ["id"] = 320, ["content"] = "<é>", ["special"] = false, ["normalized"] = true });
        });
        Assert.Equal([320], t.Encode("<e\u0301>", true));
        Assert.Equal([320], t.Encode(DeepSeek.Text.RenderedPrompt.Trusted("<e\u0301>")));
        Assert.DoesNotContain(320, t.Encode(new DeepSeek.Text.RenderedPrompt("<e\u0301>", [new(2, 3)])));
        Assert.DoesNotContain(320, t.Encode("<e\u0301>"));
        Assert.Equal(t.Encode("é"), t.Encode("e\u0301"));
        Assert.True(t.IsAdded(320));
        Assert.False(t.IsControl(320));
    }

    [Fact]
    public void BytesWithoutATokenAreDroppedOrUnknown()
    {
        Tokenizer dropped = LoadChanged(j => j["model"]!["vocab"]!.AsObject().Remove("z"));
        Assert.Equal(Whole.Encode("ab"), dropped.Encode("azb"));
        void Unknown(JsonNode j, bool fuse)
        {
            j["model"]!["vocab"]!.AsObject().Remove("z");
            j["model"]!["unk_token"] = "a";
            j["model"]!["fuse_unk"] = fuse;
        }
        Assert.Equal(Whole.Encode("xaax"), LoadChanged(j => Unknown(j, false)).Encode("xzzx"));
        Assert.Equal(Whole.Encode("xax"), LoadChanged(j => Unknown(j, true)).Encode("xzzx"));
    }

    [Fact]
    public void NeitherMergesNorWholePiecesMakeSpecialTokens()
    {
        Tokenizer t = LoadChanged(j =>
        {
            j["model"]!["ignore_merges"] = true;
            j["model"]!["vocab"]!["qz"] = 320;
            j["model"]!["merges"]!.AsArray().Add(new JsonArray("q", "z"));
            j["added_tokens"]!.AsArray().Add(new JsonObject { ["id"] = 320, ["content"] = "qz", ["special"] = true });
        });
        Assert.DoesNotContain(320, t.Encode("qz qz"));
        Assert.Equal([320], t.Encode("qz", true));
    }

    [Fact]
    public void APrefixSpaceIsAddedWhereDeclared()
    {
        Tokenizer t = LoadChanged(j => j["pre_tokenizer"]!["add_prefix_space"] = true);
        Assert.Equal(Whole.Encode(" the"), t.Encode("the"));
        Assert.Equal(Whole.Encode(" the"), t.Encode(" the"));
    }

    public static TheoryData<string, string, string, Type> Wrong => new()
    {
        { "model.type", "\"Unigram\"", "Unigram", typeof(UnsupportedModelException) },
        { "model.byte_fallback", "true", "byte_fallback", typeof(UnsupportedModelException) },
        { "model.dropout", "0.1", "dropout", typeof(UnsupportedModelException) },
        { "model.end_of_word_suffix", "\"</w>\"", "</w>", typeof(UnsupportedModelException) },
        { "model.unk_token", "\"<nowhere>\"", "<nowhere>", typeof(InvalidModelFileException) },
        { "model.merges", "[[\"a\",\"nowhere\"]]", "'nowhere'", typeof(InvalidModelFileException) },
        { "model.merges", "[[\"q\",\"z\"]]", "'qz'", typeof(InvalidModelFileException) },
        { "model.merges", "[\"ab\"]", "model.merges.0", typeof(InvalidModelFileException) },
        { "model.merges", "[7]", "a string", typeof(InvalidModelFileException) },
        { "model.merges", "null", "model.merges", typeof(InvalidModelFileException) },
        { "model.vocab", "{\"a\":0,\"b\":0}", "two tokens", typeof(InvalidModelFileException) },
        { "model.vocab", "{\"a\":2000000000}", "2000000000", typeof(InvalidModelFileException) },
        { "model.vocab", "{\"a\":-1}", "-1", typeof(InvalidModelFileException) },
        { "model.vocab", "{\"a\":1e99}", "1e99", typeof(InvalidModelFileException) },
        { "model.vocab", "[]", "an object", typeof(InvalidModelFileException) },
        { "model.vocab", "{\"\\ud800\":0}", "Unicode", typeof(InvalidModelFileException) },
        { "added_tokens", "[{\"id\":3,\"content\":\"<new>\"}]", "id 3", typeof(InvalidModelFileException) },
        { "added_tokens", "[{\"id\":400,\"content\":\"\"}]", "some content", typeof(InvalidModelFileException) },
        { "added_tokens", "[{\"id\":\"x\",\"content\":\"<new>\"}]", "added_tokens.0.id", typeof(InvalidModelFileException) },
        { "normalizer", "{\"type\":\"NFKC\"}", "NFKC", typeof(UnsupportedModelException) },
        { "decoder", "{\"type\":\"WordPiece\"}", "WordPiece", typeof(UnsupportedModelException) },
        { "pre_tokenizer", "{\"type\":\"Metaspace\"}", "Metaspace", typeof(UnsupportedModelException) },
        { "pre_tokenizer", "null", "ByteLevel", typeof(UnsupportedModelException) },
        { "pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\R\"},\"behavior\":\"Isolated\"}", "'\\R'", typeof(UnsupportedModelException) },
        { "pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{\"String\":\"x\"},\"behavior\":\"Sideways\"}", "Sideways", typeof(UnsupportedModelException) },
    };

    [Theory]
    [MemberData(nameof(Wrong))]
    public void WhatIsWrongIsNamed(string key, string value, string said, Type type)
    {
        JsonNode json = JsonNode.Parse(File.ReadAllText(Tiny))!;
        string[] path = key.Split('.');
        JsonNode parent = path.Length == 1 ? json : json[path[0]]!;
        parent[path[^1]] = "REPLACED";
        if (key == "model.vocab") parent["merges"] = new JsonArray();
        Exception e = Assert.Throws(type, () => LoadText(json.ToJsonString().Replace("\"REPLACED\"", value, StringComparison.Ordinal)));
        Assert.Contains(said, e.Message, StringComparison.Ordinal);
        Assert.Contains("tokenizer.json", e.Message.Replace("regular expression", "tokenizer.json", StringComparison.Ordinal), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("GGUF")]
    [InlineData("not json")]
    [InlineData("[1,2")]
    [InlineData("7")]
    [InlineData("{}")]
    [InlineData("{\"model\":7}")]
    [InlineData("{\"model\":{\"type\":\"BPE\"}}")]
    public void NoTokenizerIsSaid(string content)
    {
        var e = Assert.ThrowsAny<ModelException>(() => LoadText(content));
        Assert.True(e.Message.Length > 40, e.Message);
    }

    [Fact]
    public void DeepNestingIsRefused()
    {
        Assert.Throws<InvalidModelFileException>(() => LoadText(new string('[', 100_000)));
        string nested = string.Concat(Enumerable.Repeat("{\"type\":\"Sequence\",\"pretokenizers\":[", 30)) + string.Concat(Enumerable.Repeat("]}", 30));
        JsonNode json = JsonNode.Parse(File.ReadAllText(Tiny))!;
        json["pre_tokenizer"] = "REPLACED";
        Assert.ThrowsAny<ModelException>(() => LoadText(json.ToJsonString().Replace("\"REPLACED\"", nested, StringComparison.Ordinal)));
    }

    [Fact]
    public void WhatIsNotThereIsSaid()
    {
        using var folder = new TemporaryFolder();
        Assert.Contains("tokenizer.json", Assert.Throws<InvalidModelFileException>(() => Tokenizer.Load(folder.Path)).Message, StringComparison.Ordinal);
        Assert.Contains("nowhere", Assert.Throws<InvalidModelFileException>(() => Tokenizer.Load(folder.File("nowhere"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void DamagedFilesAreReadOrRefused()
    {
        byte[] bytes = File.ReadAllBytes(Tiny);
        using var folder = new TemporaryFolder();
        string path = folder.File("tokenizer.json");
        Gen<(int, byte)> flips = Gen.Choose(0, bytes.Length - 1).SelectMany(at => Gen.Choose(0, 255).Select(b => (at, (byte)b)));
        Prop.ForAll(flips.NonEmptyListOf().Select(l => l.Take(8).ToArray()).ToArbitrary(), Gen.Choose(0, bytes.Length * 4).ToArbitrary(), (damage, length) =>
        {
            byte[] broken = [.. bytes.Take(length)];
            foreach ((int at, byte b) in damage)
                if (at < broken.Length) broken[at] = b;
            File.WriteAllBytes(path, broken);
            try
            {
                Tokenizer t = Tokenizer.Load(path);
                t.Decode(t.Encode("Hello <s> the world 123 é", true));
            }
            catch (Exception e) when (e is InvalidModelFileException or UnsupportedModelException)
            {
                return e.Message.Length > 40;
            }
            return true;
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(400));
    }
}
