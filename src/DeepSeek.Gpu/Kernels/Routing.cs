namespace DeepSeek.Gpu.Kernels;

/// <summary>
/// Chooses experts for each token from its router's logits, as <c>DeepSeek.Backends.Routing</c> specifies: by score plus bias within the best groups, weighed by score alone; ties go to
/// the lower index, NaN loses. Grid: a group a token; shared memory: 2·Experts + Groups words.
/// </summary>
internal struct Route<TThread, TMemory> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public TMemory Scratch, Vectors;
    public RowPlace Logits;

    /// <summary>Where the correction bias begins among vectors; below zero: none.</summary>
    public long Bias;

    /// <summary>Chosen experts and their weights: [token, TopK] each.</summary>
    public long Chosen, Weights;

    public int Experts, TopK, Groups, TopGroups;

    /// <summary>1: scores are σ(logit), groups count by their two best; 0: softmax, by their best.</summary>
    public int Sigmoid;

    /// <summary>1: the chosen scores are divided by their sum.</summary>
    public int Normalise;

    public float Scale;

    public readonly void Run(TThread t)
    {
        int choice = Experts, best = 2 * Experts, size = Experts / Groups;
        long logits = Logits.Row(t.Group);
        float max = float.NegativeInfinity, total = 0;
        if (Sigmoid == 0)
        {
            for (int e = 0; e < Experts; e++)
            {
                float logit = Scratch.Float(logits + e);
                if (logit > max) max = logit;
            }
            for (int e = 0; e < Experts; e++) total += Numbers<TThread>.Exp(t, Scratch.Float(logits + e) - max);
        }
        for (int e = t.Item; e < Experts; e += t.Items)
        {
            float logit = Scratch.Float(logits + e), score = Sigmoid == 1 ? 1f / (1f + Numbers<TThread>.Exp(t, -logit)) : Numbers<TThread>.Exp(t, logit - max) / total;
            float c = Bias < 0 ? score : score + Vectors.Float(Bias + e);
            t.SetShared(e, score);
            t.SetShared(choice + e, float.IsNaN(c) ? float.NegativeInfinity : c);
        }
        t.Barrier();
        if (TopGroups < Groups)
        {
            for (int g = t.Item; g < Groups; g += t.Items)
            {
                float first = float.NegativeInfinity, second = float.NegativeInfinity;
                for (int e = g * size; e < (g + 1) * size; e++)
                {
                    float c = t.Shared(choice + e);
                    if (c > first)
                    {
                        second = first;
                        first = c;
                    }
                    else if (c > second) second = c;
                }
                t.SetShared(best + g, Sigmoid == 0 || size == 1 ? first : first + second);
            }
            t.Barrier();
            // A group stays when fewer than TopGroups are better; of equal ones those with the lower number are.
            for (int e = t.Item; e < Experts; e += t.Items)
            {
                int better = 0;
                for (int g = 0; g < Groups; g++) if (Better(t, best, g, e / size)) better++;
                if (better >= TopGroups) t.SetShared(choice + e, float.NaN);
            }
            t.Barrier();
        }
        // The rank of an expert is the number of better ones: the first TopK ranks are the choice, in order.
        for (int e = t.Item; e < Experts; e += t.Items)
        {
            float c = t.Shared(choice + e);
            if (float.IsNaN(c)) continue;
            int rank = 0;
            for (int other = 0; other < Experts; other++) if (Better(t, choice, other, e)) rank++;
            if (rank < TopK) Scratch.SetWord(Chosen + (long)t.Group * TopK + rank, (uint)e);
        }
        t.Barrier();
        if (t.Item != 0) return;
        long chosen = Chosen + (long)t.Group * TopK, weights = Weights + (long)t.Group * TopK;
        float sum = 1e-20f; // keeps the sum of chosen scores from being zero
        for (int k = 0; k < TopK; k++) sum += t.Shared((int)Scratch.Word(chosen + k));
        float scale = Normalise == 1 ? Scale / sum : Scale;
        for (int k = 0; k < TopK; k++) Scratch.SetFloat(weights + k, t.Shared((int)Scratch.Word(chosen + k)) * scale);
    }

    /// <summary>Whether value a comes before value b: it is larger, or equal with the lower number. NaN is out of the race.</summary>
    private static bool Better(TThread t, int values, int a, int b)
    {
        float x = t.Shared(values + a), y = t.Shared(values + b);
        return x > y || (x == y && a < b);
    }
}

/// <summary>
/// Sorts pairs of token and expert by expert, within one by token: a pair's place is the number of pairs before it, which every item counts for itself. Grid: an item a pair; no shared memory.
/// </summary>
internal struct SortPairs<TThread, TMemory> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public TMemory Scratch;

    /// <summary>The expert of each pair, and where the sorted pairs go.</summary>
    public long Chosen, Order;
    public int Pairs;

    public readonly void Run(TThread t)
    {
        int pair = t.Group * t.Items + t.Item, before = 0;
        if (pair >= Pairs) return;
        uint expert = Scratch.Word(Chosen + pair);
        for (int other = 0; other < Pairs; other++)
        {
            uint e = Scratch.Word(Chosen + other);
            if (e < expert || (e == expert && other < pair)) before++;
        }
        Scratch.SetWord(Order + before, (uint)pair);
    }
}

/// <summary>
/// Cuts each expert's sorted pairs into tiles (see <see cref="ExpertTiles{TMemory}"/>). Tiles behind the last one are empty. Grid: one group; shared memory: a word an expert.
/// </summary>
internal struct CutTiles<TThread, TMemory> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public TMemory Scratch;
    public long Chosen, Table;
    public int Pairs, Experts, Side, MostTiles;

    public readonly void Run(TThread t)
    {
        for (int e = t.Item; e < Experts; e += t.Items)
        {
            uint count = 0;
            for (int pair = 0; pair < Pairs; pair++) if ((int)Scratch.Word(Chosen + pair) == e) count++;
            t.SetSharedWord(e, count);
        }
        t.Barrier();
        for (int e = t.Item; e < Experts; e += t.Items)
        {
            int first = 0, tile = 0, count = (int)t.SharedWord(e);
            for (int other = 0; other < e; other++)
            {
                first += (int)t.SharedWord(other);
                tile += ((int)t.SharedWord(other) + Side - 1) / Side;
            }
            for (int slot = 0; slot < count; slot += Side) Set(tile++, e, first + slot, first + count);
            if (e == Experts - 1)
                for (; tile < MostTiles; tile++) Set(tile, 0, 0, 0);
        }
    }

    private readonly void Set(int tile, int expert, int first, int end)
    {
        Scratch.SetWord(Table + 4L * tile, (uint)expert);
        Scratch.SetWord(Table + 4L * tile + 1, (uint)first);
        Scratch.SetWord(Table + 4L * tile + 2, (uint)end);
    }
}

/// <summary>y[t] += Σ_k weight[t, k] · expert results[t, k]. Grid: segments of rows; no shared memory.</summary>
internal struct CombineExperts<TThread, TMemory> : IKernel<TThread> where TThread : struct, IThread where TMemory : struct, IMemory
{
    public TMemory Scratch;
    public RowPlace Y, Results;
    public SegmentGrid Grid;
    public long Weights;
    public int TopK;

    public readonly void Run(TThread t)
    {
        int row = Grid.Row(t.Group), end = Grid.End(t.Group, Y.Columns);
        long y = Y.Row(row);
        for (int c = Grid.First(t.Group) + t.Item; c < end; c += t.Items)
        {
            float sum = Scratch.Float(y + c);
            for (int k = 0; k < TopK; k++) sum = t.Fma(Scratch.Float(Weights + (long)row * TopK + k), Scratch.Float(Results.Row(row * TopK + k) + c), sum);
            Scratch.SetFloat(y + c, sum);
        }
    }
}
