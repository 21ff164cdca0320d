using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using DeepSeek.Backends;
using DeepSeek.Caching;
using DeepSeek.Formats;

namespace DeepSeek.Generation;

/// <summary>
/// A conversation's cache as a file. Little-endian: "DSKV", version, identity of model, cache and numerics [32], bytes of the tenant's name, number of tokens, bytes of a block; the name
/// in UTF-8, the tokens [int32 each], the blocks, SHA-256 of all before [32]. Whole blocks only. Written beside the target and renamed, so that there is never half a file.
/// </summary>
internal static class SessionFile
{
    private const uint Magic = 0x564B5344;
    private const int Version = 1, HeaderBytes = 4 + 4 + 32 + 4 + 4 + 8, HashBytes = 32, LongestTenant = 4096;

    /// <summary>Tensors of which the identity holds a sample: two models of one shape differ in it.</summary>
    private const int Samples = 64;

    private const int SampleBytes = 256;

    /// <summary>What a session is bound to: configuration, names and shapes of all tensors, samples of their contents, streams and format of the cache, and how numbers are computed.</summary>
    public static byte[] IdentityOf(Checkpoint checkpoint, CacheStorage storage, Backend backend, LanguageModelOptions options)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        void Add(string text) => hash.AppendData(Encoding.UTF8.GetBytes(text + "\n"));
        Add(checkpoint.Config.Root.GetRawText());
        TensorInfo[] tensors = [.. checkpoint.Tensors.OrderBy(t => t.Name, StringComparer.Ordinal)];
        foreach (TensorInfo t in tensors) Add($"{t.Name} {t.Type} {string.Join(',', t.Shape)} {t.Bytes}");
        int step = Math.Max(1, tensors.Length / Samples);
        for (int i = 0; i < tensors.Length; i += step)
        {
            TensorInfo t = tensors[i];
            if (t.Shape.Count == 0 || t.Bytes < SampleBytes) continue;
            long rows = t.Shape.Take(t.Shape.Count - 1).Aggregate(1L, (a, b) => a * b);
            if (rows > int.MaxValue || t.Shape[^1] > int.MaxValue || t.Name.EndsWith("_scale_inv", StringComparison.Ordinal)) continue;
            if (checkpoint.Find(t.Name, (int)rows, (int)t.Shape[^1]) is { } weight && weight.Bytes >= SampleBytes) hash.AppendData(Bytes(weight.Data));
        }
        foreach (CacheStream s in storage.Streams) Add($"{s.Layer} {s.Kind} {s.Width}");
        Add($"{storage.Format} {storage.BlockTokens} {storage.BlockBytes} {backend.Name} {options.Reproducible}");
        return hash.GetHashAndReset();
    }

    private static unsafe ReadOnlySpan<byte> Bytes(nint address) => new((void*)address, SampleBytes);

    /// <summary>Writes what the cache knows of these tokens.</summary>
    /// <param name="path">The file to write.</param>
    /// <param name="model">Whose cache it is.</param>
    /// <param name="tokens">The conversation.</param>
    /// <param name="tenant">Whose prefix it is.</param>
    /// <param name="create">Creates the temporary file; disks that fail are tested with another than <see cref="Create"/>.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>Tokens written.</returns>
    public static async Task<int> SaveAsync(string path, LoadedModel model, int[] tokens, string? tenant, Func<string, FileStream> create, CancellationToken cancellationToken)
    {
        Engine engine = model.Engine;
        var table = new BlockTable(tokens.Length / engine.BlockTokens + 1);
        int count = await engine.InvokeAsync(c => c.Match(table, tokens, tenant)).ConfigureAwait(false);
        string temporary = path + "." + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(6)) + ".tmp";
        try
        {
            FileStream file = create(temporary);
            await using (file.ConfigureAwait(false))
            {
                using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
                long blockBytes = await engine.InvokeAsync(c => c.Storage.BlockBytes).ConfigureAwait(false);
                byte[] name = Encoding.UTF8.GetBytes(tenant ?? ""), buffer = new byte[blockBytes];
                if (name.Length > LongestTenant) throw new InvalidOptionException($"The tenant's name has {name.Length} bytes, a session file holds up to {LongestTenant}.");
                await Write(Header(model.Identity, tenant is null ? -1 : name.Length, count, blockBytes)).ConfigureAwait(false);
                await Write(name).ConfigureAwait(false);
                await Write(MemoryMarshal.AsBytes<int>(tokens.AsSpan(0, count)).ToArray()).ConfigureAwait(false);
                for (int i = 0; i < count / engine.BlockTokens; i++)
                {
                    int block = table[i];
                    await engine.InvokeAsync(c =>
                    {
                        c.Storage.ReadBlock(block, buffer);
                        return 0;
                    }).ConfigureAwait(false);
                    await Write(buffer).ConfigureAwait(false);
                }
                await file.WriteAsync(hash.GetHashAndReset(), cancellationToken).ConfigureAwait(false);
                file.Flush(flushToDisk: true);

                ValueTask Write(byte[] bytes)
                {
                    hash.AppendData(bytes);
                    return file.WriteAsync(bytes, cancellationToken);
                }
            }
            File.Move(temporary, path, overwrite: true);
            return count;
        }
        finally
        {
            File.Delete(temporary);
            await engine.InvokeAsync(c => Release(c, table)).ConfigureAwait(false);
        }
    }

    /// <summary>A new file.</summary>
    public static FileStream Create(string path) => new(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16, useAsync: true);

    /// <summary>Reads a file into the cache, after all of it was checked.</summary>
    /// <returns>Tokens restored: fewer than in the file where the cache has less room.</returns>
    public static async Task<int> LoadAsync(string path, LoadedModel model, CancellationToken cancellationToken)
    {
        Engine engine = model.Engine;
        long blockBytes = await engine.InvokeAsync(c => c.Storage.BlockBytes).ConfigureAwait(false);
        FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16, useAsync: true);
        await using (file.ConfigureAwait(false))
        {
            (string? tenant, int[] tokens) = await CheckAsync(path, file, model, blockBytes, cancellationToken).ConfigureAwait(false);
            var table = new BlockTable(tokens.Length / engine.BlockTokens + 1);
            byte[] buffer = new byte[blockBytes];
            try
            {
                int known = await engine.InvokeAsync(c => c.Match(table, tokens, tenant)).ConfigureAwait(false);
                file.Position += known / engine.BlockTokens * blockBytes;
                for (int end = known + engine.BlockTokens; end <= tokens.Length; end += engine.BlockTokens)
                {
                    await file.ReadExactlyAsync(buffer, cancellationToken).ConfigureAwait(false);
                    int to = end;
                    if (!await engine.InvokeAsync(c => c.TryRestore(table, tokens.AsSpan(0, to), tenant, buffer)).ConfigureAwait(false)) break;
                    known = end;
                }
                return known;
            }
            finally
            {
                await engine.InvokeAsync(c => Release(c, table)).ConfigureAwait(false);
            }
        }
    }

    private static bool Release(KvCache cache, BlockTable table)
    {
        cache.Release(table);
        return true;
    }

    private static byte[] Header(byte[] identity, int tenantBytes, int tokenCount, long blockBytes)
    {
        byte[] header = new byte[HeaderBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(header, Magic);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(4), Version);
        identity.CopyTo(header, 8);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(40), tenantBytes);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(44), tokenCount);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(48), blockBytes);
        return header;
    }

    /// <summary>Everything that a file can get wrong; afterwards it stands at the first block.</summary>
    private static async Task<(string? Tenant, int[] Tokens)> CheckAsync(string path, FileStream file, LoadedModel model, long blockBytes, CancellationToken cancellationToken)
    {
        byte[] header = new byte[HeaderBytes];
        if (file.Length < HeaderBytes + HashBytes) throw new SessionFileException($"'{path}' has {file.Length} bytes, a session has at least {HeaderBytes + HashBytes}. It is truncated, or no session.");
        await file.ReadExactlyAsync(header, cancellationToken).ConfigureAwait(false);
        uint magic = BinaryPrimitives.ReadUInt32LittleEndian(header);
        int version = BinaryPrimitives.ReadInt32LittleEndian(header.AsSpan(4)), tenantBytes = BinaryPrimitives.ReadInt32LittleEndian(header.AsSpan(40)), count = BinaryPrimitives.ReadInt32LittleEndian(header.AsSpan(44));
        if (magic != Magic) throw new SessionFileException($"'{path}' begins with 0x{magic:X8}, a session with 0x{Magic:X8}. It is no session.");
        if (version != Version) throw new SessionFileException($"'{path}' is of version {version}, this library reads version {Version}. Compute the conversation again and save it anew.");
        if (!header.AsSpan(8, 32).SequenceEqual(model.Identity)) throw new SessionFileException($"'{path}' was saved with another model, cache type or numerics. Load that model with the same options, or compute the conversation again.");
        int blockTokens = model.Engine.BlockTokens, name = Math.Max(tenantBytes, 0);
        long expected = HeaderBytes + name + (long)count * sizeof(int) + count / blockTokens * BinaryPrimitives.ReadInt64LittleEndian(header.AsSpan(48)) + HashBytes;
        if (count < 0 || count % blockTokens != 0 || name > LongestTenant || BinaryPrimitives.ReadInt64LittleEndian(header.AsSpan(48)) != blockBytes || expected != file.Length)
            throw new SessionFileException($"'{path}' has {file.Length} bytes, its header asks for {expected} ({count} tokens). It is truncated or damaged.");
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(header);
        byte[] buffer = new byte[1 << 16];
        for (long left = file.Length - HeaderBytes - HashBytes; left > 0;)
        {
            int n = (int)Math.Min(left, buffer.Length);
            await file.ReadExactlyAsync(buffer.AsMemory(0, n), cancellationToken).ConfigureAwait(false);
            hash.AppendData(buffer, 0, n);
            left -= n;
        }
        byte[] stored = new byte[HashBytes];
        await file.ReadExactlyAsync(stored, cancellationToken).ConfigureAwait(false);
        if (!hash.GetHashAndReset().AsSpan().SequenceEqual(stored)) throw new SessionFileException($"'{path}' is damaged: its checksum is not that of its contents.");
        file.Position = HeaderBytes;
        byte[] tenant = new byte[name], tokens = new byte[count * sizeof(int)];
        await file.ReadExactlyAsync(tenant, cancellationToken).ConfigureAwait(false);
        await file.ReadExactlyAsync(tokens, cancellationToken).ConfigureAwait(false);
        return (tenantBytes < 0 ? null : Encoding.UTF8.GetString(tenant), MemoryMarshal.Cast<byte, int>(tokens).ToArray());
    }
}
