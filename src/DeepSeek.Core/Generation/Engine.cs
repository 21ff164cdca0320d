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
    TimeProvider Clock);

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
    private readonly Thread thread;
    private StepResult total;
    private long steps, cached, allocatedBytes, finished;
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
        scheduler = new Scheduler(cache, settings.MaxSequences, settings.MaxStepTokens);
        pace = new Pace(settings.Clock, settings.Parameters);
        runner = new StepRunner(model, backend, cache, settings);
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

    /// <summary>Whether generated text can be drafted by the model's own module.</summary>
    public bool DraftsByModule => runner.DraftsByModule;

    /// <summary>Hands over a request.</summary>
    /// <exception cref="EngineBusyException">Too many wait already.</exception>
    /// <exception cref="ObjectDisposedException">The engine is gone.</exception>
    public void Submit(Request request)
    {
        request.SubmittedAt = settings.Clock.GetTimestamp();
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(disposed, typeof(LanguageModel));
            if (queued >= settings.MaxQueuedRequests + settings.MaxSequences - scheduler.Running.Count)
                throw new EngineBusyException($"{queued} requests wait already, the limit is {settings.MaxQueuedRequests}. Try again later, or load the model with a larger {nameof(LanguageModelOptions.MaxQueuedRequests)}.");
            queued++;
            incoming.Add(request);
            Wake();
        }
    }

    /// <summary>Ends a request within the present step; nothing happens where it has ended.</summary>
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
            }
            catch (Exception e) // a fault between steps: nothing that runs can be trusted any more, everything that comes can
            {
                EndAll(scheduler.Running, new ModelException($"The engine failed: {e.Message}", e));
                EndAll(scheduler.Waiting, new ModelException($"The engine failed: {e.Message}", e));
            }
        }
        EndAll(scheduler.Running, new OperationCanceledException("The model was disposed."));
        EndAll(scheduler.Waiting, new OperationCanceledException("The model was disposed."));
        foreach (Request request in incoming) request.End(new OperationCanceledException("The model was disposed."));
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
                foreach (Request request in incoming) scheduler.Enqueue(request.Sequence);
                incoming.Clear();
                if (cancellations)
                {
                    cancellations = false;
                    foreach (Sequence s in scheduler.Running) if (s.Request!.IsCancelled) ending.Add(s);
                    foreach (Sequence s in scheduler.Waiting) if (s.Request!.IsCancelled) ending.Add(s);
                }
                commands.TryDequeue(out command);
            }
            foreach (Sequence s in ending) End(s, new OperationCanceledException());
            ending.Clear();
            if (command is null) return true;
            command(cache);
        }
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
        catch (Exception e)
        {
            ModelException error = e as ModelException ?? (e is OutOfMemoryException
                ? new ModelMemoryException("A step ran out of memory. Use a smaller MaxStepTokens, CacheBytes or MaxSequences.", e)
                : new ModelException($"A step failed: {e.Message}", e));
            EndAll(scheduler.Planned, error);
            return true;
        }
        pace.Observe(result.Rows, started);
        allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
        for (int i = scheduler.Planned.Count - 1; i >= 0; i--)
        {
            Sequence s = scheduler.Planned[i];
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
        lock (gate) queued = incoming.Count + scheduler.Waiting.Count;
    }

    private void EndAll(IReadOnlyList<Sequence> sequences, Exception error)
    {
        for (int i = sequences.Count - 1; i >= 0; i--) End(sequences[i], error);
    }

    private void End(Sequence s, Exception? error)
    {
        scheduler.Remove(s);
        finished++;
        s.Request!.End(error);
    }
}
