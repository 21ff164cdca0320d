using DeepSeek.Caching;

namespace DeepSeek.Core.Tests.Caching;

public class KvCacheTests
{
    private const int Block = 4;

    private static (KvCache, TokenStorage) New(int blocks, bool share = true)
    {
        var storage = new TokenStorage(Block, blocks);
        return (new KvCache(storage, share), storage);
    }

    /// <summary>Computes tokens behind what the table holds, as a step would.</summary>
    private static void Compute(KvCache cache, TokenStorage storage, BlockTable table, int[] tokens, int from, string? tenant = null)
    {
        Assert.True(cache.Reserve(table, from, tokens.Length));
        for (int p = from; p < tokens.Length; p++) storage.Row(table.Blocks, p) = tokens[p];
        cache.Register(table, tokens, tenant);
    }

    private static int[] Tokens(int count, int seed = 1) => [.. Enumerable.Range(0, count).Select(i => (i * 7919 + seed * 104729) % 1000)];

    [Fact]
    public void APrefixIsFound_InWholeBlocks_ByItsTenantOnly()
    {
        (KvCache cache, TokenStorage storage) = New(20);
        int[] tokens = Tokens(15);
        var a = new BlockTable(10);
        Compute(cache, storage, a, tokens, 0, "one");
        var b = new BlockTable(10);
        Assert.Equal(12, cache.Match(b, [.. tokens, 5, 6, 7], "one"));
        Assert.Equal(a.Blocks[..3], b.Blocks);
        foreach (string? other in new[] { null, "two", "" })
        {
            var c = new BlockTable(10);
            Assert.Equal(0, cache.Match(c, tokens, other));
        }
        var d = new BlockTable(10);
        Assert.Equal(4, cache.Match(d, [.. tokens[..6], 999, .. tokens[7..]], "one"));
    }

    [Fact]
    public void AChildOfAForgottenBlock_IsNeverFound()
    {
        (KvCache cache, TokenStorage storage) = New(4);
        int[] first = Tokens(8, 1), second = Tokens(12, 2);
        var a = new BlockTable(4);
        Compute(cache, storage, a, first, 0);
        int root = a[0];
        cache.Release(a); // both blocks are idle, the second one longest
        var b = new BlockTable(4);
        Compute(cache, storage, b, second, 0); // takes the two free blocks and the idle child
        cache.Release(b);
        var c = new BlockTable(4);
        Assert.Equal(4, cache.Match(c, first, null));
        Assert.Equal(root, c[0]);
        cache.Release(c);
        var d = new BlockTable(4);
        Compute(cache, storage, d, Tokens(16, 3), 0); // takes everything
        cache.Release(d);
        foreach (int[] gone in new[] { first, second })
        {
            var e = new BlockTable(4);
            Assert.Equal(0, cache.Match(e, gone, null));
        }
        var f = new BlockTable(4);
        Assert.Equal(16, cache.Match(f, Tokens(16, 3), null));
    }

    [Fact]
    public void AFork_CopiesWhenItWrites()
    {
        (KvCache cache, TokenStorage storage) = New(8);
        int[] tokens = Tokens(6);
        var a = new BlockTable(4);
        Compute(cache, storage, a, tokens, 0);
        var b = new BlockTable(4);
        cache.Fork(a, b, 6);
        Assert.Equal(2, cache.HeldCount);
        Compute(cache, storage, b, [.. tokens, 77], 6);
        Assert.Equal(1, storage.Copies);
        Compute(cache, storage, a, [.. tokens, 88], 6);
        Assert.Equal(1, storage.Copies); // the other one holds the old block alone by now
        Assert.Equal(77, storage.Row(b.Blocks, 6));
        Assert.Equal(88, storage.Row(a.Blocks, 6));
        Assert.Equal(tokens[5], storage.Row(b.Blocks, 5));
        cache.Release(a);
        cache.Release(b);
        Assert.Equal(0, cache.HeldCount);
    }

    [Fact]
    public void AKnownBlock_IsCopiedBeforeItsLastTokenIsComputedAgain()
    {
        (KvCache cache, TokenStorage storage) = New(8);
        int[] tokens = Tokens(8);
        var a = new BlockTable(4);
        Compute(cache, storage, a, tokens, 0);
        var b = new BlockTable(4);
        Assert.Equal(8, cache.Match(b, tokens, null));
        Assert.True(cache.Reserve(b, 7, 8));
        storage.Row(b.Blocks, 7) = 555;
        Assert.Equal(tokens[7], storage.Row(a.Blocks, 7));
        Assert.Equal(tokens[6], storage.Row(b.Blocks, 6));
        cache.Register(b, tokens, null); // the same tokens: it holds the known block again
        Assert.Equal(a.Blocks, b.Blocks);
    }

    [Fact]
    public void WithoutSharing_NothingIsKept()
    {
        (KvCache cache, TokenStorage storage) = New(8, share: false);
        int[] tokens = Tokens(8);
        var a = new BlockTable(4);
        Compute(cache, storage, a, tokens, 0);
        cache.Release(a);
        var b = new BlockTable(4);
        Assert.Equal(0, cache.Match(b, tokens, null));
        Assert.Equal(8, cache.AvailableCount);
    }
}
