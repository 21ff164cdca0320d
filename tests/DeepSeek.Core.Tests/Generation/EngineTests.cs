using DeepSeek.Generation;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Core.Tests.Generation;

public class EngineTests
{
    private static int[] Tokens(int count, int seed) => [.. Enumerable.Range(0, count).Select(i => (i * 31 + seed * 17 + i * i % 7) % FakeModel.Vocabulary)];

    /// <summary>Whatever runs beside it, whatever is cached, drafted, preempted or cancelled: a request's text is what the model says by itself.</summary>
    [Fact]
    public void EveryText_IsWhatTheModelSaysByItself()
        => Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed => { Run(seed).GetAwaiter().GetResult(); return true; }).Check(Config.QuickThrowOnFailure.WithMaxTest(60));

    private static async Task Run(int seed)
    {
        var random = new System.Random(seed);
        bool drafts = random.Next(2) == 0;
        int blockTokens = random.Next(2, 6), blocks = random.Next(16, 60), sequences = random.Next(1, 7);
        using var engine = new FakeEngine(blocks, blockTokens, sequences, Math.Max(sequences, random.Next(1, 40)), drafts: drafts, prefixes: random.Next(4) > 0, speculation: (Speculation)random.Next(3));
        var asked = new List<(GenerationRequest Request, int[] Prompt, SamplingSettings Sampling, int Count, bool Cancelled)>();
        for (int i = random.Next(3, 16); i > 0; i--)
        {
            int context = blocks * blockTokens, count = random.Next(1, context / 2);
            int[] prompt = [.. Tokens(random.Next(1, context / 3), random.Next(2)), random.Next(FakeModel.Vocabulary)];
            var sampling = new SamplingSettings
            {
                Temperature = random.Next(2) * (float)random.NextDouble(), TopP = random.Next(2) == 0 ? 1 : 0.8f, TopK = random.Next(2) * 10, Seed = (ulong)random.Next(),
                RepetitionPenalty = random.Next(3) == 0 ? 1.3f : 1, FrequencyPenalty = random.Next(3) == 0 ? 0.5f : 0,
            };
            bool cancelled = random.Next(8) == 0;
            GenerationRequest request = engine.Submit(prompt, count, sampling, random.Next(3) == 0 ? "other" : null, random.Next(3));
            asked.Add((request, prompt, sampling, Math.Min(count, context - prompt.Length), cancelled));
            if (cancelled) engine.Engine.Cancel(request);
            if (random.Next(4) == 0) await Task.Yield();
        }
        foreach (var a in asked)
        {
            try { Assert.Equal(FakeModel.Answer(a.Prompt, a.Sampling, a.Count), await FakeEngine.Finish(a.Request)); }
            catch (OperationCanceledException) { Assert.True(a.Cancelled); }
        }
        await engine.Engine.InvokeAsync(_ => 0);
        EngineStatistics s = engine.Engine.Statistics;
        Assert.Equal((0, 0, 0, asked.Count), (s.UsedCacheBlocks, s.RunningSequences, s.QueuedRequests, (int)s.FinishedRequests));
        Assert.Equal(0, engine.Model.BadDraftRows);
    }

    [Fact]
    public async Task APrefix_IsComputedOnce_AndItsTenantsAlone()
    {
        using var engine = new FakeEngine();
        int[] prompt = Tokens(41, 1);
        GenerationRequest first = engine.Submit(prompt, 5), second, other;
        int[] answer = await FakeEngine.Finish(first);
        Assert.Equal(0, first.Usage(5).CachedTokens);
        Assert.Equal(FakeModel.Answer([.. prompt, .. answer, 3], new SamplingSettings { Temperature = 0 }, 6), await FakeEngine.Finish(second = engine.Submit([.. prompt, .. answer, 3], 6)));
        Assert.Equal(44, second.Usage(6).CachedTokens); // eleven blocks of four; the answer's last token was never computed
        await FakeEngine.Finish(other = engine.Submit(prompt, 5, tenant: "other"));
        Assert.Equal(0, other.Usage(5).CachedTokens);
    }

    [Fact]
    public async Task ChoicesOfAPrompt_ShareItsBlocks_AndSayWhatTheyWouldSayAlone()
    {
        foreach ((bool drafts, int sequences) in new[] { (false, 5), (false, 2), (true, 5) })
        {
            using var engine = new FakeEngine(drafts: drafts, sequences: sequences, speculation: drafts ? Speculation.On : Speculation.Off);
            int[] prompt = Tokens(30, 1);
            SamplingSettings Sampling(int i) => new() { Temperature = 1.5f, Seed = (ulong)i };
            var settings = (int i) => new GenerationSettings(Sampling(i), 25, [], FakeModel.Vocabulary, null, engine.Settings.Speculation);
            GenerationRequest[] others = [.. Enumerable.Range(1, 3).Select(i => new GenerationRequest(prompt, settings(i), null, engine.Settings, engine.Engine.BlockTokens, engine.Engine.DraftsByModule))];
            var leader = new GenerationRequest(prompt, settings(0), null, engine.Settings, engine.Engine.BlockTokens, engine.Engine.DraftsByModule) { Followers = others };
            engine.Engine.Submit(leader);
            var said = new List<int[]> { await FakeEngine.Finish(leader) };
            foreach (GenerationRequest r in others) said.Add(await FakeEngine.Finish(r));
            for (int i = 0; i < 4; i++) Assert.Equal(FakeModel.Answer(prompt, Sampling(i), 25), said[i]);
            Assert.True(said.Select(a => string.Join(' ', a)).Distinct().Count() > 1);
            await engine.Engine.InvokeAsync(_ => 0);
            EngineStatistics s = engine.Engine.Statistics;
            Assert.Equal((0, 4L), (s.UsedCacheBlocks, s.FinishedRequests));
            if (sequences > 3 && !drafts) Assert.Equal((30L, 90L), (s.PromptTokens, s.CachedTokens)); // computed once
        }
    }

    [Fact]
    public async Task Followers_OutliveTheirLeader_AndEndWithTheEngine()
    {
        using var go = new SemaphoreSlim(0);
        using var reached = new SemaphoreSlim(0);
        var engine = new FakeEngine(stepTokens: 8, beforeForward: _ =>
        {
            reached.Release();
            go.Wait();
        });
        GenerationRequest follower = engine.New(Tokens(30, 1), 5), cancelled = engine.New(Tokens(30, 1), 5), leader = With([follower, cancelled], 30);
        engine.Engine.Submit(leader);
        await reached.WaitAsync();
        engine.Engine.Cancel(cancelled);
        engine.Engine.Cancel(leader);
        go.Release(20);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => FakeEngine.Finish(leader));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => FakeEngine.Finish(cancelled));
        Assert.Equal(FakeModel.Answer(Tokens(30, 1), new SamplingSettings { Temperature = 0 }, 5), await FakeEngine.Finish(follower));
        await engine.Engine.InvokeAsync(_ => 0);
        while (go.Wait(0) || reached.Wait(0)) { }
        GenerationRequest last = engine.New(Tokens(40, 1), 5), lastLeader = With([last], 40);
        engine.Engine.Submit(lastLeader);
        await reached.WaitAsync();
        Task disposing = await BeginDisposing(engine);
        go.Release(1000);
        await disposing;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => FakeEngine.Finish(last));

        GenerationRequest With(GenerationRequest[] followers, int length) => new(Tokens(length, 1), new GenerationSettings(new SamplingSettings { Temperature = 0 }, 5, [], FakeModel.Vocabulary, null, Speculation.Off),
            null, engine.Settings, engine.Engine.BlockTokens, false) { Followers = followers };
    }

    [Fact]
    public async Task Drafts_AreAccepted_AndSaveSteps()
    {
        using var engine = new FakeEngine(drafts: true, speculation: Speculation.On);
        GenerationRequest request = engine.Submit(Tokens(9, 3), 60);
        await FakeEngine.Finish(request);
        GenerationUsage usage = request.Usage(60);
        Assert.InRange(usage.AcceptedTokens, 10, usage.DraftedTokens);
        await engine.Engine.InvokeAsync(_ => 0);
        Assert.True(engine.Engine.Statistics.Steps < 60 - usage.AcceptedTokens + 6);
    }

    /// <summary>What a draft brings is what it costs: where rows are dear, drafting stops; the text is the same, and so it is where the clock tells nonsense.</summary>
    [Theory]
    [InlineData(true, 1)]
    [InlineData(true, 11)]
    [InlineData(false, 1)]
    [InlineData(false, 11)]
    public async Task DraftingStops_WhereItDoesNotPay_ByTheClock(bool module, int rowMilliseconds)
    {
        var clock = new ManualClock();
        // A step takes 10 ms, and what each row behind the first one of its sequence costs.
        using var engine = new FakeEngine(blocks: 400, blockTokens: 8, drafts: module, speculation: Speculation.Auto, clock: clock,
            beforeForward: step => clock.Advance(10 + rowMilliseconds * (step.TokenCount - step.Sequences.Length)));
        // Without a module text has to repeat itself, as hashes do not by themselves.
        int[] prompt = Tokens(9, 3);
        SamplingSettings sampling = new() { Temperature = 0, LogitBias = module ? [] : [(7, 1000)] };
        GenerationRequest request = engine.Submit(prompt, 400, sampling);
        Assert.Equal(FakeModel.Answer(prompt, sampling, 400), await FakeEngine.Finish(request));
        GenerationUsage usage = request.Usage(400);
        await engine.Engine.InvokeAsync(_ => 0);
        long steps = engine.Engine.Statistics.Steps;
        if (rowMilliseconds == 1) Assert.True(usage.AcceptedTokens > 150 && steps < 260, $"{usage.AcceptedTokens} accepted, {steps} steps");
        else Assert.True(usage.DraftedTokens < 60, $"{usage.DraftedTokens} drafted, {usage.AcceptedTokens} accepted");
    }

    [Fact]
    public async Task CancellingInAPrompt_TakesEffectWithinTheStep()
    {
        using var reached = new SemaphoreSlim(0);
        using var go = new SemaphoreSlim(0);
        using var engine = new FakeEngine(blocks: 100, stepTokens: 8, beforeForward: _ =>
        {
            reached.Release();
            go.Wait();
        });
        GenerationRequest request = engine.Submit(Tokens(300, 1), 10);
        await reached.WaitAsync();
        go.Release();
        await reached.WaitAsync(); // in the second of some forty steps
        engine.Engine.Cancel(request);
        go.Release(100);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => FakeEngine.Finish(request));
        await engine.Engine.InvokeAsync(_ => 0);
        Assert.Equal((2, 0), ((int)engine.Engine.Statistics.Steps, engine.Engine.Statistics.UsedCacheBlocks));
        await FakeEngine.Finish(engine.Submit(Tokens(20, 2), 3));
    }

    [Fact]
    public async Task AFaultInAStep_EndsItsRequests_AndLeavesTheEngineUsable()
    {
        bool broken = true;
        using var engine = new FakeEngine(beforeForward: step =>
        {
            if (broken && step.TokenCount > 0 && step.Positions[0] > 20) throw new InvalidOperationException("a kernel fell over");
        });
        GenerationRequest a = engine.Submit(Tokens(10, 1), 40), b = engine.Submit(Tokens(15, 2), 40);
        foreach (GenerationRequest r in new[] { a, b })
        {
            var e = await Assert.ThrowsAsync<ModelException>(() => FakeEngine.Finish(r));
            Assert.Contains("a kernel fell over", e.Message, StringComparison.Ordinal);
            Assert.IsType<InvalidOperationException>(e.InnerException);
        }
        broken = false;
        int[] prompt = Tokens(10, 1);
        Assert.Equal(FakeModel.Answer(prompt, new SamplingSettings { Temperature = 0 }, 40), await FakeEngine.Finish(engine.Submit(prompt, 40)));
        await engine.Engine.InvokeAsync(_ => 0);
        Assert.Equal(0, engine.Engine.Statistics.UsedCacheBlocks);
    }

    [Fact]
    public async Task AFaultInACallback_EndsThatRequestOnly()
    {
        using var engine = new FakeEngine();
        int[] prompt = Tokens(30, 1);
        var scoring = new ScoringRequest(prompt, true, int.MaxValue, engine.Settings, engine.Engine.BlockTokens, (i, _) =>
        {
            if (i == 20) throw new FormatException("the callback's own fault");
        });
        GenerationRequest other = engine.Submit(Tokens(5, 3), 30);
        engine.Engine.Submit(scoring);
        var e = await Assert.ThrowsAsync<ModelException>(() => scoring.Completion);
        Assert.IsType<FormatException>(e.InnerException);
        Assert.Equal(FakeModel.Answer(Tokens(5, 3), new SamplingSettings { Temperature = 0 }, 30), await FakeEngine.Finish(other));
    }

    /// <summary>Steps that throw, callbacks that throw, a cache that is too small, cancelling, disposal in the middle: each request ends once, and those that were spared say what they would have said.</summary>
    [Fact]
    public void WhateverFails_EachRequestEndsOnce_AndTheOthersAreUnharmed()
        => Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed => { RunWithFaults(seed).GetAwaiter().GetResult(); return true; }).Check(Config.QuickThrowOnFailure.WithMaxTest(60));

    private static async Task RunWithFaults(int seed)
    {
        System.Random random = new(seed), faults = new(seed + 1);
        bool disposed = random.Next(3) == 0;
        int blocks = random.Next(8, 40);
        var engine = new FakeEngine(blocks, 4, random.Next(1, 5), 16, drafts: random.Next(2) == 0, speculation: Speculation.On,
            beforeForward: _ => { if (faults.Next(25) == 0) throw new InvalidOperationException("injected"); });
        var asked = new List<(Request Request, Task<int[]> End, int[] Prompt, int Count)>();
        for (int i = random.Next(4, 14); i > 0; i--)
        {
            int[] prompt = Tokens(random.Next(1, blocks * 2), random.Next(3));
            if (random.Next(4) == 0)
            {
                int bad = random.Next(2 * prompt.Length);
                var scoring = new ScoringRequest(prompt, true, int.MaxValue, engine.Settings, engine.Engine.BlockTokens, (at, _) => { if (at == bad) throw new FormatException("injected"); });
                engine.Engine.Submit(scoring);
                asked.Add((scoring, scoring.Completion.ContinueWith(t => t.IsCompletedSuccessfully ? bad < prompt.Length ? throw new InvalidOperationException("the fault was swallowed") : Array.Empty<int>()
                    : t.IsCanceled ? throw new OperationCanceledException() : throw t.Exception!.InnerException!, TaskScheduler.Default), [], 0));
            }
            else
            {
                GenerationRequest r = engine.Submit(prompt, random.Next(1, blocks * 2));
                asked.Add((r, FakeEngine.Finish(r), prompt, Math.Min(r.Sequence.Capacity, blocks * 4) - prompt.Length));
            }
            if (random.Next(8) == 0) engine.Engine.Cancel(asked[^1].Request);
        }
        if (disposed) engine.Dispose();
        foreach ((Request request, Task<int[]> end, int[] prompt, int count) in asked)
        {
            try
            {
                int[] answer = await end.WaitAsync(TimeSpan.FromSeconds(60));
                if (prompt.Length > 0) Assert.Equal(FakeModel.Answer(prompt, new SamplingSettings { Temperature = 0 }, count), answer);
            }
            catch (ModelException e) { Assert.Contains("injected", e.Message, StringComparison.Ordinal); }
            catch (OperationCanceledException) { Assert.True(request.IsCancelled || disposed); }
            Assert.False(request.End(null)); // it has ended
        }
        if (!disposed) await engine.Engine.InvokeAsync(_ => 0);
        EngineStatistics s = engine.Engine.Statistics;
        Assert.Equal((0, 0), (s.RunningSequences, s.UsedCacheBlocks));
        if (!disposed) Assert.Equal((0, asked.Count), (s.QueuedRequests, (int)s.FinishedRequests));
        engine.Dispose();
    }

    /// <summary>Where nothing is to be done, the engine's thread waits in the kernel: it is not woken once.</summary>
    [Fact]
    public async Task IdleCostsNothing()
    {
        using var engine = new FakeEngine();
        await FakeEngine.Finish(engine.Submit(Tokens(9, 1), 20));
        await engine.Engine.InvokeAsync(_ => 0);
        long wakings = engine.Engine.Wakings;
        await Task.Delay(100);
        Assert.Equal(wakings, engine.Engine.Wakings);
        await FakeEngine.Finish(engine.Submit(Tokens(9, 2), 20));
        Assert.True(engine.Engine.Wakings > wakings);
    }

    [Fact]
    public async Task AFullQueue_Refuses_AndRecovers()
    {
        using var go = new SemaphoreSlim(0);
        using var reached = new SemaphoreSlim(0);
        using var engine = new FakeEngine(sequences: 1, queue: 3, beforeForward: _ =>
        {
            reached.Release();
            go.Wait();
        });
        var accepted = new List<GenerationRequest> { engine.Submit([1, 2], 2) };
        await reached.WaitAsync();
        for (int i = 0; i < 3; i++) accepted.Add(engine.Submit([1, 2, i], 2));
        Assert.Contains("limit is 3", Assert.Throws<EngineBusyException>(() => engine.Submit([4], 1)).Message, StringComparison.Ordinal);
        go.Release(1000);
        foreach (GenerationRequest r in accepted) Assert.Equal(2, (await FakeEngine.Finish(r)).Length);
        await FakeEngine.Finish(engine.Submit([4], 1));
    }

    [Fact]
    public async Task Disposing_EndsEveryRequestOnce()
    {
        using var go = new SemaphoreSlim(0);
        using var reached = new SemaphoreSlim(0);
        var engine = new FakeEngine(sequences: 2, beforeForward: _ =>
        {
            reached.Release();
            go.Wait();
        });
        GenerationRequest[] requests = [.. Enumerable.Range(0, 6).Select(i => engine.Submit(Tokens(5, i), 100))];
        await reached.WaitAsync();
        Task disposing = await BeginDisposing(engine);
        go.Release(1000);
        await disposing;
        foreach (GenerationRequest r in requests)
        {
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => FakeEngine.Finish(r));
            Assert.False(r.End(null));
        }
        Assert.Throws<ObjectDisposedException>(() => engine.Submit([1], 1));
    }

    /// <summary>Disposal has begun when this returns: it goes on when the step that runs has ended.</summary>
    private static async Task<Task> BeginDisposing(FakeEngine engine)
    {
        Task disposing = Task.Run(engine.Dispose);
        while (true)
        {
            try { _ = engine.Engine.InvokeAsync(_ => 0); }
            catch (ObjectDisposedException) { return disposing; }
            await Task.Delay(1);
        }
    }

    [Fact]
    public void TheContextIsHonest()
    {
        using var engine = new FakeEngine(context: 30);
        var e = Assert.Throws<ContextLengthException>(() => engine.New(Tokens(30, 1), 5));
        Assert.Equal((30, 30), (e.PromptTokens, e.ContextLength));
        Assert.Throws<InvalidOptionException>(() => engine.New([], 5));
    }

    [Fact]
    public async Task TheContextsEnd_IsALengthStop()
    {
        using var engine = new FakeEngine(context: 30);
        GenerationRequest r = engine.Submit(Tokens(25, 1), 100);
        Assert.Equal(5, (await FakeEngine.Finish(r)).Length);
        Assert.Equal(FinishReason.Length, r.FinishReason);
    }

    [Fact]
    public async Task AnEndToken_EndsTheAnswer_ItselfIncluded()
    {
        int[] prompt = Tokens(8, 5), free = FakeModel.Answer(prompt, new SamplingSettings { Temperature = 0 }, 30);
        int at = Array.FindIndex(free, 10, t => Array.IndexOf(free, t) >= 10);
        foreach (Speculation speculation in new[] { Speculation.Off, Speculation.On })
        {
            using var engine = new FakeEngine(drafts: true, speculation: speculation);
            GenerationRequest r = engine.New(prompt, 30, ends: [free[at]]);
            engine.Engine.Submit(r);
            Assert.Equal(free[..(at + 1)], await FakeEngine.Finish(r));
            Assert.Equal(FinishReason.Stop, r.FinishReason);
        }
    }

    [Fact]
    public async Task LogProbabilities_AreOfTheModel_BeforeSettings()
    {
        using var engine = new FakeEngine();
        int[] prompt = Tokens(8, 5);
        GenerationRequest r = engine.New(prompt, 4, new SamplingSettings { Temperature = 0.5f, TopK = 3, Seed = 4, LogitBias = [(7, 50)] }, logProbabilities: 3);
        engine.Engine.Submit(r);
        int[] answer = await FakeEngine.Finish(r);
        Assert.Equal([7, 7, 7, 7], answer);
        float[]? row = null;
        var scoring = new ScoringRequest(prompt, false, int.MaxValue, engine.Settings, engine.Engine.BlockTokens, (_, logits) => row = logits.ToArray());
        engine.Engine.Submit(scoring);
        await scoring.Completion;
        double sum = Math.Log(row!.Sum(x => Math.Exp(x)));
        GeneratedToken token = r.LogProbabilities![0, 7];
        Assert.Equal(row![7] - sum, token.LogProbability!.Value, 1e-4);
        Assert.Equal(row.Select((x, i) => (x, i)).OrderByDescending(p => p.x).ThenBy(p => p.i).Take(3).Select(p => p.i), token.Alternatives.Select(a => a.Id));
        Assert.Equal(row.Max() - sum, token.Alternatives[0].LogProbability, 1e-4);
    }

    [Fact]
    public async Task AStep_AllocatesNothing()
    {
        using var engine = new FakeEngine(blocks: 400, drafts: true, speculation: Speculation.On, sequences: 3, stepTokens: 16);
        var sampling = new SamplingSettings { Temperature = 0.7f, TopK = 20, TopP = 0.9f, RepetitionPenalty = 1.1f, Seed = 1 };
        async Task Run(int seed)
        {
            GenerationRequest[] requests = [.. Enumerable.Range(0, 3).Select(i => engine.Submit(Tokens(20 + i, seed + i), 120, sampling))];
            foreach (GenerationRequest r in requests) await FakeEngine.Finish(r);
            await engine.Engine.InvokeAsync(_ => 0);
        }
        long least = long.MaxValue;
        for (int round = 0; round < 20 && least > 0; round++) // the runtime itself allocates while it compiles: one round without is what counts
        {
            EngineStatistics before = engine.Engine.Statistics;
            await Run(10 * round);
            EngineStatistics after = engine.Engine.Statistics;
            Assert.Equal(360, after.GeneratedTokens - before.GeneratedTokens);
            least = Math.Min(least, after.AllocatedBytes - before.AllocatedBytes);
        }
        Assert.Equal(0, least);
    }

    [Fact]
    public async Task AStep_PlansAQuarterOfASecond()
    {
        // The clock goes a millisecond for every row of a step. There are two prompts: one that is alone asks no clock.
        var clock = new ManualClock();
        using var backend = new DeepSeek.Backends.ReferenceBackend();
        var model = new FakeModel(backend, false) { BeforeForward = step => clock.Advance(step.TokenCount) };
        using DeepSeek.Backends.CacheStorage storage = backend.CreateCache(model.Streams, DeepSeek.Backends.CacheFormat.F32, 32, 200);
        var settings = new EngineSettings(FakeModel.Vocabulary, 2, 8, 4096, 6000, true, 1_000_000_000, Speculation.Off, clock) { AloneTokens = 200 };
        using var engine = new Engine(model, backend, storage, settings);
        GenerationRequest[] requests = [.. Enumerable.Range(1, 2).Select(i => new GenerationRequest(Tokens(3000, i), new GenerationSettings(new SamplingSettings { Temperature = 0 }, 1, [], FakeModel.Vocabulary, null, Speculation.Off), null, settings, 32, false))];
        foreach (GenerationRequest request in requests) engine.Submit(request);
        foreach (GenerationRequest request in requests) await FakeEngine.Finish(request);
        Assert.InRange(model.LargestStep, 100, 250);
    }

    [Fact]
    public async Task AStepThatNobodyWants_EndsInFrontOfTheNextLayer_AndAnotherRequestGoesOn()
    {
        using var backend = new DeepSeek.Backends.ReferenceBackend();
        var model = new FakeModel(backend, false);
        using DeepSeek.Backends.CacheStorage storage = backend.CreateCache(model.Streams, DeepSeek.Backends.CacheFormat.F32, 32, 200);
        var settings = new EngineSettings(FakeModel.Vocabulary, 2, 512, 4096, 6000, true, 1_000_000_000, Speculation.Off, TimeProvider.System);
        using var engine = new Engine(model, backend, storage, settings);
        GenerationRequest Ask(int seed) => new(Tokens(300, seed), new GenerationSettings(new SamplingSettings { Temperature = 0 }, 4, [], FakeModel.Vocabulary, null, Speculation.Off), null, settings, 32, false);
        GenerationRequest unwanted = Ask(1), wanted = Ask(2), again = Ask(1);
        int layers = 0, steps = 0;
        model.BeforeForward = step =>
        {
            steps++;
            step.Checkpoint();
            layers++;
            if (steps > 1) return;
            engine.Cancel(unwanted);
            step.Checkpoint();
            layers++;
        };
        engine.Submit(unwanted);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => FakeEngine.Finish(unwanted));
        Assert.Equal((1, 1), (steps, layers));
        // Nothing of the step counts: the same prompt finds no prefix, and says what it says elsewhere.
        engine.Submit(wanted);
        await FakeEngine.Finish(wanted);
        engine.Submit(again);
        int[] answer = await FakeEngine.Finish(again);
        Assert.Equal(0, again.Sequence.CachedTokens);
        Assert.Equal(FakeModel.Answer(Tokens(300, 1), new SamplingSettings { Temperature = 0 }, 4), answer);
    }
}
