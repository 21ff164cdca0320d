using DeepSeek.Tensors;

namespace DeepSeek.Backends;

/// <summary>One product of a group that shares its input: Output = Weight·x + Bias.</summary>
internal readonly record struct Projection(Tensor Output, DeviceWeight Weight, DeviceWeight? Bias = null);

/// <summary>A gated feed-forward network: Down·(silu(Gate·x) ⊙ (Up·x)). Gate, Up: [F, D]; Down: [D, F].</summary>
internal sealed record GatedMlpWeights(DeviceWeight Gate, DeviceWeight Up, DeviceWeight Down);

/// <summary>How a router turns its logits into scores.</summary>
internal enum RouterScoring : byte { Softmax, Sigmoid }

/// <summary>How a router chooses experts and weighs them (spec 2.6).</summary>
/// <param name="ExpertCount">E.</param>
/// <param name="TopK">Experts chosen for a token.</param>
/// <param name="Scoring">Softmax (V2, Qwen) or sigmoid (V3).</param>
/// <param name="GroupCount">Groups of experts; 1 = no groups.</param>
/// <param name="TopKGroups">Groups kept.</param>
/// <param name="Normalise">Whether the chosen scores are divided by their sum.</param>
/// <param name="Scale">Multiplies the weights.</param>
internal sealed record RouterSettings(int ExpertCount, int TopK, RouterScoring Scoring, int GroupCount, int TopKGroups, bool Normalise, float Scale);

/// <summary>A mixture of experts: router [E, D], its correction bias [E] or null, the experts, and the shared expert or null.</summary>
internal sealed record ExpertWeights(RouterSettings Settings, DeviceWeight Router, DeviceWeight? CorrectionBias, GatedMlpWeights[] Experts, GatedMlpWeights? Shared);

/// <summary>Grouped-query attention: query head h reads key/value head ⌊h·KeyHeads/QueryHeads⌋.</summary>
/// <param name="QueryHeads">H.</param>
/// <param name="KeyHeads">G.</param>
/// <param name="HeadSize">D of queries, keys and values.</param>
/// <param name="Scale">Multiplies the products before softmax.</param>
/// <param name="KeyStream">Index of the cache stream of keys, rows [G·D].</param>
/// <param name="ValueStream">Index of the cache stream of values, rows [G·D].</param>
internal sealed record AttentionSettings(int QueryHeads, int KeyHeads, int HeadSize, float Scale, int KeyStream, int ValueStream);

/// <summary>
/// Multi-head latent attention (spec 2.4, 2.5). For head h, with the latent c̃ [C] and the shared rotated key k_pe [R] of a cache row:
/// key = [KeyUp_h·c̃ | k_pe], value = ValueUp_h·c̃.
/// </summary>
/// <param name="Heads">H.</param>
/// <param name="NopeSize">N: unrotated part of queries and keys.</param>
/// <param name="RopeSize">R: rotated part.</param>
/// <param name="ValueSize">V.</param>
/// <param name="LatentSize">C: kv_lora_rank.</param>
/// <param name="Scale">Multiplies the products before softmax.</param>
/// <param name="Stream">Index of the cache stream of latents, rows [C + R].</param>
/// <param name="KeyUp">A matrix for each head: [N, C], or transposed [C, N] as GGUF's attn_k_b stores it (see <paramref name="KeyUpTransposed"/>).</param>
/// <param name="KeyUpTransposed">Whether <paramref name="KeyUp"/> is stored as [C, N].</param>
/// <param name="ValueUp">A matrix [V, C] for each head.</param>
/// <param name="FirstPosition">Position of the first cache row that counts: 1 for a draft module, whose stream has no row 0; else 0.</param>
internal sealed record LatentAttentionSettings(int Heads, int NopeSize, int RopeSize, int ValueSize, int LatentSize, float Scale, int Stream,
    DeviceWeight[] KeyUp, bool KeyUpTransposed, DeviceWeight[] ValueUp, int FirstPosition = 0);

/// <summary>How pairs of dimensions are rotated: (2i, 2i+1), or (i, i + R/2).</summary>
internal enum RotaryPairs : byte { Interleaved, HalfSplit }

/// <summary>Rotary frequencies (spec 2.2): angle of pair i at position p is p·Frequencies[i]; cosine and sine are multiplied by Magnitude.</summary>
internal sealed record RotarySettings(double[] Frequencies, double Magnitude, RotaryPairs Pairs)
{
    /// <summary>R: rotated dimensions.</summary>
    public int Size => 2 * Frequencies.Length;
}
