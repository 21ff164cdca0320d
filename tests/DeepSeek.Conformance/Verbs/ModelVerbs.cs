using System.Globalization;
using System.Text.Json.Nodes;
using DeepSeek.Generation;
using DeepSeek.Gpu;

namespace DeepSeek.Conformance.Verbs;

/// <summary>A verb that runs a model: <c>--threads</c>, <c>--backend</c>, <c>--reproducible</c>, <c>--speculate</c>, <c>--disable</c>.</summary>
internal abstract class ModelVerb(Arguments arguments) : IVerb
{
    protected LanguageModel Model { get; } = Load(arguments);

    public abstract JsonNode Answer(JsonObject line);

    public void Dispose() => Model.Dispose();

    private static LanguageModel Load(Arguments arguments) => LanguageModel.LoadAsync(arguments.Required, new LanguageModelOptions
    {
        Device = arguments["--backend"] switch
        {
            null or "cpu" => ComputeDevice.Cpu,
            "reference" => ComputeDevice.Reference,
            "host" => GpuDevice.Host,
            "gpu" => GpuDevice.Default,
            { } other => throw new UsageException($"unknown backend '{other}'"),
        },
        Threads = arguments["--threads"] is { } threads ? int.TryParse(threads, NumberStyles.None, CultureInfo.InvariantCulture, out int n) ? n : throw new UsageException("--threads needs a number") : null,
        Reproducible = arguments.Has("--reproducible"),
        Speculation = arguments["--speculate"] switch
        {
            null or "off" => Speculation.Off,
            "on" => Speculation.On,
            { } other => throw new UsageException($"--speculate is on or off, not '{other}'"),
        },
        DisabledInstructionSets = arguments["--disable"]?.Split(',', StringSplitOptions.RemoveEmptyEntries),
    }).GetAwaiter().GetResult();

    /// <summary>Runs a prompt and hands each position's logits over.</summary>
    protected void Score(int[] ids, bool all, int maxStepTokens, Action<int, ReadOnlySpan<float>> receive)
    {
        LoadedModel m = Model.Loaded;
        var request = new ScoringRequest(ids, all, maxStepTokens, m.Settings, m.Engine.BlockTokens, receive);
        m.Engine.Submit(request);
        request.Completion.GetAwaiter().GetResult();
    }
}

/// <summary>Logits of the last position, or of all.</summary>
internal sealed class LogitsVerb(Arguments arguments) : ModelVerb(arguments)
{
    public override JsonNode Answer(JsonObject line)
    {
        int[] ids = Lists.Ints(line["ids"]);
        bool all = line["positions"]?.GetValue<string>() == "all";
        var rows = new JsonArray();
        Score(ids, all, int.MaxValue, (_, logits) => rows.Add((JsonNode)Lists.Floats(logits)));
        if (all) return new JsonObject { ["logits"] = rows };
        JsonNode last = rows[^1]!;
        rows.Clear();
        return new JsonObject { ["logits"] = last };
    }
}

/// <summary>Mean of −ln p(ids[i] given ids[..i]), in one prefill or token by token.</summary>
internal sealed class NllVerb(Arguments arguments) : ModelVerb(arguments)
{
    private readonly bool step = arguments.Has("--step");

    public override JsonNode Answer(JsonObject line)
    {
        int[] ids = Lists.Ints(line["ids"]);
        IReadOnlyList<float> scores = Model.ScoreAsync(ids, step ? 1 : int.MaxValue, CancellationToken.None).GetAwaiter().GetResult();
        return new JsonObject { ["mean_nll"] = -scores.Sum(s => (double)s) / scores.Count };
    }
}

/// <summary>Greedy tokens, through the end of turns.</summary>
internal sealed class GreedyVerb(Arguments arguments) : ModelVerb(arguments)
{
    public override JsonNode Answer(JsonObject line)
    {
        var options = new GenerationOptions { Temperature = 0, RepetitionPenalty = 1, MaxTokens = line["max_tokens"]!.GetValue<int>(), IgnoreEndOfTurn = true };
        GenerationRequest request = Model.NewRequest(Lists.Ints(line["ids"]), options);
        Model.Loaded.Engine.Submit(request);
        int[] tokens = Requests.Finish(request);
        GenerationUsage usage = request.Usage(tokens.Length);
        return new JsonObject { ["tokens"] = Lists.Ints(tokens), ["drafted"] = usage.DraftedTokens, ["accepted"] = usage.AcceptedTokens };
    }
}

/// <summary>Several requests, together in one engine or one after the other.</summary>
internal sealed class BatchVerb(Arguments arguments) : ModelVerb(arguments)
{
    private readonly Arguments arguments = arguments;

    public override JsonNode Answer(JsonObject line)
    {
        JsonObject[] asked = [.. line["requests"]!.AsArray().Select(r => r!.AsObject())];
        var results = new JsonArray();
        if (line["together"]?.GetValue<bool>() == true)
        {
            GenerationRequest[] requests = [.. asked.Select(r => Requests.New(Model, r))];
            foreach (GenerationRequest request in requests) Model.Loaded.Engine.Submit(request);
            foreach (GenerationRequest request in requests) results.Add((JsonNode)Requests.Result(request));
        }
        else
            foreach (JsonObject ask in asked)
            {
                using var fresh = new BatchVerb(arguments);
                GenerationRequest request = Requests.New(fresh.Model, ask);
                fresh.Model.Loaded.Engine.Submit(request);
                results.Add((JsonNode)Requests.Result(request));
            }
        return new JsonObject { ["results"] = results };
    }
}

/// <summary>Requests in the driver's words.</summary>
internal static class Requests
{
    public static GenerationRequest New(LanguageModel model, JsonObject ask) => model.NewRequest(Lists.Ints(ask["ids"]), new GenerationOptions
    {
        MaxTokens = ask["max_tokens"]!.GetValue<int>(),
        Temperature = ask["temperature"]?.GetValue<float>() ?? 0,
        TopP = ask["top_p"]?.GetValue<float>() ?? 1,
        TopK = 0,
        RepetitionPenalty = 1,
        Seed = ask["seed"]?.GetValue<long>() ?? 0,
        IgnoreEndOfTurn = true,
    }, keepLastLogits: true);

    /// <summary>Waits for the end.</summary>
    public static int[] Finish(GenerationRequest request)
    {
        int seen = 0;
        while (true)
        {
            request.Feed.WaitAsync(seen).AsTask().GetAwaiter().GetResult();
            (seen, bool ended) = request.Feed.Read();
            if (!ended) continue;
            if (request.Error is { } error) throw error;
            return request.Answer(seen).ToArray();
        }
    }

    public static JsonObject Result(GenerationRequest request)
    {
        int[] tokens = Finish(request);
        return new JsonObject { ["tokens"] = Lists.Ints(tokens), ["last_logits"] = Lists.Floats(request.LastLogits!), ["cached_tokens"] = request.Usage(tokens.Length).CachedTokens };
    }
}
