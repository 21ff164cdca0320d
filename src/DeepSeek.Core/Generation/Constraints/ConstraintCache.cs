using System.Diagnostics.CodeAnalysis;
using System.Text.Json;

namespace DeepSeek.Generation.Constraints;

/// <summary>The compiled constraints of one model, the least recently used ones forgotten. Safe for concurrent use.</summary>
internal sealed class ConstraintCache(TokenTrie trie)
{
    /// <summary>Compiled constraints kept.</summary>
    public const int Capacity = 32;

    private readonly Lock gate = new();
    private readonly Dictionary<string, LinkedListNode<(string Key, TokenMasks Masks)>> known = [];
    private readonly LinkedList<(string Key, TokenMasks Masks)> recent = new();

    public int Count => known.Count;

    /// <summary>Where a new sequence starts that is held to a constraint.</summary>
    /// <exception cref="UnsupportedModelException">Something cannot be enforced; the message names it.</exception>
    /// <exception cref="InvalidOptionException">The constraint is malformed, or nothing satisfies it.</exception>
    public GrammarMatcher Start(OutputConstraint constraint) => new(Get(KeyOf(constraint), () => Grammar.Of(constraint)));

    /// <summary>Where a new sequence starts that is held to a composed grammar, e.g. tool calls.</summary>
    /// <param name="key">What the grammar was composed from, with a prefix of its own.</param>
    /// <param name="compose">Composes it where it is not known.</param>
    public GrammarMatcher Start(string key, Func<GrammarBuilder, Term> compose) => new(Get(key, () => Compose(compose)));

    private static Grammar Compose(Func<GrammarBuilder, Term> compose)
    {
        var builder = new GrammarBuilder();
        Grammar grammar = builder.Build(compose(builder));
        return grammar.IsEmpty ? throw new InvalidOptionException("No text satisfies the constraint: its parts contradict each other. Check the schemas of the tools.") : grammar;
    }

    private TokenMasks Get(string key, Func<Grammar> compile)
    {
        if (TryGet(key, out TokenMasks? masks)) return masks;
        // Outside the lock: a large schema takes a while, and two callers may compile the same one.
        masks = new(compile(), trie);
        lock (gate)
        {
            if (known.TryGetValue(key, out LinkedListNode<(string, TokenMasks Masks)>? other)) return other.Value.Masks;
            known[key] = recent.AddFirst((key, masks));
            if (known.Count > Capacity)
            {
                known.Remove(recent.Last!.Value.Key);
                recent.RemoveLast();
            }
            return masks;
        }
    }

    private bool TryGet(string key, [NotNullWhen(true)] out TokenMasks? masks)
    {
        lock (gate)
        {
            if (!known.TryGetValue(key, out LinkedListNode<(string Key, TokenMasks Masks)>? node))
            {
                masks = null;
                return false;
            }
            recent.Remove(node);
            recent.AddFirst(node);
            masks = node.Value.Masks;
            return true;
        }
    }

    /// <summary>What a constraint is known by.</summary>
    public static string KeyOf(OutputConstraint constraint) => constraint switch
    {
        OutputConstraint.Json => "json",
        OutputConstraint.JsonSchema s => "schema\n" + (s.Schema.ValueKind == JsonValueKind.Undefined ? throw new InvalidOptionException("OutputConstraint.JsonSchema has an undefined JsonElement. Give a schema, e.g. JsonDocument.Parse(text).RootElement.") : s.Schema.GetRawText()),
        OutputConstraint.Regex r => "regex\n" + r.Pattern,
        OutputConstraint.Choice c => "choice\n" + string.Join('\n', c.Values.Select(JsonText.Spell)),
        _ => throw new InvalidOptionException($"OutputConstraint of an unknown kind ({constraint.GetType().Name})."),
    };
}
