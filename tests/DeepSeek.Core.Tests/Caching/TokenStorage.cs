using System.Runtime.InteropServices;
using DeepSeek.Backends;

namespace DeepSeek.Core.Tests.Caching;

/// <summary>Cache storage whose rows are the tokens themselves, so that a test sees whose rows a block holds.</summary>
internal sealed class TokenStorage(int blockTokens, int blockCount) : CacheStorage([new CacheStream(0, "token", 1)], CacheFormat.F32, blockTokens, blockCount)
{
    private readonly int[] rows = new int[blockTokens * blockCount];

    public int Copies { get; private set; }

    public ref int Row(ReadOnlySpan<int> table, int position) => ref rows[table[position / BlockTokens] * BlockTokens + position % BlockTokens];

    public override void CopyBlock(int from, int to)
    {
        Copies++;
        rows.AsSpan(from * BlockTokens, BlockTokens).CopyTo(rows.AsSpan(to * BlockTokens));
    }

    public override void ReadBlock(int block, Span<byte> destination) => MemoryMarshal.AsBytes(rows.AsSpan(block * BlockTokens, BlockTokens)).CopyTo(destination);

    public override void WriteBlock(int block, ReadOnlySpan<byte> source) => source.CopyTo(MemoryMarshal.AsBytes(rows.AsSpan(block * BlockTokens, BlockTokens)));

    public override void Dispose() { }
}
