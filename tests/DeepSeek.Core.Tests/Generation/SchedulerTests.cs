using DeepSeek.Caching;
using DeepSeek.Core.Tests.Caching;
using DeepSeek.Generation;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Core.Tests.Generation;

public class SchedulerTests
{
    /// <summary>
    /// Anything that may happen, at random: sequences of all lengths and priorities arrive, share beginnings, fork, are cancelled, draft and are rolled back, in a cache that is too small
    /// for them. After every step each row that a sequence relies on must hold its own token; nothing may leak, and everyone must come to an end.
    /// </summary>
    [Fact]
    public void WhateverHappens_RowsAreRight_NothingLeaks_NobodyStarves()
        => Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed => { Run(seed); return true; }).Check(Config.QuickThrowOnFailure.WithMaxTest(150));

    private static void Run(int seed)
    {
        var random = new System.Random(seed);
        int block = random.Next(1, 6), blocks = random.Next(4, 20), context = block * blocks, maxSequences = random.Next(1, 6), maxStep = random.Next(maxSequences, 40);
        var storage = new TokenStorage(block, blocks);
        var cache = new KvCache(storage, sharePrefixes: random.Next(4) > 0);
        var scheduler = new Scheduler(cache, maxSequences, maxStep, random.Next(1, 60));
        var alive = new List<Sequence>();
        int arrivals = random.Next(5, 40), idle = 0;
        for (int step = 0; arrivals > 0 || alive.Count > 0; step++)
        {
            Assert.True(step < 20_000, "somebody starves");
            if (arrivals > 0 && random.Next(3) == 0)
            {
                arrivals--;
                int[] prompt = new int[random.Next(1, context)];
                int shared = random.Next(prompt.Length + 1), kind = random.Next(2);
                for (int i = 0; i < prompt.Length; i++) prompt[i] = i < shared ? i * (kind + 1) % 50 : random.Next(50);
                var s = new Sequence(prompt, random.Next(prompt.Length + 1, context + 1), block)
                {
                    Priority = random.Next(3), Tenant = random.Next(4) == 0 ? "other" : null, UsesPrefixes = random.Next(5) > 0, DraftsByModule = random.Next(3) == 0,
                    MaxStepTokens = random.Next(6) == 0 ? 1 : int.MaxValue,
                };
                alive.Add(s);
                scheduler.Enqueue(s);
            }
            if (alive.Count > 0 && random.Next(25) == 0)
            {
                Sequence gone = alive[random.Next(alive.Count)];
                alive.Remove(gone);
                scheduler.Remove(gone);
                Assert.Equal(0, gone.Blocks.Count);
            }
            scheduler.Plan(random.Next(1, maxStep + 1));
            Assert.True(scheduler.Running.Count <= maxSequences);
            idle = scheduler.Planned.Count == 0 && alive.Count > 0 ? idle + 1 : 0;
            Assert.True(idle < 2, "nothing is planned though somebody waits");
            Assert.True(scheduler.Planned.Sum(s => s.StepRows) <= maxStep + maxSequences * (1 + Sequence.MaxDrafts));
            foreach (Sequence s in scheduler.Planned.ToArray()) Step(s);
            foreach (Sequence s in scheduler.Running)
                for (int p = 0; p < s.Computed; p++) Assert.Equal(s.Tokens[p], storage.Row(s.Blocks.Blocks, p));
            Assert.Equal(scheduler.Running.SelectMany(s => s.Blocks.Blocks.ToArray()).Distinct().Count(), cache.HeldCount);
            Assert.Equal(alive.Count, scheduler.Running.Count + scheduler.Waiting.Count);
        }
        Assert.Equal(0, cache.HeldCount);
        Assert.Equal(blocks, cache.AvailableCount);

        void Step(Sequence s)
        {
            int rows = s.StepRows, drafts = s.DraftCount, before = s.Computed;
            Assert.True(rows >= 1 && before + rows - drafts <= s.Length);
            Assert.True(s.Blocks.Count * block >= before + rows);
            ReadOnlySpan<int> tokens = s.StepTokens;
            for (int i = 0; i < rows; i++) storage.Row(s.Blocks.Blocks, before + i) = tokens[i]; // drafts too: rolled back by not being counted
            s.ClearDrafts();
            if (before + rows - drafts < s.Length)
            {
                s.Computed += rows;
                cache.Register(s.Blocks, s.Tokens[..s.Computed], s.Tenant);
                return;
            }
            int accepted = drafts == 0 ? 0 : random.Next(drafts + 1);
            for (int i = 0; i < accepted; i++) s.Append(s.NextDraft);
            bool full = s.Length >= s.Capacity;
            if (!full) s.Append(100 + random.Next(50));
            s.Computed = before + rows - drafts + accepted;
            cache.Register(s.Blocks, s.Tokens[..s.Computed], s.Tenant);
            if (full || s.Length >= s.Capacity || random.Next(60) == 0)
            {
                alive.Remove(s);
                scheduler.Remove(s);
                return;
            }
            if (random.Next(10) == 0 && s.Length < s.Capacity)
            {
                var child = new Sequence(s.Tokens[..s.Computed], s.Capacity, block) { Priority = s.Priority, Tenant = s.Tenant };
                child.Append(150 + random.Next(50));
                if (scheduler.TryFork(s, child)) alive.Add(child);
            }
            for (int d = random.Next(Sequence.MaxDrafts + 1); d > 0 && s.Length + s.DraftCount < s.Capacity; d--) s.AddDraft(random.Next(200));
        }
    }

    [Fact]
    public void HigherPriorityIsAdmittedFirst_ButAgeCatchesUp()
    {
        var cache = new KvCache(new TokenStorage(4, 8), true);
        var scheduler = new Scheduler(cache, 1, 8, 8);
        Sequence low = New(0), high = New(5);
        scheduler.Enqueue(low);
        scheduler.Enqueue(high);
        scheduler.Plan(8);
        Assert.Same(high, Assert.Single(scheduler.Planned));
        // A stream of more important ones: the old one's turn comes all the same.
        int steps = 0;
        Sequence running = high;
        while (running != low && steps++ < 10 * Scheduler.StepsPerLevel)
        {
            scheduler.Remove(running);
            scheduler.Enqueue(New(5));
            scheduler.Plan(8);
            running = scheduler.Planned[0];
        }
        Assert.Same(low, running);

        static Sequence New(int priority) => new([1, 2, 3], 8, 4) { Priority = priority };
    }

    [Fact]
    public void PromptsGoOn_HoweverManyGenerate_AndHoweverSlowTheMachineIs()
    {
        var cache = new KvCache(new TokenStorage(4, 100), true);
        var scheduler = new Scheduler(cache, 4, 16, 16);
        for (int i = 0; i < 3; i++) scheduler.Enqueue(new Sequence([i], 100, 4));
        var prompt = new Sequence(Enumerable.Range(0, 20).ToArray(), 30, 4);
        scheduler.Enqueue(prompt);
        for (int step = 0; prompt.Pending > 1; step++)
        {
            Assert.True(step < 20);
            scheduler.Plan(1);
            Assert.Equal(4, scheduler.Planned.Count);
            foreach (Sequence s in scheduler.Planned)
            {
                s.Computed += s.StepRows;
                if (s != prompt) s.Append(1);
            }
        }
    }

    [Fact]
    public void PromptsAreCutAtBlocks_AndTheRestIsItsOwnPart()
    {
        var cache = new KvCache(new TokenStorage(4, 30), true);
        var scheduler = new Scheduler(cache, 2, 64, 64);
        Sequence s = new(Enumerable.Range(0, 43).ToArray(), 60, 4), other = new([1], 60, 4);
        scheduler.Enqueue(s);
        scheduler.Enqueue(other);
        var parts = new List<int>();
        while (s.Computed < 43)
        {
            scheduler.Plan(19);
            parts.Add(s.StepRows);
            s.Computed += s.StepRows;
            other.Computed++;
            other.Append(1);
        }
        Assert.Equal([16, 16, 8, 3], parts);
    }

    /// <summary>Alone, a prompt is cut at the same places whatever time there is: at multiples of half blocks, or of a part of a block where that is all that a step may hold.</summary>
    [Theory]
    [InlineData(21, 1, new[] { 20, 20, 4, 3 })]
    [InlineData(21, 19, new[] { 20, 20, 4, 3 })]
    [InlineData(21, 1000, new[] { 20, 20, 4, 3 })]
    [InlineData(15, 1000, new[] { 14, 14, 14, 4, 1 })]
    [InlineData(3, 1, new[] { 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1 })]
    public void APromptThatIsAlone_IsCutWhereNoClockMovesIt(int aloneTokens, int promptTokens, int[] parts)
    {
        var cache = new KvCache(new TokenStorage(4, 30), true);
        var scheduler = new Scheduler(cache, 2, 64, aloneTokens);
        var s = new Sequence(Enumerable.Range(0, 47).ToArray(), 60, 4);
        scheduler.Enqueue(s);
        var seen = new List<int>();
        while (s.Computed < 47)
        {
            scheduler.Plan(promptTokens);
            seen.Add(s.StepRows);
            s.Computed += s.StepRows;
        }
        Assert.Equal(parts, seen);
    }
}
