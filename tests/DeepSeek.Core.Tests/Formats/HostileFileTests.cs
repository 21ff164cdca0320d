using System.Buffers.Binary;
using System.Text;
using DeepSeek.Formats;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Core.Tests.Formats;

/// <summary>Broken files: every answer is a checkpoint that can be used or a <see cref="ModelException"/> that says something.</summary>
public sealed class HostileFileTests
{
    private const int Step = 4096;

    public static TheoryData<string> Files
    {
        get
        {
            var files = new TheoryData<string>();
            foreach (string folder in Directory.EnumerateDirectories(SharedData.Local("golden")).Order(StringComparer.Ordinal))
                foreach (string file in Directory.EnumerateFiles(folder))
                    if (file.EndsWith(".gguf", StringComparison.Ordinal) || file.EndsWith(".safetensors", StringComparison.Ordinal)) files.Add(Path.GetRelativePath(SharedData.Local("golden"), file));
            return files;
        }
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void A_truncated_file_is_an_error(string name)
    {
        using TemporaryFolder folder = TemporaryFolder.CopyOf(Path.GetDirectoryName(SharedData.Local("golden", name))!);
        string path = folder.File(Path.GetFileName(name));
        File.Copy(SharedData.Local("golden", name), path, overwrite: true);
        File.SetAttributes(path, FileAttributes.Normal);
        long length = new FileInfo(path).Length;
        for (long cut = length - 1; cut >= 0; cut = cut > Step ? (cut - 1) / Step * Step : cut - 97)
        {
            using (FileStream file = File.OpenWrite(path)) file.SetLength(cut);
            var e = Assert.ThrowsAny<ModelException>(() => Golden.UseAll(path));
            Assert.True(e.Message.Length > 30, e.Message);
        }
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Flipped_bits_in_a_header_are_survived(string name)
    {
        using TemporaryFolder folder = TemporaryFolder.CopyOf(Path.GetDirectoryName(SharedData.Local("golden", name))!);
        string path = folder.File(Path.GetFileName(name));
        byte[] bytes = File.ReadAllBytes(SharedData.Local("golden", name));
        var random = new Random(1);
        int refused = 0;
        for (int i = 0; i < 400; i++)
        {
            int at = i < 100 ? i : random.Next(Math.Min(bytes.Length, 9000));
            byte before = bytes[at];
            bytes[at] ^= (byte)(1 << random.Next(8));
            refused += Survives(path, bytes) ? 0 : 1;
            bytes[at] = before;
        }
        Assert.InRange(refused, 20, 400);
    }

    [Fact]
    public void Any_damage_to_a_GGUF_header_is_survived() => Damage(Golden.Gguf("llama3-rope"), "m.gguf", 4);

    [Fact]
    public void Any_damage_to_a_safetensors_header_is_survived()
    {
        using TemporaryFolder folder = TemporaryFolder.CopyOf(Golden.Folder("llama"));
        Damage(folder.File("model.safetensors"), "model.safetensors", 0, folder);
    }

    [Fact]
    public void Any_damage_to_config_json_is_survived()
    {
        using TemporaryFolder folder = TemporaryFolder.CopyOf(Golden.Folder("llama"));
        Damage(folder.File("config.json"), "config.json", 0, folder);
    }

    [Fact]
    public void Any_bytes_behind_the_magic_are_survived()
    {
        using var folder = new TemporaryFolder();
        Prop.ForAll(ArbMap.Default.ArbFor<byte[]>(), tail =>
        {
            byte[] header = [.. "GGUF"u8, 3, 0, 0, 0, .. tail];
            Assert.False(Survives(folder.File("m.gguf"), header)); // no language model is that short
        }).QuickCheckThrowOnFailure();
    }

    [Theory]
    [InlineData(long.MaxValue, 1)]
    [InlineData(1, -1)]
    [InlineData(1L << 40, 1L << 40)]
    [InlineData(0, int.MaxValue)]
    public void Counts_that_the_file_does_not_back_are_refused_without_memory(long tensors, long keys)
    {
        using var folder = new TemporaryFolder();
        var header = new byte[24 + 4096];
        Encoding.ASCII.GetBytes("GGUF").CopyTo(header, 0);
        header[4] = 3;
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(8), tensors);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(16), keys);
        File.WriteAllBytes(folder.File("m.gguf"), header);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Throws<InvalidModelFileException>(() => GgufFile.Open(folder.File("m.gguf")));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
    }

    [Theory]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}""", 16, "twice")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""", 12, "starts at")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]}}""", 20, "starts at")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 12, "end at")]
    [InlineData("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", 8, "expected 12")]
    [InlineData("""{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,8]}}""", 8, "more than any")]
    [InlineData("""{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""", 8, "integers from 0")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}""", 8, "integers from 0")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""", 8, "from 8 to 0")]
    [InlineData("""{"a":{"dtype":"Q9","shape":[2],"data_offsets":[0,8]}}""", 8, "Q9")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"extra":1}}""", 8, "extra")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2]}}""", 8, "lacks")]
    [InlineData("""{"a":7}""", 8, "Number")]
    [InlineData("""[]""", 0, "StartArray")]
    [InlineData("""{"\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 8, "broken")]
    [InlineData("""{"a":{"dtype":"F32","shape":[[[[2]]]],"data_offsets":[0,8]}}""", 8, "integers from 0")]
    public void A_safetensors_header_that_lies_is_refused_with_the_reason(string header, int dataBytes, string reason)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("config.json"), "{}");
        byte[] json = Encoding.UTF8.GetBytes(header);
        var bytes = new byte[8 + json.Length + dataBytes];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, json.Length);
        json.CopyTo(bytes, 8);
        File.WriteAllBytes(folder.File("model.safetensors"), bytes);
        Assert.Contains(reason, Assert.ThrowsAny<ModelException>(() => Checkpoint.Open(folder.Path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"weight_map": {"lm_head.weight": "../model.safetensors"}}""", "same folder")]
    [InlineData("""{"weight_map": {"lm_head.weight": "/etc/hostname"}}""", "same folder")]
    [InlineData("""{"weight_map": {"lm_head.weight": 7}}""", "same folder")]
    [InlineData("""{"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}""", "model-00001-of-00002.safetensors")]
    [InlineData("""{"weight_map": {"lm_head.wait": "model.safetensors"}}""", "lm_head.wait")]
    [InlineData("""{"weight_map": []}""", "weight_map")]
    public void An_index_that_lies_is_refused_with_the_reason(string index, string reason)
    {
        using TemporaryFolder folder = TemporaryFolder.CopyOf(Golden.Folder("llama"));
        File.WriteAllText(folder.File("model.safetensors.index.json"), index);
        Assert.Contains(reason, Assert.Throws<InvalidModelFileException>(() => Checkpoint.Open(folder.Path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("missing", "weight_scale_inv")]
    [InlineData("shape", "expected [1, 1]")]
    [InlineData("nan", "finite")]
    [InlineData("infinity", "finite")]
    public void Scales_that_cannot_be_are_refused_with_the_tensors_name(string damage, string reason)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("config.json"), """{"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}""");
        string scales = damage switch { "missing" => "other", _ => "x.weight_scale_inv" }, shape = damage == "shape" ? "[1]" : "[1,1]";
        byte[] json = Encoding.UTF8.GetBytes($$$"""{"x.weight":{"dtype":"F8_E4M3","shape":[2,4],"data_offsets":[0,8]},"{{{scales}}}":{"dtype":"F32","shape":{{{shape}}},"data_offsets":[8,12]}}""");
        var bytes = new byte[8 + json.Length + 12];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, json.Length);
        json.CopyTo(bytes, 8);
        BinaryPrimitives.WriteSingleLittleEndian(bytes.AsSpan(bytes.Length - 4), damage switch { "nan" => float.NaN, "infinity" => float.PositiveInfinity, _ => 1 });
        File.WriteAllBytes(folder.File("model.safetensors"), bytes);
        using Checkpoint checkpoint = Checkpoint.Open(folder.Path);
        string message = Assert.Throws<InvalidModelFileException>(() => checkpoint.Get("x.weight", 2, 4)).Message;
        Assert.Contains(reason, message, StringComparison.Ordinal);
        Assert.Contains("'x.weight", message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Weights_that_are_no_numbers_give_an_error_instead_of_logits()
    {
        using var folder = new TemporaryFolder();
        byte[] bytes = File.ReadAllBytes(Golden.Gguf("llama3-rope"));
        using (GgufFile file = GgufFile.Open(Golden.Gguf("llama3-rope")))
            for (long i = 0, at = file.Tensor("output.weight")!.Offset; i < 96; i++) BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan((int)(at + 2 * i)), 0x7FC0); // one token's logit
        File.WriteAllBytes(folder.File("m.gguf"), bytes);
        await using LanguageModel model = await LanguageModel.LoadAsync(folder.File("m.gguf"));
        await Assert.ThrowsAsync<InvalidModelFileException>(async () => await model.ScoreAsync([5, 6, 7], CancellationToken.None));
    }

    private static void Damage(string source, string name, int from, TemporaryFolder? into = null)
    {
        using var own = into is null ? new TemporaryFolder() : null;
        byte[] whole = File.ReadAllBytes(source);
        string path = (into ?? own)!.File(name);
        int header = Math.Min(whole.Length, 9000);
        byte[][] nasty =
        [
            [255, 255, 255, 255, 255, 255, 255, 255], [255, 255, 255, 255, 255, 255, 255, 127], [0, 0, 0, 0, 1, 0, 0, 0], new byte[16],
            "\"\":[["u8.ToArray(), "1e999"u8.ToArray(), "\\ud800"u8.ToArray(), [0xC0, 0x80],
        ];
        Gen<byte[]> puts = Gen.OneOf(ArbMap.Default.GeneratorFor<byte[]>(), Gen.Elements(nasty));
        Gen<(int At, byte[] Put, int Remove)> damages = puts.SelectMany(put => Gen.Choose(from, header - 1).SelectMany(at => Gen.Elements(0, 1, put.Length, 64).Select(remove => (at, put, remove))));
        Prop.ForAll(damages.ToArbitrary(), d =>
        {
            byte[] damaged = [.. whole.AsSpan(0, d.At), .. d.Put, .. whole.AsSpan(Math.Min(whole.Length, d.At + d.Remove))];
            Survives(path, damaged);
        }).QuickCheckThrowOnFailure();
    }

    /// <summary>Whether a file with these bytes can be used; where not, the error must be a typed one that says something.</summary>
    private static bool Survives(string path, byte[] bytes)
    {
        File.Delete(path);
        File.WriteAllBytes(path, bytes);
        try
        {
            Golden.UseAll(path);
            return true;
        }
        catch (ModelException e)
        {
            Assert.True(e.Message.Length > 30, e.Message);
            return false;
        }
    }
}
