using System.IO.Compression;
using System.Text.Json;
using DeepSeek.Formats;

namespace DeepSeek.Text;

/// <summary>Opens tokenizers of every kind of file.</summary>
internal static class TokenizerFiles
{
    /// <summary>Beyond any tokenizer, and small enough for memory: a compressed file can promise more than it has.</summary>
    private const long MaxJsonBytes = 256L << 20;

    /// <summary>Reads a tokenizer from a GGUF file, a Hugging Face folder, or a tokenizer.json (also .gz).</summary>
    public static Tokenizer Load(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        try
        {
            if (Directory.Exists(path)) return LoadFolder(path);
            if (!File.Exists(path)) throw new InvalidModelFileException($"There is no file or folder '{path}' to read a tokenizer from.");
            Span<byte> magic = stackalloc byte[4];
            int read;
            using (FileStream file = File.OpenRead(path)) read = file.ReadAtLeast(magic, 4, throwOnEndOfStream: false);
            if (read == 4 && magic.SequenceEqual("GGUF"u8))
            {
                using GgufFile gguf = GgufFile.Open(path);
                return FromGguf(gguf);
            }
            using JsonDocument json = OpenJson(path);
            return new Tokenizer(TokenizerJson.Read(path, json.RootElement));
        }
        catch (InvalidOperationException e)
        {
            // The JSON reader's word for a string that is no valid Unicode.
            throw new InvalidModelFileException($"'{path}' holds a string that is no valid Unicode; the file may be damaged. {e.Message}", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InvalidModelFileException($"'{path}' cannot be read: {e.Message}", e);
        }
    }

    /// <summary>Reads the tokenizer of an open GGUF file, which may be closed afterwards.</summary>
    public static Tokenizer FromGguf(GgufFile file) => new(TokenizerGguf.Read(file));

    private static Tokenizer LoadFolder(string folder)
    {
        string path = Path.Combine(folder, "tokenizer.json");
        if (!File.Exists(path) && File.Exists(path + ".gz")) path += ".gz";
        if (!File.Exists(path))
        {
            throw new InvalidModelFileException($"'{folder}' has no tokenizer.json. A folder with only tokenizer.model or vocab.json must be saved again in the current format "
                + "(AutoTokenizer.from_pretrained(…).save_pretrained(…)).");
        }
        using JsonDocument json = OpenJson(path);
        TokenizerDefinition definition = TokenizerJson.Read(path, json.RootElement);
        foreach (string name in (ReadOnlySpan<string>)["tokenizer_config.json", "generation_config.json", "config.json"])
        {
            string file = Path.Combine(folder, name);
            if (!File.Exists(file)) continue;
            using JsonDocument config = OpenJson(file);
            if (name == "tokenizer_config.json") TokenizerJson.ReadTokenizerConfig(file, config.RootElement, definition);
            else TokenizerJson.ReadModelConfig(file, config.RootElement, definition);
        }
        return new Tokenizer(definition);
    }

    /// <summary>Parses a JSON file, compressed or not.</summary>
    /// <exception cref="InvalidModelFileException">It is no JSON, or larger than any tokenizer.</exception>
    private static JsonDocument OpenJson(string path)
    {
        using FileStream file = File.OpenRead(path);
        bool compressed = file.ReadByte() == 0x1F && file.ReadByte() == 0x8B;
        file.Position = 0;
        using Stream stream = compressed ? new GZipStream(file, CompressionMode.Decompress) : file;
        var content = new MemoryStream();
        byte[] block = new byte[1 << 16];
        try
        {
            for (int n; (n = stream.Read(block)) > 0; content.Write(block, 0, n))
                if (content.Length + n > MaxJsonBytes)
                    throw new InvalidModelFileException($"'{path}' holds more than {MaxJsonBytes >> 20} MiB of JSON; no tokenizer is that large.");
            ReadOnlyMemory<byte> json = content.GetBuffer().AsMemory(0, (int)content.Length);
            if (json.Span.StartsWith("\uFEFF"u8)) json = json[3..];
            return JsonDocument.Parse(json);
        }
        catch (Exception e) when (e is JsonException or InvalidDataException)
        {
            throw new InvalidModelFileException($"'{path}' is not well-formed: {e.Message} "
                + "The file may be truncated or of another kind; expected is a tokenizer.json, a GGUF file or a Hugging Face folder.", e);
        }
    }
}
