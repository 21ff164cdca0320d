using DeepSeek.Generation;

namespace DeepSeek.Core.Tests.Generation;

/// <summary>Saved conversations, and what is refused instead.</summary>
public sealed class SessionTests : IDisposable
{
    private static readonly string TinyReasoner = SharedData.Model("tiny-reasoner");
    private static readonly LanguageModelOptions Options = new() { Reproducible = true, Threads = 2 };
    private readonly string folder = Directory.CreateTempSubdirectory("sessions").FullName;

    public void Dispose() => Directory.Delete(folder, true);

    private static int[] Tokens(int count) => [.. Enumerable.Range(0, count).Select(i => 2 + (i * 37 + i * i % 11) % 300)];

    private static async Task<(int[] Tokens, float[] Logits, int Cached)> Run(LanguageModel model, int[] prompt, int count)
    {
        GenerationRequest request = model.NewRequest(prompt, new GenerationOptions { Temperature = 0.7f, Seed = 5, MaxTokens = count, IgnoreEndOfTurn = true }, keepLastLogits: true);
        model.Loaded.Engine.Submit(request);
        int[] tokens = await FakeEngine.Finish(request);
        return (tokens, request.LastLogits!, request.Usage(count).CachedTokens);
    }

    [Fact]
    public async Task ARestoredSession_GivesTheSameLogits()
    {
        string file = Path.Combine(folder, "a.session");
        int[] prompt = Tokens(300);
        (int[] Tokens, float[] Logits, int Cached) fresh, hit, restored;
        await using (LanguageModel model = await LanguageModel.LoadAsync(TinyReasoner, Options))
        {
            fresh = await Run(model, prompt, 20);
            Assert.Equal(288, await model.SaveSessionAsync(file, prompt));
            hit = await Run(model, prompt, 20);
        }
        await using (LanguageModel model = await LanguageModel.LoadAsync(TinyReasoner, Options with { Threads = 1 }))
        {
            Assert.Equal(288, await model.LoadSessionAsync(file));
            Assert.Equal(288, await model.LoadSessionAsync(file)); // known already
            restored = await Run(model, prompt, 20);
        }
        Assert.Equal(0, fresh.Cached);
        Assert.InRange(hit.Cached, 287, 288);
        Assert.InRange(restored.Cached, 287, 288);
        Assert.Equal(fresh.Tokens, hit.Tokens);
        Assert.Equal(fresh.Tokens, restored.Tokens);
        Assert.Equal(fresh.Logits, hit.Logits);
        Assert.Equal(fresh.Logits, restored.Logits);
        Assert.Equal(["a.session"], Directory.EnumerateFiles(folder).Select(Path.GetFileName)); // nothing half-written is left
    }

    [Fact]
    public async Task WhatIsNotItsOwn_IsRefused()
    {
        string file = Path.Combine(folder, "a.session"), other = Path.Combine(folder, "b.session");
        int[] prompt = Tokens(100);
        await using LanguageModel model = await LanguageModel.LoadAsync(TinyReasoner, Options);
        await model.SaveSessionAsync(file, prompt, "tenant");
        byte[] good = File.ReadAllBytes(file);
        await using (LanguageModel foreign = await LanguageModel.LoadAsync(TinyReasoner, Options with { CacheType = CacheType.Float32 }))
            Assert.Contains("another model", (await Assert.ThrowsAsync<SessionFileException>(() => foreign.LoadSessionAsync(file))).Message, StringComparison.Ordinal);
        foreach (int length in new[] { 0, 3, 50, 100, good.Length / 2, good.Length - 1 }) await Refused(good[..length]);
        await Refused([.. good, 0]);
        foreach (int at in new[] { 0, 4, 8, 40, 44, 45, 47, 48, 60, 500, good.Length / 2, good.Length - 1 })
        {
            byte[] bad = [.. good];
            bad[at] ^= 0x41;
            await Refused(bad);
        }
        Assert.Equal(96, await model.LoadSessionAsync(file));

        async Task Refused(byte[] bytes)
        {
            File.WriteAllBytes(other, bytes);
            await Assert.ThrowsAsync<SessionFileException>(() => model.LoadSessionAsync(other));
        }
    }

    [Fact]
    public async Task AFullDisk_LeavesTheOldFile_NothingHalf_AndAModelThatGoesOn()
    {
        string file = Path.Combine(folder, "a.session");
        int[] prompt = Tokens(200);
        await using LanguageModel model = await LanguageModel.LoadAsync(TinyReasoner, Options);
        Assert.Equal(96, await model.SaveSessionAsync(file, prompt[..100]));
        byte[] before = File.ReadAllBytes(file);
        (int[] Tokens, float[] Logits, int Cached) answer = await Run(model, prompt, 5);
        foreach (int bytes in new[] { 0, 10, 20_000, 100_000 })
        {
            var e = await Assert.ThrowsAsync<IOException>(() => SessionFile.SaveAsync(file, model.Loaded, prompt, null, path => new FullDisk(path, bytes), CancellationToken.None));
            Assert.Contains("No space", e.Message, StringComparison.Ordinal);
            Assert.Equal(before, File.ReadAllBytes(file));
            Assert.Equal(["a.session"], Directory.EnumerateFiles(folder).Select(Path.GetFileName));
            await model.Loaded.Engine.InvokeAsync(_ => 0);
            Assert.Equal(0, model.Statistics.UsedCacheBlocks);
        }
        (int[] Tokens, float[] Logits, int Cached) again = await Run(model, prompt, 5);
        Assert.Equal(answer.Tokens, again.Tokens);
        Assert.Equal(192, await model.SaveSessionAsync(file, prompt));
    }

    /// <summary>A file on a disk that has room for so many bytes only.</summary>
    private sealed class FullDisk(string path, long room) : FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, 0, useAsync: true)
    {
        private long left = room;

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
            => (left -= buffer.Length) < 0 ? throw new IOException("No space left on device") : base.WriteAsync(buffer, cancellationToken);
    }
}
