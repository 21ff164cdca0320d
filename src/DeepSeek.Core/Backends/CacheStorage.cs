namespace DeepSeek.Backends;

/// <summary>How the numbers of cache rows are stored.</summary>
internal enum CacheFormat : byte { F32, F16, BF16, Q8 }

/// <summary>One stream of cache rows: a layer's keys, its values, its latents, …: one row for each token position.</summary>
/// <param name="Layer">The layer it belongs to; draft modules count on behind the last layer.</param>
/// <param name="Kind">What a row holds, for messages and identity: <c>key</c>, <c>value</c>, <c>latent</c>.</param>
/// <param name="Width">Numbers of a row.</param>
internal sealed record CacheStream(int Layer, string Kind, int Width);

/// <summary>
/// The bytes of the attention cache: for each stream, blocks of rows. The backend owns bytes, <c>Caching</c> owns the block numbers. Not thread-safe: the engine's thread uses it.
/// </summary>
internal abstract class CacheStorage(IReadOnlyList<CacheStream> streams, CacheFormat format, int blockTokens, int blockCount) : IDisposable
{
    public IReadOnlyList<CacheStream> Streams { get; } = streams;

    public CacheFormat Format { get; } = format;

    /// <summary>Token positions that a block covers.</summary>
    public int BlockTokens { get; } = blockTokens;

    public int BlockCount { get; } = blockCount;

    /// <summary>Bytes of one block, all streams together.</summary>
    public long BlockBytes { get; } = BytesOfBlock(streams, format, blockTokens);

    /// <summary>Bytes that a block of these streams takes.</summary>
    public static long BytesOfBlock(IReadOnlyList<CacheStream> streams, CacheFormat format, int blockTokens) => streams.Sum(s => RowBytes(format, s.Width) * blockTokens);

    /// <summary>Bytes of a row: Q8 keeps a float32 scale for each 32 numbers (the last group may be partial) behind the row's bytes.</summary>
    public static long RowBytes(CacheFormat format, int width) => format switch
    {
        CacheFormat.F32 => 4L * width,
        CacheFormat.Q8 => (width + 3) / 4 * 4 + (width + 31) / 32 * 4,
        _ => 2L * width,
    };

    /// <summary>Copies a block of every stream.</summary>
    public abstract void CopyBlock(int from, int to);

    /// <summary>Reads a block's bytes, stream after stream. [BlockBytes]</summary>
    public abstract void ReadBlock(int block, Span<byte> destination);

    /// <summary>Writes a block's bytes, stream after stream. [BlockBytes]</summary>
    public abstract void WriteBlock(int block, ReadOnlySpan<byte> source);

    public abstract void Dispose();
}
