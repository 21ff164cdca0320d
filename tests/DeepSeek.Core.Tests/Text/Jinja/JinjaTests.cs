using System.Text.Json;
using DeepSeek.Tests;
using DeepSeek.Text.Jinja;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Core.Tests.Text.Jinja;

/// <summary>The template language, against what jinja2 made of the same programs, and within its bounds.</summary>
public class JinjaTests
{
    [Fact]
    public void Programs_GiveWhatJinja2Gives() => Check(SharedData.Local("templates", "programs.jsonl"));

    [SharedFact]
    public void Programs_GiveWhatJinja2Gives_All() => Check(SharedData.Path("text", "jinja.jsonl"));

    [Theory]
    [InlineData("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}")]
    [InlineData("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}")]
    [InlineData("{% for x in [[1]] recursive %}{{ loop(loop.previtem or [[1]]) }}{% endfor %}")]
    [InlineData("{{ 'x' * 10**9 }}")]
    [InlineData("{{ 'x' * 10**30 }}")]
    [InlineData("{{ [0] * 10**12 }}")]
    [InlineData("{{ 'x'.center(2000000000) }}")]
    [InlineData("{{ '%2000000000d' % 1 }}")]
    [InlineData("{{ '{:2000000000}'.format(1) }}")]
    [InlineData("{{ 'a'|indent(2000000000, true) }}")]
    [InlineData("{{ 10 ** (10 ** 10) }}")]
    [InlineData("{{ range(10**10) }}")]
    [InlineData("{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}")]
    [InlineData("{% set ns = namespace(x='ab') %}{% for i in range(100) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}")]
    [InlineData("{% set ns = namespace(x='ab') %}{% for i in range(100) %}{% set ns.x = ns.x.replace('', ns.x) %}{% endfor %}")]
    [InlineData("{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}")]
    [InlineData("{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x|tojson }}")]
    [InlineData("{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x == [ns.x] }}")]
    [InlineData("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}")]
    [InlineData("{{ [1]|tojson(indent='x' * 100000000)|length }}{{ [[[[1]]]]|tojson(indent='x' * 100000000)|length }}")]
    public void Excess_EndsInAnError(string program) => Assert.Throws<ChatTemplateException>(() => Run(program));

    [Fact]
    public void DeepNesting_IsRefused()
    {
        foreach (var (open, middle, close) in new[] { ("(", "1", ")"), ("[", "", "]"), ("-", "1", ""), ("not ", "1", ""), ("{'a':", "1", "}"), ("1 if ", "1", ""), ("a[", "1", "]") })
            Assert.Throws<ChatTemplateException>(() => Run("{{ " + string.Concat(Enumerable.Repeat(open, 100_000)) + middle + string.Concat(Enumerable.Repeat(close, 100_000)) + " }}"));
        Assert.Throws<ChatTemplateException>(() => Run(string.Concat(Enumerable.Repeat("{% if 1 %}", 100_000)) + string.Concat(Enumerable.Repeat("{% endif %}", 100_000))));
    }

    [Theory]
    [InlineData("a\nb\n{{ 1 + }}", "line 3")]
    [InlineData("{% if 1 %}\n\n{% endfor %}", "line 3")]
    [InlineData("\n{{ x|nosuch }}", "nosuch")]
    [InlineData("\n\n{{ 1 / 0 }}", "line 3")]
    [InlineData("{{ raise_exception('roles must alternate') }}", "roles must alternate")]
    public void Errors_SayWhere(string program, string expected) => Assert.Contains(expected, Assert.Throws<ChatTemplateException>(() => Run(program)).Message, StringComparison.Ordinal);

    /// <summary>Programs put together from pieces of the language: an error or a text, and nothing else.</summary>
    [Fact]
    public void AnyProgram_EndsInTextOrOneKindOfError()
    {
        string[] pieces =
        [
            "{{ ", " }}", "{% ", " %}", "{%- ", " -%}", "for x in ", "range(3)", "endfor", "if ", "endif", "else", "set y = ", "macro m(a) ", "endmacro", "m(", ")", "(", "[", "]", "{", "}", "'a'", "\"é😀\"", "1", "2.5",
            "-", "+", "*", "**", "//", "%", "~", "|upper", "|join(',')", "|map('upper')", "|list", "|tojson", "|sort", "|int", "|round", "|items", ".x", ".items()", ".split()", ".format(1)", "[0]", "[::-1]", " is defined", " in ", " not ",
            " and ", "x", "y", "loop", "loop.index", "none", "true", ",", ":", "=", " ", "\n", "{# ", " #}", "namespace(a=1)", "text",
        ];
        Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed =>
        {
            var random = new System.Random(seed);
            string program = string.Concat(Enumerable.Range(0, random.Next(1, 25)).Select(_ => pieces[random.Next(pieces.Length)]));
            string expression = "{{ " + string.Concat(Enumerable.Range(0, random.Next(1, 8)).Select(_ => pieces[random.Next(16, pieces.Length)])) + " }}";
            foreach (string p in new[] { program, expression })
            {
                try { Run(p); }
                catch (ChatTemplateException) { }
            }
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));
    }

    private static string Run(string program, JsonElement? context = null) =>
        new Evaluator(Parser.Parse(program), Noon.Clock).Render((Dict)Json.Value(context ?? JsonElement.Parse("{\"x\":{\"x\":[1,\"a\"]},\"y\":\"a b\"}"))!).Value;

    private static void Check(string path)
    {
        int n = 0;
        foreach (JsonElement v in File.ReadLines(path).Select(l => JsonElement.Parse(l)))
        {
            string program = v.GetProperty("template").GetString()!;
            if (v.TryGetProperty("expected", out JsonElement expected)) Assert.True(expected.GetString() == Run(program, v.GetProperty("context")), $"{program}\nexpected {expected.GetString()}\nbut was  {Run(program, v.GetProperty("context"))}");
            else Assert.Throws<ChatTemplateException>(() => Run(program, v.GetProperty("context")));
            n++;
        }
        Assert.True(n > 20);
    }
}
