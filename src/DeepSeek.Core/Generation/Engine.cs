using DeepSeek.Backends;
using DeepSeek.Caching;
using DeepSeek.Models;

namespace DeepSeek.Generation;

/// <summary>What an engine needs to know beside its model.</summary>
/// <param name="Entries">Logits beyond these stand for no token.</param>
/// <param name="MaxSequences">Sequences that run at the same time.</param>
/// <param name="MaxQueuedRequests">Requests that may wait.</param>
/// <param name="MaxStepTokens">Tokens of a step.</param>
/// <param name="ContextLength">Longest sequence.</param>
/// <param name="PrefixCaching">Whether prefixes are shared.</param>
/// <param name="Parameters">Parameters of the model, for a first guess at its speed.</param>
/// <param name="Speculation">When tokens are drafted.</param>
/// <param name="Clock">Measures steps.</param>
internal sealed record EngineSettings(int Entries, int MaxSequences, int MaxQueuedRequests, int MaxStepTokens, int ContextLength, bool PrefixCaching, long Parameters, Speculation Speculation,
    TimeProvider Clock)
{
    /// <summary>Tokens of a step in which nobody else takes part; see <see cref="Pace.Alone"/>.</summary>
    public int AloneTokens { get; init; } = int.MaxValue;
}

/// <summary>
/// One thread that serves all requests: admit, batch, forward, sample, publish, again. Any thread submits and cancels; the engine's thread alone touches model, cache and sequences. Where
/// nothing is to be done it waits and costs nothing. An exception inside a step ends the requests of that step and leaves the engine usable.
/// </summary>
internal sealed class Engine : IDisposable
{
    private readonly EngineSettings settings;
    private readonly Scheduler scheduler;
    private readonly StepRunner runner;
    private readonly Pace pace;
    private readonly KvCache cache;
    private readonly object gate = new();
    private readonly List<Request> incoming = [];
    private readonly Queue<Action<KvCache>> commands = [];
    private readonly List<Sequence> ending = [];

    /// <summary>Requests that wait for their leader's prompt.</summary>
    private readonly List<GenerationRequest> followers = [];
    private readonly Thread thread;
    private StepResult total;
    private long steps, cached, allocatedBytes, finished, wakings;
    private int queued;
    private bool woken, cancellations, disposed;

    /// <param name="model">The model; the caller owns it.</param>
    /// <param name="backend">Where it runs; the caller owns it.</param>
    /// <param name="storage">The cache's bytes; the caller owns them.</param>
    /// <param name="settings">Limits.</param>
    public Engine(Model model, Backend backend, CacheStorage storage, EngineSettings settings)
    {
        this.settings = settings;
        cache = new KvCache(storage, settings.PrefixCaching);
        scheduler = new Scheduler(cache, settings.MaxSequences, settings.MaxStepTokens, settings.AloneTokens);
        pace = new Pace(settings.Clock, settings.Parameters);
        runner = new StepRunner(model, backend, cache, settings) { IsAbandoned = IsAbandoned };
        thread = new Thread(Run) { IsBackground = true, Name = "DeepSeek engine" };
        thread.Start();
    }

    public EngineSettings Settings => settings;

    public int BlockTokens => cache.BlockTokens;

    /// <summary>A snapshot.</summary>
    public EngineStatistics Statistics
    {
        get
        {
            lock (gate)
                return new EngineStatistics
                {
                    Steps = steps, PromptTokens = total.PromptTokens, CachedTokens = cached, GeneratedTokens = total.GeneratedTokens, DraftedTokens = total.DraftedTokens,
                    AcceptedTokens = total.AcceptedTokens, FinishedRequests = finished, Preemptions = scheduler.Preemptions, AllocatedBytes = allocatedBytes,
                    RunningSequences = scheduler.Running.Count, QueuedRequests = queued, UsedCacheBlocks = cache.HeldCount, CacheBlocks = cache.BlockCount,
                };
        }
    }

    /// <summary>Times that the engine's thread went on after it had nothing to do: none while nobody calls.</summary>
    public long Wakings => Volatile.Read(ref wakings);

    /// <summary>Whether generated text can be drafted by the model's own module.</summary>
    public bool DraftsByModule => runner.DraftsByModule;

    /// <summary>Hands over a request, with its followers.</summary>
    /// <exception cref="EngineBusyException">Too many wait already.</exception>
    /// <exception cref="ObjectDisposedException">The engine is gone.</exception>
    public void Submit(Request request)
    {
        request.SubmittedAt = settings.Clock.GetTimestamp();
        IReadOnlyList<GenerationRequest> others = (request as GenerationRequest)?.Followers ?? [];
        foreach (GenerationRequest other in others) other.SubmittedAt = request.SubmittedAt;
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(disposed, typeof(LanguageModel));
            if (queued + others.Count >= settings.MaxQueuedRequests + settings.MaxSequences - scheduler.Running.Count)
                throw new EngineBusyException($"{queued} requests wait already, the limit is {settings.MaxQueuedRequests}. Try again later, or load the model with a larger {nameof(LanguageModelOptions.MaxQueuedRequests)}.");
            queued += 1 + others.Count;
            incoming.Add(request);
            Wake();
        }
    }

    /// <summary>Ends a request within the present step, or within its present layer where nobody else takes part; nothing happens where it has ended.</summary>
    public void Cancel(Request request)
    {
        request.MarkCancelled();
        lock (gate)
        {
            if (disposed) return;
            cancellations = true;
            Wake();
        }
    }

    /// <summary>Runs something on the engine's thread between two steps.</summary>
    /// <exception cref="ObjectDisposedException">The engine is gone.</exception>
    public Task<T> InvokeAsync<T>(Func<KvCache, T> command)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(disposed, typeof(LanguageModel));
            commands.Enqueue(c =>
            {
                try { done.SetResult(command(c)); }
                catch (Exception e) { done.SetException(e); }
            });
            Wake();
        }
        return done.Task;
    }

    /// <summary>Ends all requests as cancelled, waits for the step that runs, and for the thread.</summary>
    public void Dispose()
    {
        lock (gate)
        {
            if (disposed) return;
            disposed = true;
            Wake();
        }
        thread.Join();
    }

    /// <summary>Under the gate.</summary>
    private void Wake()
    {
        woken = true;
        Monitor.Pulse(gate);
    }

    private void Run()
    {
        while (Receive())
        {
            try
            {
                if (Step()) continue;
                lock (gate)
                    while (!woken) Monitor.Wait(gate);
                wakings++;
            }
            catch (Exception e) // a fault between steps: nothing that runs can be trusted any more, everything that comes can
            {
                EndAll(scheduler.Running, new ModelException($"The engine failed: {e.Message}", e));
                EndAll(scheduler.Waiting, new ModelException($"The engine failed: {e.Message}", e));
            }
        }
        EndAll(scheduler.Running, new OperationCanceledException("The model was disposed."));
        foreach (Request request in incoming)
        {
            request.End(new OperationCanceledException("The model was disposed."));
            foreach (GenerationRequest follower in (request as GenerationRequest)?.Followers ?? []) follower.End(new OperationCanceledException("The model was disposed."));
        }
        while (scheduler.Waiting.Count > 0) End(scheduler.Waiting[0], new OperationCanceledException("The model was disposed.")); // a leader's end lets its followers wait for themselves
        while (commands.TryDequeue(out Action<KvCache>? command)) command(cache);
    }

    /// <summary>Takes what other threads have handed over. False: time to go.</summary>
    private bool Receive()
    {
        while (true)
        {
            Action<KvCache>? command;
            lock (gate)
            {
                woken = false;
                if (disposed) return false;
                foreach (Request request in incoming)
                {
                    scheduler.Enqueue(request.Sequence);
                    if (request is GenerationRequest leader) followers.AddRange(leader.Followers);
                }
                incoming.Clear();
                if (cancellations)
                {
                    cancellations = false;
                    foreach (Sequence s in scheduler.Running) if (s.Request!.IsCancelled) ending.Add(s);
                    foreach (Sequence s in scheduler.Waiting) if (s.Request!.IsCancelled) ending.Add(s);
                    foreach (GenerationRequest f in followers) if (f.IsCancelled) ending.Add(f.Sequence);
                }
                commands.TryDequeue(out command);
            }
            foreach (Sequence s in ending) End(s, new OperationCanceledException());
            ending.Clear();
            if (command is null) return true;
            command(cache);
        }
    }

    /// <summary>Whether all that the step works for was cancelled: the engine's thread asks between layers, so that a long step does not hold up the end.</summary>
    private bool IsAbandoned()
    {
        if (Volatile.Read(ref disposed)) return true;
        for (int i = 0; i < scheduler.Planned.Count; i++)
            if (!scheduler.Planned[i].Request!.IsCancelled) return false;
        return true;
    }

    /// <summary>False: nothing can be done now.</summary>
    private bool Step()
    {
        long allocated = GC.GetAllocatedBytesForCurrentThread(), started = pace.Now;
        scheduler.Plan(pace.Tokens);
        CountQueue();
        if (scheduler.Planned.Count == 0) return false;
        StepResult result;
        try
        {
            result = runner.Run(scheduler.Planned);
        }
        catch (StepAbandonedException)
        {
            return true; // its sequences are where they were, and end as what they asked for is received
        }
        catch (Exception e)
        {
            ModelException error = e as ModelException ?? (e is OutOfMemoryException
                ? new ModelMemoryException("A step ran out of memory. Use a smaller MaxStepTokens, CacheBytes or MaxSequences.", e)
                : new ModelException($"A step failed: {e.Message}", e));
            EndAll(scheduler.Planned, error);
            return true;
        }
        double seconds = pace.Since(started);
        pace.Observe(result.Rows, seconds);
        runner.Observe(seconds);
        allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
        for (int i = scheduler.Planned.Count - 1; i >= 0; i--)
        {
            Sequence s = scheduler.Planned[i];
            if (s.Request is GenerationRequest { Followers.Count: > 0, PromptLogits: not null } leader && s.Computed >= s.PromptLength) Fork(leader);
            s.Request!.Publish();
            if (runner.Outcome(i, out Exception? error)) End(s, error);
        }
        lock (gate)
        {
            steps++;
            total = total.Plus(result);
            allocatedBytes += allocated;
        }
        return true;
    }

    /// <summary>
    /// A prompt is computed: its followers hold its blocks and draw from its logits. Where there is no place for them now, or a draft module's rows are each sequence's own, they queue, and
    /// find the prompt's whole blocks.
    /// </summary>
    private void Fork(GenerationRequest leader)
    {
        foreach (GenerationRequest f in leader.Followers)
        {
            if (!followers.Remove(f)) continue;
            if (leader.Sequence.DraftsByModule || !scheduler.TryFork(leader.Sequence, f.Sequence))
            {
                scheduler.Enqueue(f.Sequence);
                continue;
            }
            f.AdmittedAt = settings.Clock.GetTimestamp();
            cached += f.Sequence.CachedTokens;
            Exception? error = null;
            bool done = false;
            try { done = runner.DrawFirst(f, leader.PromptLogits!); }
            catch (ModelException e) { error = e; }
            f.Publish();
            if (done || error is not null) End(f.Sequence, error);
        }
    }

    /// <summary>Notes when sequences are admitted, and how many wait.</summary>
    private void CountQueue()
    {
        for (int i = 0; i < scheduler.Planned.Count; i++) // an enumerator of an interface would be garbage in every step
        {
            Sequence s = scheduler.Planned[i];
            if (s.Request!.AdmittedAt != 0) continue;
            s.Request.AdmittedAt = settings.Clock.GetTimestamp();
            cached += s.CachedTokens;
        }
        lock (gate) queued = Incoming() + scheduler.Waiting.Count + followers.Count;
    }

    /// <summary>Under the gate.</summary>
    private int Incoming()
    {
        int count = incoming.Count;
        foreach (Request request in incoming) count += (request as GenerationRequest)?.Followers.Count ?? 0;
        return count;
    }

    private void EndAll(IReadOnlyList<Sequence> sequences, Exception error)
    {
        for (int i = sequences.Count - 1; i >= 0; i--) End(sequences[i], error);
    }

    private void End(Sequence s, Exception? error)
    {
        scheduler.Remove(s);
        finished++;
        var request = s.Request as GenerationRequest;
        if (request is not null) followers.Remove(request);
        foreach (GenerationRequest f in request?.Followers ?? [])
            if (followers.Remove(f)) scheduler.Enqueue(f.Sequence); // its leader ended before its prompt was computed: it goes by itself
        s.Request!.End(error);
    }
}
