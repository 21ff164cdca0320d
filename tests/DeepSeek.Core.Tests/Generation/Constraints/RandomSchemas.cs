using System.Text.Json.Nodes;

namespace DeepSeek.Core.Tests.Generation.Constraints;

/// <summary>Makes a schema of the supported subset from a seed.</summary>
internal sealed class RandomSchemas(int seed)
{
    private static readonly string[] Names = ["name", "kind", "age", "a", "é", "x\"y", "b\\c"];
    private static readonly string[] Patterns = ["^[a-c]{1,3}$", "^(é|漢)+$", "[a-m].*[0-9]", "^\\d{2}-[xy]?$", "z$", "^$"];

    private readonly Random random = new(seed);
    private bool recursive;

    public JsonNode Make()
    {
        JsonNode schema = Schema(3);
        if (recursive) schema = new JsonObject { ["allOf"] = new JsonArray(schema), ["$defs"] = new JsonObject { ["tree"] = Tree() } };
        return schema;
    }

    /// <summary>What a tool takes: an object, about which as a whole nothing more is said.</summary>
    public JsonNode MakeParameters()
    {
        JsonObject schema = Object(3);
        foreach (string keyword in (string[])["minProperties", "maxProperties"]) schema.Remove(keyword);
        if (schema["properties"]!.AsObject().Remove("x\"y")) schema["required"] = new JsonArray([.. schema["required"]!.AsArray().Select(n => n!.GetValue<string>()).Where(n => n != "x\"y").Select(n => JsonValue.Create(n))]);
        if (recursive) schema["$defs"] = new JsonObject { ["tree"] = Tree() };
        return schema;
    }

    private JsonNode Schema(int depth) => random.Next(depth > 0 ? 16 : 7) switch
    {
        0 => new JsonObject { ["type"] = Pick("null", "boolean", "string", "integer", "number") },
        1 => Text(),
        2 => Number(),
        3 => Enumeration(),
        4 => new JsonObject { ["const"] = Constant() },
        5 => new JsonObject { ["type"] = new JsonArray(Pick("string", "integer"), Pick("null", "boolean")) },
        6 => random.Next(6) == 0 ? true : new JsonObject { ["type"] = "number", ["multipleOf"] = random.Next(1, 5) * 0.25m },
        7 or 8 => Array(depth),
        9 or 10 or 11 => Object(depth),
        12 => new JsonObject { ["anyOf"] = new JsonArray(Schema(depth - 1), Schema(depth - 1)) },
        13 => new JsonObject { ["oneOf"] = new JsonArray(Text(), Number(), Enumeration()) },
        14 => new JsonObject { ["allOf"] = new JsonArray(Object(depth - 1), Object(depth - 1)) },
        _ => Reference(),
    };

    private JsonNode Reference()
    {
        recursive = true;
        return new JsonObject { ["$ref"] = "#/$defs/tree" };
    }

    private static JsonNode Tree() => JsonNode.Parse("""{"type":"object","properties":{"v":{"type":"integer"},"c":{"type":"array","items":{"$ref":"#/$defs/tree"},"maxItems":2}},"required":["v"],"additionalProperties":false}""")!;

    private JsonObject Text()
    {
        var schema = new JsonObject { ["type"] = "string" };
        if (random.Next(2) == 0) schema["minLength"] = random.Next(3);
        if (random.Next(2) == 0) schema["maxLength"] = random.Next(2, 9);
        if (random.Next(3) == 0) schema["pattern"] = Pick(Patterns);
        if (random.Next(4) == 0) schema["not"] = new JsonObject { ["enum"] = new JsonArray("a", "", "ab") };
        return schema;
    }

    private JsonObject Number()
    {
        var schema = new JsonObject { ["type"] = Pick("integer", "number") };
        if (random.Next(2) == 0) schema[Pick("minimum", "exclusiveMinimum")] = random.Next(-2000, 200) / (decimal)Math.Pow(10, random.Next(3));
        if (random.Next(2) == 0) schema[Pick("maximum", "exclusiveMaximum")] = random.Next(-100, 3000) / (decimal)Math.Pow(10, random.Next(3));
        if (random.Next(5) == 0) schema["not"] = new JsonObject { ["const"] = random.Next(-5, 5) };
        return schema;
    }

    private JsonObject Enumeration()
    {
        var values = new JsonArray();
        for (int i = random.Next(1, 5); i > 0; i--) values.Add(Constant());
        return new() { ["enum"] = values };
    }

    private JsonNode? Constant() => random.Next(7) switch
    {
        0 => null,
        1 => random.Next(-30, 30),
        2 => Pick("red", "green", "a\"b", "é\n"),
        3 => true,
        4 => new JsonArray(random.Next(3), "x"),
        5 => new JsonObject { ["k"] = random.Next(3), ["l"] = new JsonArray() },
        _ => random.Next(100) / 8m,
    };

    private JsonObject Array(int depth)
    {
        var schema = new JsonObject { ["type"] = "array", ["items"] = Schema(depth - 1) };
        if (random.Next(2) == 0) schema["minItems"] = random.Next(3);
        if (random.Next(2) == 0) schema["maxItems"] = random.Next(2, 5);
        switch (random.Next(6))
        {
            case 0: schema["prefixItems"] = new JsonArray(Schema(depth - 1), Schema(depth - 1)); break;
            case 1: (schema["items"], schema["contains"]) = (new JsonObject { ["type"] = "integer" }, new JsonObject { ["minimum"] = 5 }); break;
            case 2: (schema["items"], schema["uniqueItems"]) = (new JsonObject { ["enum"] = new JsonArray(1, 2, "a") }, true); break;
        }
        return schema;
    }

    private JsonObject Object(int depth)
    {
        var properties = new JsonObject();
        foreach (string name in Names.Where(_ => random.Next(2) == 0)) properties[name] = Schema(depth - 1);
        var required = new JsonArray();
        foreach (string name in properties.Select(p => p.Key).Where(_ => random.Next(2) == 0)) required.Add(name);
        var schema = new JsonObject { ["type"] = "object", ["properties"] = properties, ["required"] = required };
        switch (random.Next(4))
        {
            case 0: schema["additionalProperties"] = false; break;
            case 1: schema["additionalProperties"] = Schema(depth - 1); break;
        }
        if (random.Next(5) == 0) schema["maxProperties"] = random.Next(1, 4);
        if (random.Next(5) == 0) schema["minProperties"] = random.Next(2);
        return schema;
    }

    private string Pick(params string[] from) => from[random.Next(from.Length)];
}
