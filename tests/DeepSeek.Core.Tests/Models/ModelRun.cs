using DeepSeek.Backends;
using DeepSeek.Formats;
using DeepSeek.Models;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Models;

/// <summary>Runs a model without an engine: sequences with block tables that are handed out in order, or shuffled.</summary>
internal sealed class ModelRun : IDisposable
{
    private const int MaxTokens = 2048, MaxSequences = 8;
    private readonly CacheStorage cache;
    private readonly StepLayout layout;
    private readonly Queue<int> free;
    private readonly Dictionary<int, List<int>> tables = [];
    private readonly Dictionary<int, int> lengths = [];
    private readonly long mark;

    public ModelRun(Checkpoint checkpoint, Backend backend, CacheFormat format = CacheFormat.F32, int blockTokens = 16, int? shuffle = null)
    {
        Backend = backend;
        Model = Architectures.Bind(new ModelSource(checkpoint, backend));
        int blocks = 2 * MaxTokens / blockTokens;
        cache = backend.CreateCache(Model.Streams, format, blockTokens, blocks);
        layout = new StepLayout(MaxTokens, MaxSequences, blocks, blockTokens);
        int[] order = [.. Enumerable.Range(0, blocks)];
        if (shuffle is { } seed) new Random(seed).Shuffle(order);
        free = new Queue<int>(order);
        mark = backend.Mark();
    }

    public Backend Backend { get; }

    public Model Model { get; }

    /// <summary>Hidden states of the last step, after the final norm. [T][D]</summary>
    public float[][] Hidden { get; private set; } = [];

    /// <summary>Appends tokens to sequences in one step and returns the logits of every row. [T][vocabulary]</summary>
    public float[][] Step(params (int Sequence, int[] Ids)[] parts)
    {
        layout.Clear();
        foreach ((int sequence, int[] ids) in parts)
        {
            int position = lengths.GetValueOrDefault(sequence);
            layout.Add(ids, position, Table(sequence, position + ids.Length), ids.Length);
            lengths[sequence] = position + ids.Length;
        }
        Tensor hidden = Model.Forward(layout, cache);
        Hidden = Rows(hidden);
        return Logits(hidden, Model.Logits);
    }

    /// <summary>Runs the draft module: hidden states of positions p − 1, the tokens behind them at positions p. Returns the logits of every row, and the module's hidden states.</summary>
    public (float[][] Logits, float[][] Hidden) Draft(int sequence, int position, float[][] hidden, int[] ids)
    {
        layout.Clear();
        layout.Add(ids, position, Table(sequence, position + ids.Length), ids.Length);
        Tensor before = Backend.Rent(ids.Length, Model.HiddenSize);
        Backend.Write(before, hidden.SelectMany(h => h).ToArray());
        Tensor result = Model.Draft(layout, before, cache);
        float[][] states = Rows(result);
        return (Logits(result, Model.DraftLogits), states);
    }

    /// <summary>Continues greedily behind the prompt, which is fed in one step.</summary>
    public int[] Greedy(int sequence, int[] ids, int count)
    {
        var tokens = new List<int>();
        for (int[] next = ids; tokens.Count < count; next = [tokens[^1]]) tokens.Add(ArgMax(Step((sequence, next))[^1]));
        return [.. tokens];
    }

    /// <summary>Shortens a sequence; what is behind is overwritten by its next step.</summary>
    public void Truncate(int sequence, int length) => lengths[sequence] = length;

    public void Dispose() => cache.Dispose();

    public static int ArgMax(float[] x) => Array.IndexOf(x, x.Max());

    private int[] Table(int sequence, int length)
    {
        if (!tables.TryGetValue(sequence, out List<int>? table)) tables[sequence] = table = [];
        while (table.Count * layout.BlockTokens < length) table.Add(free.Dequeue());
        return [.. table];
    }

    private delegate void Head(Tensor logits, Tensor hidden, ReadOnlySpan<int> rows);

    private float[][] Logits(Tensor hidden, Head head)
    {
        Tensor logits = Backend.Rent(layout.TokenCount, Model.VocabularySize);
        head(logits, hidden, layout.OutputRows);
        float[][] rows = Rows(logits);
        Backend.Release(mark);
        return rows;
    }

    private float[][] Rows(Tensor x)
    {
        var all = new float[x.Rows * x.Columns];
        Backend.Read(x, all);
        return [.. all.Chunk(x.Columns)];
    }
}
