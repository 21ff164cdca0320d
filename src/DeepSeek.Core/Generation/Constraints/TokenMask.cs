using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace DeepSeek.Generation.Constraints;

/// <summary>The tokens that may come next: a bit for each row of the logits. Immutable once handed out.</summary>
internal sealed class TokenMask(int rows)
{
    private readonly ulong[] words = new ulong[(rows + 63) / 64];

    public int Rows => rows;

    public bool this[int token] => (uint)token < (uint)rows && (words[token >> 6] >> (token & 63) & 1) != 0;

    public int Count
    {
        get
        {
            int count = 0;
            foreach (ulong w in words) count += BitOperations.PopCount(w);
            return count;
        }
    }

    /// <summary>The tokens of another mask over the same rows, too.</summary>
    internal void Add(TokenMask other)
    {
        for (int i = 0; i < words.Length; i++) words[i] |= other.words[i];
    }

    internal void Add(int token) => words[token >> 6] |= 1UL << (token & 63);

    /// <summary>Sets the logits of all other tokens to −∞; rows beyond the vocabulary among them.</summary>
    /// <param name="logits">One row for each token; more rows than the mask has are masked too.</param>
    public void Apply(Span<float> logits)
    {
        if (logits.Length > rows) logits[rows..].Fill(float.NegativeInfinity);
        int full = Math.Min(logits.Length, rows) / 64 * 64;
        ref float first = ref MemoryMarshal.GetReference(logits);
        Vector256<uint> bits = Vector256.Create(1u, 2, 4, 8, 16, 32, 64, 128);
        for (int i = 0; i < full; i += 64)
        {
            ulong word = words[i >> 6];
            if (word == ulong.MaxValue) continue;
            if (word == 0)
            {
                logits.Slice(i, 64).Fill(float.NegativeInfinity);
                continue;
            }
            for (int j = 0; j < 64; j += 8)
            {
                Vector256<float> allowed = Vector256.Equals(Vector256.Create((uint)(word >> j) & 0xFF) & bits, bits).AsSingle();
                Vector256<float> values = Vector256.LoadUnsafe(ref first, (nuint)(i + j));
                Vector256.ConditionalSelect(allowed, values, Vector256.Create(float.NegativeInfinity)).StoreUnsafe(ref first, (nuint)(i + j));
            }
        }
        for (int i = full; i < Math.Min(logits.Length, rows); i++)
            if (!this[i]) logits[i] = float.NegativeInfinity;
    }
}
