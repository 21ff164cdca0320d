using DeepSeek.Backends;
using DeepSeek.Generation;
using DeepSeek.Models;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Generation;

/// <summary>
/// A model whose logits are a hash of all tokens that the cache holds for a sequence, and nothing else: a row of another sequence, a stale one or a missing one changes the text. Its draft
/// module knows the next hash three times out of four, and checks that its own stream is as complete as the model's.
/// </summary>
internal sealed class FakeModel(Backend backend, bool hasDrafts) : Model
{
    public const int Vocabulary = 40;

    private readonly float[] one = new float[1], hash = new float[3], logits = new float[Vocabulary];
    private bool isChained;

    /// <summary>Called at the beginning of each forward pass.</summary>
    public Action<StepLayout>? BeforeForward { get; set; }

    /// <summary>Rows of the draft module's stream that were not what they should be.</summary>
    public int BadDraftRows { get; private set; }

    /// <summary>Most rows of a step so far.</summary>
    public int LargestStep { get; private set; }

    public override int VocabularySize => Vocabulary;

    public override int HiddenSize => 3;

    public override int LayerCount => 1;

    public override int MaxPositions => 4096;

    public override int DraftModules => hasDrafts ? 1 : 0;

    public override IReadOnlyList<CacheStream> Streams { get; } = hasDrafts ? [new(0, "token", 1), new(1, "draft", 1)] : [new(0, "token", 1)];

    public override Tensor Forward(StepLayout step, CacheStorage cache)
    {
        BeforeForward?.Invoke(step);
        isChained = false;
        LargestStep = Math.Max(LargestStep, step.TokenCount);
        var storage = (ReferenceCache)cache;
        Tensor hidden = backend.Rent(step.TokenCount, HiddenSize);
        foreach (SequenceSlice s in step.Sequences)
        {
            for (int r = 0; r < s.RowCount; r++) Write(storage, 0, step, s, s.FirstPosition + r, step.Tokens[s.FirstRow + r]);
            ulong h = 0;
            for (int p = 0; p < s.FirstPosition + s.RowCount; p++)
            {
                h = Mix(h, Read(storage, 0, step, s, p));
                if (p >= s.FirstPosition) Store(hidden, s.FirstRow + p - s.FirstPosition, h);
            }
        }
        return hidden;
    }

    public override void Logits(Tensor logits, Tensor hidden, ReadOnlySpan<int> rows)
    {
        for (int i = 0; i < rows.Length; i++)
        {
            Fill(this.logits, Load(hidden, rows[i]));
            backend.Write(logits.TakeRows(i, 1), this.logits);
        }
    }

    public override Tensor Draft(StepLayout step, Tensor hidden, CacheStorage cache)
    {
        var storage = (ReferenceCache)cache;
        Tensor result = backend.Rent(step.TokenCount, HiddenSize);
        foreach (SequenceSlice s in step.Sequences)
        {
            for (int r = 0; r < s.RowCount; r++)
            {
                int p = s.FirstPosition + r, token = step.Tokens[s.FirstRow + r];
                Write(storage, 1, step, s, p, token);
                ulong h = Mix(Load(hidden, s.FirstRow + r), token);
                Store(result, s.FirstRow + r, h % 4 == 0 ? Mix(h, 1) : h);
            }
            for (int p = 1; p < s.FirstPosition && !isChained; p++) // chained drafts stand behind what the model has computed
                if (Read(storage, 1, step, s, p) != Read(storage, 0, step, s, p)) BadDraftRows++;
        }
        isChained = true;
        return result;
    }

    /// <summary>What the model says after these tokens, by itself.</summary>
    public static int[] Answer(int[] prompt, SamplingSettings settings, int count)
    {
        var sampler = new Sampler(Vocabulary);
        var said = new Penalties(Vocabulary, prompt.Length + count);
        said.AddPrompt(prompt);
        var all = new List<int>(prompt);
        ulong h = 0;
        foreach (int t in prompt) h = Mix(h, t);
        float[] logits = new float[Vocabulary];
        for (int i = 0; i < count; i++)
        {
            Fill(logits, h);
            int token = sampler.Draw(logits, settings, said, all.Count);
            said.AddAnswer(token);
            all.Add(token);
            h = Mix(h, token);
        }
        return [.. all.Skip(prompt.Length)];
    }

    private static void Fill(float[] logits, ulong h)
    {
        for (int v = 0; v < Vocabulary; v++) logits[v] = (Mix(h, v + 1000) >> 24) % 4096 / 200f;
    }

    /// <summary>48 bits, so that two floats hold it.</summary>
    private static ulong Mix(ulong h, int token)
    {
        unchecked
        {
            h = (h ^ (ulong)(token + 1)) * 0x9E3779B97F4A7C15;
            h ^= h >> 29;
            h *= 0xBF58476D1CE4E5B9;
            return (h ^ (h >> 31)) & 0xFFFF_FFFF_FFFF;
        }
    }

    private void Store(Tensor x, int row, ulong h)
    {
        (hash[0], hash[1], hash[2]) = (h >> 24, h & 0xFFFFFF, 0);
        backend.Write(x.TakeRows(row, 1), hash);
    }

    private ulong Load(Tensor x, int row)
    {
        backend.Read(x.TakeRows(row, 1), hash);
        return ((ulong)hash[0] << 24) | (ulong)hash[1];
    }

    private void Write(ReferenceCache cache, int stream, StepLayout step, SequenceSlice s, int p, int token)
    {
        one[0] = token;
        cache.Write(stream, step.BlockTables[s.TableStart + p / step.BlockTokens], p % step.BlockTokens, one);
    }

    private int Read(ReferenceCache cache, int stream, StepLayout step, SequenceSlice s, int p)
    {
        cache.Read(stream, step.BlockTables[s.TableStart + p / step.BlockTokens], p % step.BlockTokens, one);
        return (int)one[0];
    }
}

/// <summary>A clock that goes on by itself: a millisecond each time that somebody looks.</summary>
internal sealed class SteppingClock : TimeProvider
{
    private long now;

    public override long TimestampFrequency => 1000;

    public override long GetTimestamp() => Interlocked.Increment(ref now);
}

/// <summary>A clock that goes on when it is told to.</summary>
internal sealed class ManualClock : TimeProvider
{
    private long now;

    public override long TimestampFrequency => 1000;

    public override long GetTimestamp() => Volatile.Read(ref now);

    public void Advance(int milliseconds) => Interlocked.Add(ref now, milliseconds);
}

/// <summary>An engine over the fake model.</summary>
internal sealed class FakeEngine : IDisposable
{
    private readonly ReferenceBackend backend = new();
    private readonly CacheStorage storage;

    public FakeEngine(int blocks = 64, int blockTokens = 4, int sequences = 4, int stepTokens = 32, int queue = 64, int context = 0, bool drafts = false, bool prefixes = true, Speculation speculation = Speculation.Off,
        Action<StepLayout>? beforeForward = null, TimeProvider? clock = null)
    {
        Model = new FakeModel(backend, drafts) { BeforeForward = beforeForward };
        storage = backend.CreateCache(Model.Streams, CacheFormat.F32, blockTokens, blocks);
        Settings = new EngineSettings(FakeModel.Vocabulary, sequences, queue, stepTokens, context == 0 ? blocks * blockTokens : context, prefixes, DraftPolicy.LeastParameters, speculation, clock ?? new SteppingClock());
        Engine = new Engine(Model, backend, storage, Settings);
    }

    public FakeModel Model { get; }

    public EngineSettings Settings { get; }

    public Engine Engine { get; }

    public GenerationRequest New(int[] prompt, int maxTokens, SamplingSettings? sampling = null, int[]? ends = null, string? tenant = null, int priority = 0, int? logProbabilities = null, OutputGuide? guide = null)
        => new(prompt, new GenerationSettings(sampling ?? new SamplingSettings { Temperature = 0 }, maxTokens, ends ?? [], FakeModel.Vocabulary, logProbabilities, Settings.Speculation) { Tenant = tenant, Priority = priority },
            guide, Settings, Engine.BlockTokens, Engine.DraftsByModule);

    public GenerationRequest Submit(int[] prompt, int maxTokens, SamplingSettings? sampling = null, string? tenant = null, int priority = 0)
    {
        GenerationRequest request = New(prompt, maxTokens, sampling, null, tenant, priority);
        Engine.Submit(request);
        return request;
    }

    /// <summary>Waits for the end; the answer, or the error.</summary>
    public static async Task<int[]> Finish(GenerationRequest request)
    {
        for (int seen = 0; ;)
        {
            await request.Feed.WaitAsync(seen).AsTask().WaitAsync(TimeSpan.FromSeconds(60));
            (seen, bool ended) = request.Feed.Read();
            if (!ended) continue;
            return request.Error is null ? request.Answer(seen).ToArray() : throw request.Error;
        }
    }

    public void Dispose()
    {
        Engine.Dispose();
        storage.Dispose();
        backend.Dispose();
    }
}
