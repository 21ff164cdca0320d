using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using DeepSeek.Conformance.Verbs;

namespace DeepSeek.Conformance;

/// <summary>
/// A window on the library's insides for vectors in any language's hands: <c>VERB [ARGUMENT] [--options]</c>, one JSON object a line in, one a line out.
/// A verb is a file in Verbs/ and a line in <see cref="Verbs"/>.
/// </summary>
internal static class Program
{
    /// <summary>Opens what a verb needs (a model, a tokenizer, …) and returns what answers a line.</summary>
    private static readonly Dictionary<string, Func<Arguments, IVerb>> Verbs = new()
    {
        ["template"] = TemplateVerb.Open,
        ["jinja"] = JinjaVerb.Open,
        ["parse"] = ParseVerb.Open,
        ["blocks"] = a => new BlocksVerb(a),
        ["quantise"] = a => new QuantiseVerb(a),
        ["logits"] = a => new LogitsVerb(a),
        ["greedy"] = a => new GreedyVerb(a),
        ["nll"] = a => new NllVerb(a),
        ["chat"] = a => new ChatVerb(a),
        ["batch"] = a => new BatchVerb(a),
        ["sample"] = _ => new SampleVerb(),
        ["encode"] = EncodeVerb.Open,
        ["decode"] = DecodeVerb.Open,
        ["schema"] = static _ => new SchemaVerb(),
    };

    private static readonly JsonSerializerOptions Json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.AllowNamedFloatingPointLiterals };

    private static int Main(string[] args)
    {
        using var output = new StreamWriter(Console.OpenStandardOutput(), new UTF8Encoding(false)) { AutoFlush = true, NewLine = "\n" };
        using var input = new StreamReader(Console.OpenStandardInput(), new UTF8Encoding(false));
        IVerb verb;
        try
        {
            if (args.Length == 0 || !Verbs.TryGetValue(args[0], out Func<Arguments, IVerb>? open)) throw new UsageException(args.Length == 0 ? "no verb" : $"unknown verb '{args[0]}'");
            verb = open(Arguments.Parse(args.AsSpan(1)));
        }
        catch (UsageException e)
        {
            Console.Error.WriteLine($"{e.Message}\nusage: DeepSeek.Conformance VERB [ARGUMENT] [--options] < in.jsonl > out.jsonl\nverbs: {string.Join(' ', Verbs.Keys)}");
            return 64;
        }
        catch (Exception e)
        {
            output.WriteLine(Error(e).ToJsonString(Json));
            return 2;
        }
        using (verb)
        {
            while (input.ReadLine() is { } line)
            {
                if (string.IsNullOrWhiteSpace(line)) continue;
                JsonNode answer;
                try { answer = verb.Answer(JsonNode.Parse(line)!.AsObject()); }
                catch (Exception e) { answer = Error(e); }
                output.WriteLine(answer.ToJsonString(Json));
            }
        }
        return 0;
    }

    private static JsonObject Error(Exception e) => new() { ["error"] = new JsonObject { ["type"] = e.GetType().Name, ["message"] = e.Message } };
}

/// <summary>Answers lines. One instance serves all lines of a run.</summary>
internal interface IVerb : IDisposable
{
    JsonNode Answer(JsonObject line);
}

/// <summary>The command line is wrong: usage, exit code 64.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>What follows the verb: at most one positional argument, and options with or without a value.</summary>
internal sealed class Arguments
{
    private static readonly HashSet<string> Flags = ["--reproducible", "--step"];
    private static readonly HashSet<string> Valued = ["--threads", "--backend", "--speculate", "--date", "--disable"];
    private readonly Dictionary<string, string> options = [];

    public string? Positional { get; private set; }

    public string Required => Positional ?? throw new UsageException("an argument is missing");

    public string? this[string name] => options.GetValueOrDefault(name);

    public bool Has(string flag) => options.ContainsKey(flag);

    public static Arguments Parse(ReadOnlySpan<string> args)
    {
        var a = new Arguments();
        for (int i = 0; i < args.Length; i++)
        {
            if (Flags.Contains(args[i])) a.options[args[i]] = "true";
            else if (Valued.Contains(args[i])) a.options[args[i]] = ++i < args.Length ? args[i] : throw new UsageException($"{args[i - 1]} needs a value");
            else if (args[i].StartsWith("--", StringComparison.Ordinal) || a.Positional is not null) throw new UsageException($"unexpected '{args[i]}'");
            else a.Positional = args[i];
        }
        return a;
    }
}
