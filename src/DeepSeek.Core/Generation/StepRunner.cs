using DeepSeek.Backends;
using DeepSeek.Caching;
using DeepSeek.Models;
using DeepSeek.Tensors;

namespace DeepSeek.Generation;

/// <summary>What a step did.</summary>
internal readonly record struct StepResult(long Rows, long PromptTokens, long GeneratedTokens, long DraftedTokens, long AcceptedTokens)
{
    public StepResult Plus(StepResult o)
        => new(Rows + o.Rows, PromptTokens + o.PromptTokens, GeneratedTokens + o.GeneratedTokens, DraftedTokens + o.DraftedTokens, AcceptedTokens + o.AcceptedTokens);
}

/// <summary>
/// One step: forward pass, logits, tokens, drafts for the next step. Drafts are verified by drawing at each position as always and going on while the draft is the token that was drawn: the
/// text is the same with and without. Rolling back is not counting: rows behind what was accepted are written again later.
/// </summary>
internal sealed class StepRunner
{
    /// <summary>Rows whose logits are computed together: a vocabulary of 150,000 makes that 10 MB.</summary>
    private const int LogitRows = 16;

    /// <summary>Candidates that are worth choosing where the logits are.</summary>
    private const int MostCandidates = 128;

    private readonly Model model;
    private readonly Backend backend;
    private readonly KvCache cache;
    private readonly StepLayout layout, draftLayout;
    private readonly Sampler sampler;
    private readonly float[] logits;
    private readonly int entries;
    private readonly int[] draftRows, drafting;
    private readonly Outcomes[] outcomes;
    private readonly DraftCosts costs = new();
    private int sequences, verified, tried;

    /// <summary>What became of a planned sequence.</summary>
    private struct Outcomes
    {
        public int FirstRow, ValidRows, Outputs;
        public bool Done;
        public Exception? Error;
    }

    public StepRunner(Model model, Backend backend, KvCache cache, EngineSettings settings)
    {
        (this.model, this.backend, this.cache) = (model, backend, cache);
        int rows = settings.MaxStepTokens + settings.MaxSequences * (1 + Sequence.MaxDrafts), blocks = settings.MaxSequences * cache.BlocksFor(settings.ContextLength);
        layout = new StepLayout(rows, settings.MaxSequences, blocks, cache.BlockTokens);
        draftLayout = new StepLayout(rows, settings.MaxSequences, blocks, cache.BlockTokens);
        sampler = new Sampler(model.VocabularySize);
        logits = new float[model.VocabularySize];
        entries = settings.Entries;
        draftRows = new int[rows];
        drafting = new int[settings.MaxSequences];
        outcomes = new Outcomes[settings.MaxSequences];
        DraftsByModule = model.DraftModules > 0 && (settings.Speculation == Speculation.On || (settings.Speculation == Speculation.Auto && settings.Parameters >= DraftPolicy.LeastParameters));
    }

    public bool DraftsByModule { get; }

    /// <summary>Asked between the layers of a step: whether nobody wants it any more.</summary>
    public Func<bool>? IsAbandoned
    {
        set => layout.IsAbandoned = value;
    }

    /// <summary>Lets a forked sequence draw its first token from its leader's logits.</summary>
    /// <returns>Whether it has all that it wants.</returns>
    public bool DrawFirst(Request request, ReadOnlySpan<float> leaders)
    {
        leaders.CopyTo(logits);
        return request.OnLogits(logits, request.Sequence.Length, sampler);
    }

    /// <summary>Whether the i-th planned sequence has ended, and by which error if by one.</summary>
    public bool Outcome(int index, out Exception? error)
    {
        error = outcomes[index].Error;
        return outcomes[index].Done || error is not null;
    }

    /// <summary>
    /// Learns how long the last step took. It tells what drafts cost if all its rows are of sequences that generate, and if its module made as many drafts for the next step as it
    /// verified: then it cost what every step costs in which that many are drafted.
    /// </summary>
    public void Observe(double seconds)
    {
        if (layout.TokenCount == sequences + verified && (!DraftsByModule || tried == verified)) costs.Observe(sequences, verified, seconds);
    }

    /// <summary>Runs what was planned. An exception means that nothing of the step counts.</summary>
    /// <exception cref="StepAbandonedException">Nobody wanted it any more.</exception>
    public StepResult Run(IReadOnlyList<Sequence> planned)
    {
        long mark = backend.Mark();
        try
        {
            int prompt = Lay(planned);
            Tensor hidden = model.Forward(layout, cache.Storage);
            StepResult result = Deliver(planned, hidden) with { PromptTokens = prompt };
            Settle(planned, hidden);
            return result;
        }
        finally
        {
            backend.Release(mark);
        }
    }

    /// <summary>Lays the step out. The number of its rows that are prompt.</summary>
    private int Lay(IReadOnlyList<Sequence> planned)
    {
        layout.Clear();
        (sequences, verified, tried) = (planned.Count, 0, 0);
        int prompt = 0;
        for (int i = 0; i < planned.Count; i++)
        {
            Sequence s = planned[i];
            int outputs = s.Request!.Rows switch
            {
                RowsWanted.All => s.StepRows,
                RowsWanted.Last when s.Computed + s.StepRows >= s.Length => 1 + s.DraftCount,
                _ => 0,
            };
            outcomes[i] = new Outcomes { FirstRow = layout.TokenCount, ValidRows = s.StepRows, Outputs = outputs };
            layout.Add(s.StepTokens, s.Computed, s.Blocks.Blocks[..cache.BlocksFor(s.Computed + s.StepRows)], outputs);
            prompt += Math.Clamp(s.PromptLength - s.Computed, 0, s.StepRows);
            verified += s.DraftCount;
        }
        return prompt;
    }

    private StepResult Deliver(IReadOnlyList<Sequence> planned, Tensor hidden)
    {
        int generated = 0, drafted = 0, accepted = 0, next = 0, ready = 0;
        long mark = backend.Mark();
        Tensor rows = default;
        for (int i = 0; i < planned.Count; i++)
        {
            Sequence s = planned[i];
            ref Outcomes o = ref outcomes[i];
            bool going = true;
            int drafts = s.DraftCount, first = s.Computed + s.StepRows - o.Outputs, looked = 0, right = 0;
            s.ClearDrafts();
            for (int j = 0; j < o.Outputs; j++, next++)
            {
                if (next == ready) // the next rows of logits, whoever they are for
                {
                    backend.Release(mark);
                    int count = Math.Min(LogitRows, layout.OutputRows.Length - ready);
                    model.Logits(rows = backend.Rent(count, model.VocabularySize), hidden, layout.OutputRows.Slice(ready, count));
                    ready += count;
                }
                if (!going) continue;
                bool whole = ReadLogits(rows.TakeRows(rows.Rows - (ready - next), 1), s.Request!.Candidates);
                int before = s.Length, draft = j < drafts ? s.NextDraft : -1;
                try
                {
                    if (whole && !Vectors.AreFinite(logits)) throw new InvalidModelFileException($"The model's logits at position {first + j + 1} are not numbers. A file with damaged weights does that; check it against its published checksum.");
                    o.Done = s.Request!.OnLogits(logits, first + j + 1, sampler);
                }
                catch (Exception e)
                {
                    o.Error = e as ModelException ?? new ModelException($"The request failed at position {first + j + 1}: {e.Message}", e);
                }
                going = !o.Done && o.Error is null;
                if (s.Length == before) continue; // scoring
                generated++;
                o.ValidRows = s.StepRows - drafts + j;
                if (j >= drafts) continue;
                looked++;
                if (s.Tokens[^1] == draft) right++;
                else going = false;
            }
            drafted += looked;
            accepted += right;
            if (looked > 0) s.Request!.OnDrafts(looked, right);
        }
        backend.Release(mark);
        return new StepResult(layout.TokenCount, 0, generated, drafted, accepted);
    }

    /// <summary>
    /// Reads a row of logits; of few candidates only the largest, where the backend can. One more than wanted are read: where it ties with the last candidate the choice is not the backend's.
    /// </summary>
    /// <returns>Whether all were read.</returns>
    private bool ReadLogits(Tensor row, int wanted)
    {
        if (wanted is > 0 and <= MostCandidates && wanted < entries)
        {
            Span<int> columns = stackalloc int[wanted + 1];
            Span<float> values = stackalloc float[wanted + 1];
            if (backend.TryReadLargest(row.TakeColumns(0, entries), columns, values) && (wanted == 1 || values[wanted] < values[wanted - 1]))
            {
                logits.AsSpan().Fill(float.NegativeInfinity);
                for (int i = 0; i < wanted; i++) logits[columns[i]] = values[i];
                return false;
            }
        }
        backend.Read(row, logits);
        return true;
    }

    /// <summary>What is valid now is counted, drafted behind, and made known to later prompts.</summary>
    private void Settle(IReadOnlyList<Sequence> planned, Tensor hidden)
    {
        for (int i = 0; i < planned.Count; i++)
        {
            Sequence s = planned[i];
            ref Outcomes o = ref outcomes[i];
            if (o.Error is not null) continue;
            if (s.Request!.WantsHidden) s.Request.OnHidden(backend, hidden.TakeRows(o.FirstRow, o.ValidRows), s.Computed);
            s.Computed += o.ValidRows;
            if (s.Computed >= s.Length && s.Request.Rows == RowsWanted.None) o.Done = true;
            if (!o.Done && !s.DraftsByModule && s.Pending == 1) LookUp(s, planned.Count);
        }
        if (DraftsByModule) DraftByModule(planned, hidden);
        for (int i = 0; i < planned.Count; i++)
            if (outcomes[i].Error is null) cache.Register(planned[i].Blocks, planned[i].Tokens[..planned[i].Computed], planned[i].Tenant);
    }

    /// <summary>Drafts what followed when the last tokens stood in the text before.</summary>
    private void LookUp(Sequence s, int sequences)
    {
        int limit = Math.Min(s.Request!.DraftLimit(costs, sequences), s.Capacity - s.Length - 1);
        if (limit <= 0) return;
        int at = PromptLookup.Find(s.Tokens);
        for (; at >= 0 && limit > 0; at++, limit--) s.AddDraft(s.Storage[at]); // behind the text stand the drafts: what repeats goes on repeating
    }

    /// <summary>
    /// Runs the draft module over the step's valid rows, so that its own stream of the cache follows the model's, and drafts for those who generate; further drafts feed the module's result to itself.
    /// </summary>
    private void DraftByModule(IReadOnlyList<Sequence> planned, Tensor hidden)
    {
        draftLayout.Clear();
        int rows = 0, count = 0;
        for (int i = 0; i < planned.Count; i++)
        {
            Sequence s = planned[i];
            ref Outcomes o = ref outcomes[i];
            if (!s.DraftsByModule || o.Error is not null) continue;
            int first = s.Computed - o.ValidRows + 1, valid = Math.Min(o.ValidRows, s.Length - first);
            if (valid <= 0) continue;
            bool wanted = !o.Done && s.Pending == 1 && Math.Min(s.Request!.DraftLimit(costs, planned.Count), s.Capacity - s.Length - 1) > 0;
            draftLayout.Add(s.Tokens.Slice(first, valid), first, s.Blocks.Blocks[..cache.BlocksFor(first + valid)], wanted ? 1 : 0);
            for (int r = 0; r < valid; r++) draftRows[rows++] = o.FirstRow + r;
            if (wanted) drafting[count++] = i;
        }
        for (Tensor from = hidden; rows > 0;)
        {
            Tensor input = backend.Rent(rows, model.HiddenSize);
            backend.Gather(input, from, draftRows.AsSpan(0, rows));
            from = model.Draft(draftLayout, input, cache.Storage);
            if (count == 0) return;
            tried += count;
            Tensor scores = backend.Rent(count, model.VocabularySize);
            model.DraftLogits(scores, from, draftLayout.OutputRows);
            rows = 0;
            for (int k = 0; k < count; k++)
            {
                Sequence s = planned[drafting[k]];
                backend.Read(scores.TakeRows(k, 1), logits);
                int draft = s.Request!.Draft(logits, s.Length + s.DraftCount, sampler);
                if (draft < 0) continue;
                s.AddDraft(draft);
                if (Math.Min(s.Request.DraftLimit(costs, planned.Count), s.Capacity - s.Length - 1) <= s.DraftCount) continue;
                draftRows[rows] = draftLayout.OutputRows[k];
                drafting[rows++] = drafting[k];
            }
            count = rows;
            draftLayout.Clear();
            for (int k = 0; k < count; k++)
            {
                Sequence s = planned[drafting[k]];
                int position = s.Length + s.DraftCount - 1;
                draftLayout.Add(s.Storage.AsSpan(position, 1), position, s.Blocks.Blocks[..cache.BlocksFor(position + 1)], 1);
            }
        }
    }
}
