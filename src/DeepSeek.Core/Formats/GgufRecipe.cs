using DeepSeek.Tensors;

namespace DeepSeek.Formats;

/// <summary>Which tensor is stored how: one format for most, a better one for those on which much depends.</summary>
/// <param name="Name">As users say it: <c>Q4_K_M</c>.</param>
/// <param name="Type">The format of most matrices.</param>
/// <param name="FileType">The number of this mix in general.file_type.</param>
/// <param name="Mixed">Whether some layers' value and down projections get more bits.</param>
internal sealed record GgufRecipe(string Name, DType Type, int FileType, bool Mixed = false)
{
    /// <summary>All recipes.</summary>
    public static IReadOnlyList<GgufRecipe> All { get; } =
    [
        new("F32", DType.F32, 0), new("F16", DType.F16, 1), new("BF16", DType.BF16, 32), new("Q8_0", DType.Q8_0, 7),
        new("Q4_0", DType.Q4_0, 2), new("Q4_1", DType.Q4_1, 3), new("Q5_0", DType.Q5_0, 8), new("Q5_1", DType.Q5_1, 9),
        new("Q4_K", DType.Q4_K, 14), new("Q4_K_M", DType.Q4_K, 15, true), new("Q5_K", DType.Q5_K, 16), new("Q5_K_M", DType.Q5_K, 17, true), new("Q6_K", DType.Q6_K, 18),
    ];

    /// <summary>A recipe by name, in any case.</summary>
    /// <exception cref="InvalidOptionException">There is none.</exception>
    public static GgufRecipe Find(string name) => All.FirstOrDefault(r => string.Equals(r.Name, name, StringComparison.OrdinalIgnoreCase))
        ?? throw new InvalidOptionException($"'{name}' is no format that can be written. Choose one of {string.Join(", ", All.Select(r => r.Name))}; Q4_K_M is the usual one.");

    /// <summary>Whether a tensor keeps its precision: vectors, and the small matrices that decide which experts or tokens are looked at.</summary>
    public static bool Keeps(string ggufName, IReadOnlyList<long> shape)
        => shape.Count < 2 || ggufName.Contains("ffn_gate_inp", StringComparison.Ordinal) || ggufName.Contains("_norm", StringComparison.Ordinal) || ggufName.Contains("indexer.proj", StringComparison.Ordinal)
            || ggufName.Contains("_compressor_", StringComparison.Ordinal) || ggufName.Contains("hc_", StringComparison.Ordinal) || ggufName.Contains("tid2eid", StringComparison.Ordinal);

    /// <summary>The format of a matrix.</summary>
    /// <param name="ggufName">Its GGUF name.</param>
    /// <param name="columns">Elements of a row, which decide whether large blocks fit.</param>
    /// <param name="layers">Layers of the model.</param>
    /// <param name="tied">Whether the embedding is the head too.</param>
    public DType For(string ggufName, long columns, int layers, bool tied)
    {
        DType type = Type;
        bool blocks = type.Info().BlockElements > 1;
        // The head is read once a token and decides everything.
        if (blocks && type != DType.Q8_0 && (ggufName == "output.weight" || tied && ggufName == "token_embd.weight")) type = columns % 256 == 0 ? DType.Q6_K : DType.Q8_0;
        else if (Mixed && MoreBits(ggufName, layers)) type = DType.Q6_K;
        if (columns % type.Info().BlockElements == 0) return type;
        // The nearest format with blocks of 32; where not even these fit, none.
        DType smaller = type switch { DType.Q4_K => DType.Q5_0, DType.Q5_K => DType.Q5_1, DType.Q6_K => DType.Q8_0, _ => DType.F16 };
        return columns % smaller.Info().BlockElements == 0 ? smaller : DType.F16;
    }

    /// <summary>Value and down projections of the first eighth of the layers, the last eighth, and every third between.</summary>
    private static bool MoreBits(string ggufName, int layers)
    {
        if (!ggufName.Contains(".attn_v.", StringComparison.Ordinal) && !ggufName.Contains(".ffn_down", StringComparison.Ordinal)) return false;
        int layer = int.TryParse(ggufName.AsSpan(4, Math.Max(0, ggufName.IndexOf('.', 4) - 4)), out int n) ? n : 0;
        return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
    }
}
