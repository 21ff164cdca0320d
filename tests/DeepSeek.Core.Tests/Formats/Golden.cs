using DeepSeek.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Formats;

/// <summary>The small checkpoints of tests/data, and helpers over any checkpoint.</summary>
internal static class Golden
{
    public static string Folder(string name) => SharedData.Local("golden", name);

    public static string Gguf(string name) => SharedData.Local("golden", name, "model-bf16.gguf");

    /// <summary>A tensor by its own listed shape.</summary>
    public static Weight Find(Checkpoint checkpoint, TensorInfo tensor)
        => checkpoint.Get(tensor.Name, (int)tensor.Shape.Take(tensor.Shape.Count - 1).Aggregate(1L, (a, b) => a * b), (int)(tensor.Shape.Count == 0 ? 1 : tensor.Shape[^1]));

    public static float[] Values(Weight weight)
    {
        var all = new float[weight.Rows * weight.Columns];
        for (int r = 0; r < weight.Rows; r++) Dequantise.Row(weight, r, all.AsSpan(r * weight.Columns, weight.Columns));
        return all;
    }

    /// <summary>Touches everything that a checkpoint offers; what is wrong with the file must have been said as a <see cref="ModelException"/>.</summary>
    public static void UseAll(string path)
    {
        using Checkpoint checkpoint = Checkpoint.Open(path);
        _ = checkpoint.Format + checkpoint.ChatTemplate + checkpoint.WeightBytes;
        foreach (string key in (string[])["vocab_size", "hidden_size", "num_hidden_layers"]) checkpoint.Config.Int(key);
        checkpoint.Config.Number("rms_norm_eps", 1e-6);
        checkpoint.Config.Ints("eos_token_id");
        checkpoint.GenerationConfig.Number("temperature", 1);
        foreach (TensorInfo tensor in checkpoint.Tensors)
        {
            if (tensor.Shape.Any(d => d is 0 or > int.MaxValue)) continue;
            Weight weight = Find(checkpoint, tensor);
            var row = new float[weight.Columns];
            Dequantise.Row(weight, 0, row);
            Dequantise.Row(weight, weight.Rows - 1, row);
        }
        if (checkpoint is not GgufCheckpoint gguf) return;
        foreach (GgufValue value in gguf.File.Metadata.Values)
        {
            _ = value.ToString() + value.Raw().Length;
            if (value is { IsArray: true, Type: GgufValueType.String }) value.Strings();
        }
    }
}
