using System.Globalization;
using DeepSeek.Backends;

namespace DeepSeek.Generation;

/// <summary>How long sequences may be and how many cache blocks there are.</summary>
/// <param name="ContextLength">Longest sequence.</param>
/// <param name="BlockCount">Blocks of <see cref="BlockTokens"/> positions.</param>
/// <param name="BlockBytes">Bytes of one.</param>
/// <param name="IsShortened">Less context than by default, because memory is short.</param>
internal sealed record CachePlan(int ContextLength, int BlockCount, long BlockBytes, bool IsShortened)
{
    /// <summary>
    /// Positions that a block covers. Prefixes are shared in whole blocks, so smaller ones share more; tables, copies and hashing cost by the block, so larger ones cost less. Prompts are
    /// also cut at its multiples, and 32 rows are enough to multiply at full speed.
    /// </summary>
    public const int BlockTokens = 32;

    /// <summary>By default the cache holds that many sequences of full length: one that runs, and the prefixes of others.</summary>
    private const int DefaultSequences = 4;

    /// <summary>By default the cache takes at most one part in so many of the memory.</summary>
    private const int DefaultShare = 4;

    /// <summary>No model is loaded for less, where its options do not ask for it.</summary>
    private const int LeastContext = 512;

    public long BytesPerToken => BlockBytes / BlockTokens;

    public long Bytes => BlockBytes * BlockCount;

    /// <summary>Plans for the options and the memory.</summary>
    /// <exception cref="ModelMemoryException">What the options ask for does not fit.</exception>
    public static CachePlan For(LanguageModelOptions options, IReadOnlyList<CacheStream> streams, CacheFormat format, int maxPositions, long availableBytes)
    {
        long blockBytes = CacheStorage.BytesOfBlock(streams, format, BlockTokens);
        int wanted = Math.Min(options.ContextLength ?? LanguageModelOptions.DefaultContextLength, maxPositions);
        long perSequence = Blocks(wanted), fitting = (options.CacheBytes ?? Math.Max(availableBytes, 0) / DefaultShare) / blockBytes;
        long count = Math.Min(fitting, options.CacheBytes is null ? perSequence * Math.Min(DefaultSequences, options.MaxSequences) : perSequence * options.MaxSequences);
        if (options.CacheBytes is { } asked && Math.Min(asked, perSequence * options.MaxSequences * blockBytes) > availableBytes)
            throw new ModelMemoryException(string.Create(CultureInfo.InvariantCulture, $"CacheBytes is {asked}, but this process can have {Math.Max(availableBytes, 0)} bytes beside the weights. Ask for less, or for none: then the cache takes what fits."), asked, Math.Max(availableBytes, 0));
        if (count >= perSequence) return new CachePlan(wanted, (int)Math.Min(count, int.MaxValue / BlockTokens), blockBytes, false);
        int shorter = (int)(fitting * BlockTokens);
        if (options.ContextLength is null && options.CacheBytes is null && shorter >= Math.Min(LeastContext, wanted)) return new CachePlan(shorter, (int)fitting, blockBytes, true);
        long needed = perSequence * blockBytes, have = options.CacheBytes ?? Math.Max(availableBytes, 0), longest = have / blockBytes * BlockTokens;
        if (options.CacheBytes is null && needed <= have) return new CachePlan(wanted, (int)perSequence, blockBytes, false);
        if (options.ContextLength is null && options.CacheBytes is not null && fitting > 0) return new CachePlan(shorter, (int)fitting, blockBytes, true);
        throw new ModelMemoryException(string.Create(CultureInfo.InvariantCulture,
            $"The attention cache of one sequence of {wanted} tokens takes {needed / 1e6:0} MB, there are {have / 1e6:0} MB for it. Ask for a shorter ContextLength (up to {longest}), a smaller CacheType, or more CacheBytes."), needed, have);
    }

    private static long Blocks(int positions) => ((long)positions + BlockTokens - 1) / BlockTokens;
}
