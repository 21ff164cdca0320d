using System.Threading.Tasks.Sources;

namespace DeepSeek.Generation;

/// <summary>
/// Wakes a request's consumer: the engine publishes how many tokens there are, the consumer waits for more than it has seen. One consumer, one producer; publishing allocates nothing, and
/// continuations run on the thread pool.
/// </summary>
internal sealed class TokenFeed : IValueTaskSource, IThreadPoolWorkItem
{
    private readonly Lock gate = new();
    private ManualResetValueTaskSourceCore<bool> source;
    private int published;
    private bool ended, waiting;

    /// <summary>Waits until more than <paramref name="seen"/> are published, or the end.</summary>
    public ValueTask WaitAsync(int seen)
    {
        lock (gate)
        {
            if (published > seen || ended) return ValueTask.CompletedTask;
            source.Reset();
            waiting = true;
            return new ValueTask(this, source.Version);
        }
    }

    /// <summary>How many there are, and whether no more will come.</summary>
    public (int Published, bool Ended) Read()
    {
        lock (gate) return (published, ended);
    }

    /// <summary>There are that many now.</summary>
    public void Publish(int count) => Change(count, false);

    /// <summary>There are that many, and there will be no more.</summary>
    public void End(int count) => Change(count, true);

    private void Change(int count, bool end)
    {
        bool wake;
        lock (gate)
        {
            published = count;
            ended = end;
            wake = waiting;
            waiting = false;
        }
        if (wake) ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
    }

    void IThreadPoolWorkItem.Execute() => source.SetResult(true);

    void IValueTaskSource.GetResult(short token) => source.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => source.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags)
        => source.OnCompleted(continuation, state, token, flags);
}
