using DeepSeek.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Formats;

public sealed class GgufFileTests
{
    [Fact]
    public void Reads_metadata_and_tensors()
    {
        using GgufFile file = GgufFile.Open(SharedData.Local("golden", "deepseek-v3", "model-bf16.gguf"));
        Assert.Equal(3u, file.Version);
        Assert.Equal("deepseek2", file.Text("general.architecture"));
        Assert.Equal(40, file.Integer("deepseek2.attention.kv_lora_rank"));
        Assert.Equal(2.5, file.Number("deepseek2.expert_weights_scale"));
        Assert.True(file.Bool("tokenizer.ggml.add_bos_token"));
        Assert.Null(file.Text("no.such.key"));
        string[] tokens = file.Strings("tokenizer.ggml.tokens")!;
        Assert.Equal(320, tokens.Length);
        Assert.Equal(["<s>", "</s>", "!"], tokens[..3]);
        Assert.Equal([3, 3, 1], file.Integers("tokenizer.ggml.token_type")![..3]);
        GgufTensor tensor = file.Tensor("blk.0.attn_k_b.weight")!;
        Assert.Equal((DType.BF16, 24 * 40 * 4 * 2), (tensor.Type, (int)tensor.Bytes));
        Assert.Equal([4, 40, 24], tensor.Shape);
        Assert.Equal(52, file.Tensors.Count);
    }

    [Fact]
    public void A_private_copy_reads_the_same()
    {
        string path = SharedData.Local("golden", "llama3-rope", "model-bf16.gguf");
        using GgufFile mapped = GgufFile.Open(path), copy = GgufFile.Open(path, privateCopy: true);
        foreach (GgufTensor t in mapped.Tensors)
        {
            GgufTensor other = copy.Tensor(t.Name)!;
            Assert.NotEqual(t.Data, other.Data);
            Assert.True(t.File.Span(t.Offset, t.Bytes).SequenceEqual(other.File.Span(other.Offset, other.Bytes)));
        }
    }

    [Fact]
    public void A_value_of_another_kind_is_named()
    {
        using GgufFile file = GgufFile.Open(SharedData.Local("golden", "llama3-rope", "model-bf16.gguf"));
        var e = Assert.Throws<InvalidModelFileException>(() => file.Text("llama.block_count"));
        Assert.Contains("llama.block_count", e.Message, StringComparison.Ordinal);
        Assert.Throws<InvalidModelFileException>(() => file.Integer("tokenizer.ggml.tokens"));
    }
}
