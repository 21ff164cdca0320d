using System.Text;
using System.Text.Json;
using DeepSeek.Generation.Constraints;

namespace DeepSeek.Core.Tests.Generation.Constraints;

public class JsonSchemaGrammarTests
{
    [Theory]
    [InlineData("""{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},"required":["a"],"additionalProperties":false}""",
        new[] { """{"a":1}""", """{"a": 1, "b": "x"}""" }, new[] { """{"b":"x"}""", """{"a":1,}""", """{"a":1,  "b":"x"}""", """{"a":1,"a":2}""", """{ "a":1}""" })]
    [InlineData("""{"type":"object","properties":{"a":true},"additionalProperties":{"type":"integer"}}""",
        new[] { """{"a":[1,{"x":null}],"b":2}""", """{"é\n":3}""", "{}" }, new[] { """{"b":2,"a":"x"}""", """{"b":"2"}""", """{"\u0061":"x"}""" })]
    [InlineData("""{"type":"string","minLength":2,"maxLength":3}""", new[] { "\"\\u00e9x\"", "\"\\ud83d\\ude00😀\"", "\"\\\\\\\"\"" }, new[] { "\"x\"", "\"abcd\"", "\"\\ud83d\\ude00\"", "\"\\ud83dxy\"", "\"a\nb\"" })]
    [InlineData("""{"type":"string","pattern":"a.c"}""", new[] { "\"xxabcxx\"", "\"a\\\"c\"" }, new[] { "\"ac\"", "\"a\\nc\"" })]
    [InlineData("""{"type":"string","pattern":"^[a-z]+$","minLength":2,"maxLength":4}""", new[] { "\"ab\"", "\"abcd\"" }, new[] { "\"a\"", "\"abcde\"", "\"aB\"" })]
    [InlineData("""{"type":"integer","minimum":-5,"exclusiveMaximum":120}""", new[] { "-5", "0", "119" }, new[] { "-6", "120", "-0", "00", "1.0", "+1" })]
    [InlineData("""{"type":"number","exclusiveMinimum":0.5,"maximum":12.25}""", new[] { "0.51", "0.500001", "12.25", "12.250", "9.99", "1" }, new[] { "0.5", "0.50", "12.26", "13", "-1", "12.2500001" })]
    [InlineData("""{"type":"number","maximum":-0.5}""", new[] { "-0.5", "-0.51", "-100" }, new[] { "-0.49", "0", "-0.0", "0.6" })]
    [InlineData("""{"type":"number","multipleOf":0.25}""", new[] { "0", "0.5", "-7.75", "3.250", "12" }, new[] { "0.3", "0.125", "-0.1" })]
    [InlineData("""{"type":"integer","multipleOf":7,"minimum":100}""", new[] { "105", "700" }, new[] { "98", "104" })]
    [InlineData("""{"enum":[1,"a",null,{"x":[1,2]},1.5]}""", new[] { "1", "\"a\"", "null", """{"x":[1,2]}""", """{"x": [1, 2]}""", "1.5" }, new[] { "2", "\"b\"", """{"x":[2,1]}""", """{"x":[1,2],"y":1}""", "{}" })]
    [InlineData("""{"type":["string","null"],"enum":["a",null,3]}""", new[] { "\"a\"", "null" }, new[] { "3", "\"\"" })]
    [InlineData("""{"type":"array","prefixItems":[{"type":"integer"},{"type":"boolean"}],"items":{"type":"null"},"maxItems":4}""", new[] { "[]", "[1]", "[1,true]", "[1,true,null,null]" }, new[] { "[true]", "[1,true,1]", "[1,true,null,null,null]" })]
    [InlineData("""{"items":[{"type":"integer"}],"additionalItems":false,"type":"array"}""", new[] { "[]", "[1]" }, new[] { "[1,2]", "[null]" })]
    [InlineData("""{"type":"array","items":{"enum":["a","b","c"]},"uniqueItems":true,"minItems":2}""", new[] { """["a","c"]""", """["c","b","a"]""" }, new[] { """["a","a"]""", """["a"]""" })]
    [InlineData("""{"type":"array","items":{"type":"integer"},"contains":{"minimum":10},"minContains":2,"maxContains":3,"maxItems":5}""", new[] { "[10,11]", "[1,12,2,13,14]" }, new[] { "[10]", "[10,11,12,13]", "[1,1,1,1,10,10]" })]
    [InlineData("""{"oneOf":[{"type":"integer","minimum":0},{"type":"integer","maximum":6}]}""", new[] { "-1", "7" }, new[] { "0", "6" })]
    [InlineData("""{"oneOf":[{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]},{"type":"object","properties":{"b":{"type":"string"}},"required":["b"]}]}""", new[] { """{"a":"x"}""", """{"b":"x"}""" }, new[] { """{"a":"x","b":"x"}""", "{}" })]
    [InlineData("""{"not":{"type":"integer"},"type":"number"}""", new[] { "1.5", "-0.25" }, new[] { "1", "1.0", "0" })]
    [InlineData("""{"type":"string","not":{"enum":["a","b"]}}""", new[] { "\"\"", "\"aa\"", "\"c\"" }, new[] { "\"a\"", "\"b\"" })]
    [InlineData("""{"not":{"const":[1,2]},"type":"array","items":{"type":"integer"}}""", new[] { "[]", "[1]", "[2,2]", "[1,3]", "[1,2,3]" }, new[] { "[1,2]" })]
    [InlineData("""{"type":"object","patternProperties":{"^n_":{"type":"number"},"_s$":{"type":"string"}},"additionalProperties":false}""", new[] { """{"n_a":1,"b_s":"x"}""", "{}" }, new[] { """{"n_a":"x"}""", """{"c":1}""", """{"n_s":1}""" })]
    [InlineData("""{"type":"object","propertyNames":{"maxLength":2},"additionalProperties":{"type":"null"}}""", new[] { """{"ab":null,"é":null}""" }, new[] { """{"abc":null}""" })]
    [InlineData("""{"type":"object","properties":{"a":{},"b":{},"c":{}},"minProperties":2,"additionalProperties":false}""", new[] { """{"a":1,"c":2}""", """{"a":1,"b":1,"c":2}""" }, new[] { """{"a":1}""", "{}" })]
    [InlineData("""{"type":"object","properties":{"a":{},"b":{},"c":{}},"maxProperties":1}""", new[] { """{"a":1}""", "{}" }, new[] { """{"a":1,"b":2}""" })]
    [InlineData("""{"if":{"type":"integer"},"then":{"minimum":10},"else":{"type":"string"}}""", new[] { "10", "\"x\"" }, new[] { "9", "1.5", "null" })]
    [InlineData("""{"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},"next":{"$ref":"#/$defs/n"}},"required":["v"],"additionalProperties":false}}}""", new[] { """{"v":1}""", """{"v":1,"next":{"v":2,"next":{"v":3}}}""" }, new[] { """{"next":{"v":1}}""", """{"v":1,"next":{}}""" })]
    [InlineData("""{"allOf":[{"properties":{"a":{"minimum":3}}},{"properties":{"a":{"type":"integer"},"b":{"type":"null"}},"required":["a"]}],"type":"object","unevaluatedProperties":false}""", new[] { """{"a":3}""", """{"a":4,"b":null}""" }, new[] { """{"a":2}""", """{"a":3,"c":1}""" })]
    [InlineData("""{"type":"string","format":"date"}""", new[] { "\"2024-02-29\"", "\"2000-02-29\"" }, new[] { "\"2023-02-29\"", "\"1900-02-29\"", "\"2024-04-31\"", "\"0000-01-01\"", "\"2024-1-01\"" })]
    [InlineData("""{"type":"string","format":"ipv6"}""", new[] { "\"::1\"", "\"2001:db8::8a2e:370:7334\"", "\"1:2:3:4:5:6:7:8\"" }, new[] { "\"1:2:3\"", "\"1::2::3\"", "\":1\"" })]
    [InlineData("""{"type":"string","format":"duration"}""", new[] { "\"P3Y6M4D\"", "\"PT1H30M\"", "\"P2W\"", "\"P1DT12H\"" }, new[] { "\"P\"", "\"PT\"", "\"P1S\"", "\"P1Y2D\"" })]
    [InlineData("""{"type":"string","format":"time"}""", new[] { "\"23:59:59Z\"", "\"00:00:00.25+01:00\"" }, new[] { "\"24:00:00Z\"", "\"12:00:00\"" })]
    [InlineData("""{"type":"integer","format":"int32","title":"t","description":"d","default":3,"examples":[1],"$comment":"c","readOnly":true,"deprecated":false,"x-vendor":{"a":1}}""", new[] { "3" }, new[] { "null" })]
    public void AcceptsWhatTheSchemaAllows(string schema, string[] valid, string[] invalid)
    {
        Grammar grammar = Compile(schema);
        Assert.DoesNotContain(valid, t => !grammar.Accepts(Encoding.UTF8.GetBytes(t)));
        Assert.DoesNotContain(invalid, t => grammar.Accepts(Encoding.UTF8.GetBytes(t)));
    }

    [Theory]
    [InlineData("""{"properties":{"tags":{"type":"array","items":{"type":"string"},"uniqueItems":true}}}""", "uniqueItems", "#/properties/tags")]
    [InlineData("""{"items":{"$dynamicRef":"#x"}}""", "$dynamicRef", "#/items")]
    [InlineData("""{"$ref":"https://example.com/other"}""", "$ref", "#")]
    [InlineData("""{"anyOf":[{"type":"string","pattern":"(a)\\1"}]}""", "pattern", "#/anyOf/0")]
    [InlineData("""{"type":"string","pattern":"(.{0,9999}){0,9999}"}""", "pattern", "#")]
    [InlineData("""{"type":"string","pattern":"^[a-z]+$","maxLength":1000000000}""", "maxLength", "#")]
    [InlineData("""{"type":"string","format":"uri-template"}""", "format", "#")]
    [InlineData("""{"type":"object","minProperties":3,"additionalProperties":{"type":"string"}}""", "minProperties", "#")]
    [InlineData("""{"type":"number","multipleOf":0.00001234567}""", "multipleOf", "#")]
    [InlineData("""{"type":"array","contains":{"const":1},"minContains":1000000000}""", "contains", "#")]
    [InlineData("""{"not":{"patternProperties":{"a":{"type":"string"}}}}""", "not", "#/not")]
    public void RefusesByNameWhatItCannotEnforce(string schema, string keyword, string place)
    {
        var e = Assert.Throws<UnsupportedModelException>(() => Compile(schema));
        Assert.Contains($"'{keyword}' at '{place}'", e.Message, StringComparison.Ordinal);
        Assert.Equal(keyword, e.Data[SchemaErrors.KeywordKey]);
    }

    [Theory]
    [InlineData("3")]
    [InlineData("""{"type":"strin"}""")]
    [InlineData("""{"items":3}""")]
    [InlineData("""{"minLength":-1}""")]
    [InlineData("""{"required":"a"}""")]
    [InlineData("""{"$ref":"#/$defs/absent"}""")]
    [InlineData("""{"$ref":"#"}""")]
    [InlineData("""{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"anyOf":[{"$ref":"#/$defs/a"}]}},"$ref":"#/$defs/a"}""")]
    [InlineData("""{"const":"\ud800"}""")]
    [InlineData("""{"properties":{"\ud800":{}}}""")]
    public void RefusesMalformedSchemas(string schema) => Assert.Throws<InvalidOptionException>(() => Compile(schema));

    [Theory]
    [InlineData("false")]
    [InlineData("""{"type":"integer","minimum":3,"maximum":2}""")]
    [InlineData("""{"type":"integer","minimum":3.1,"maximum":3.9}""")]
    [InlineData("""{"type":"string","enum":[1,2]}""")]
    [InlineData("""{"type":"string","pattern":"^a$","minLength":2}""")]
    [InlineData("""{"type":"object","properties":{"a":false},"required":["a"]}""")]
    [InlineData("""{"type":"object","properties":{"n":{"$ref":"#"}},"required":["n"]}""")]
    [InlineData("""{"type":"array","items":{"type":"boolean"},"uniqueItems":true,"minItems":3}""")]
    public void RefusesWhatNothingSatisfies(string schema)
    {
        using JsonDocument document = JsonDocument.Parse(schema);
        Assert.True(Grammar.OfJsonSchema(document.RootElement).IsEmpty);
        Assert.Throws<InvalidOptionException>(() => Grammar.Of(new OutputConstraint.JsonSchema(document.RootElement)));
    }

    public static TheoryData<string> Hostile() =>
    [
        Nested(400), Nested(5_000),
        """{"type":"string","maxLength":1000000000}""", """{"type":"string","maxLength":1e300}""", """{"type":"array","items":{"type":"integer"},"maxItems":1000000000}""",
        """{"minimum":1e999999999}""", """{"minimum":-1e300,"maximum":1e300,"type":"number"}""", """{"type":"object","minProperties":1000000000}""",
        "{\"$defs\":{" + Join(40, i => Named($"x{i}", $"{{\"anyOf\":[{Reference(i + 1)},{Reference(i + 1)}]}}")) + ",\"x40\":{\"type\":\"null\"}},\"$ref\":\"#/$defs/x0\"}",
        "{\"allOf\":[" + Join(24, i => $"{{\"anyOf\":[{{\"minLength\":{i}}},{{\"maxLength\":{i + 5}}}]}}") + "]}",
        "{\"allOf\":[" + Join(16, i => $"{{\"oneOf\":[{{\"required\":[\"a{i}\"]}},{{\"required\":[\"b{i}\"]}}]}}") + "]}",
        "{\"type\":\"object\",\"properties\":{\"in\":{\"type\":\"object\",\"properties\":{" + Join(300, i => Named($"p{i}", "{\"type\":\"string\"}")) + "}}}}",
        "{\"type\":\"object\",\"properties\":{" + Join(3_000, i => Named($"p{i}", "true")) + "}}",
        $$"""{"enum":[{{Join(3_000, i => $"\"value{i}\"")}}]}""",
        """{"type":"string","pattern":"(((((a{0,9}){0,9}){0,9}){0,9}){0,9}){0,9}"}""", """{"type":"string","pattern":"(a|b)*a(a|b){15}","minLength":3}""",
        """{"type":"string","pattern":"x{2147483647}"}""", $$"""{"type":"string","pattern":"{{new string('(', 5_000)}}"}""", """{"type":"string","pattern":".*a.{2000}"}""",
    ];

    [Theory]
    [MemberData(nameof(Hostile))]
    public void HostileSchemasCompileOrGiveTypedErrors(string schema)
    {
        Grammar grammar;
        try
        {
            grammar = Compile(schema);
        }
        catch (ModelException e)
        {
            Assert.True(e is UnsupportedModelException or InvalidOptionException);
            return;
        }
        // Two hundred steps wherever the last allowed byte leads.
        Term state = grammar.Start;
        for (int i = 0; i < 200 && state.Kind != TermKind.Epsilon; i++)
            state = grammar.Factory.Next(state, (byte)Enumerable.Range(0, 256).Last(b => !grammar.Factory.Next(state, (byte)b).IsEmpty));
    }

    private static string Nested(int depth) => string.Concat(Enumerable.Repeat("""{"type":"array","items":""", depth)) + "{}" + new string('}', depth);

    private static string Named(string name, string value) => $"\"{name}\":{value}";

    private static string Reference(int i) => $"{{\"$ref\":\"#/$defs/x{i}\"}}";

    private static string Join(int count, Func<int, string> part) => string.Join(',', Enumerable.Range(0, count).Select(part));

    private static Grammar Compile(string schema)
    {
        using JsonDocument document = JsonDocument.Parse(schema, new() { MaxDepth = 100_000 });
        return Grammar.OfJsonSchema(document.RootElement);
    }
}
