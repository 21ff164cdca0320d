namespace DeepSeek.Generation.Constraints;

/// <summary>The formats of JSON Schema (validation vocabulary, section 7.3) as regular expressions. All are enforced; each is a subset of its RFC.</summary>
internal static class StringFormats
{
    // Gregorian: 29 February where 4 divides the year, and 400 where 100 does. Year 0 is valid in RFC 3339 but in few libraries.
    private const string Date = "(?!0000)("
        + @"[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
        + @"|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)";

    private const string Clock = @"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?";
    private const string Offset = @"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
    private const string Label = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
    private const string Host = $@"{Label}(\.{Label}){{0,8}}";
    private const string Labels = @"[A-Za-z0-9]+(-+[A-Za-z0-9]+)*(\.[A-Za-z0-9]+(-+[A-Za-z0-9]+)*)*";

    // RFC 3339, appendix A.
    private const string N = "[0-9]{1,6}";
    private const string DateDuration = $"({N}D|{N}M({N}D)?|{N}Y({N}M({N}D)?)?)";
    private const string TimeDuration = $"({N}H({N}M({N}S)?)?|{N}M({N}S)?|{N}S)";

    private const string Byte = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    private const string IPv4 = $@"{Byte}(\.{Byte}){{3}}";
    private const string H = "[0-9A-Fa-f]{1,4}";

    // RFC 4291, section 2.2: eight groups, or fewer with one "::"; the last two may be an IPv4 address.
    private const string IPv6 = $"(({H}:){{7}}{H}|({H}:){{6}}{IPv4}|({H}:){{1,7}}:|({H}:){{1,6}}:{H}|({H}:){{1,5}}(:{H}){{2}}|({H}:){{1,4}}(:{H}){{3}}"
        + $"|({H}:){{1,3}}(:{H}){{4}}|({H}:){{1,2}}(:{H}){{5}}|{H}:(:{H}){{6}}|:(:{H}){{1,7}}|::)";

    private const string PercentEncoded = "%[0-9A-Fa-f]{2}";
    private const string PathCharacter = $"([A-Za-z0-9._~!$&'()*+,;=:@/-]|{PercentEncoded})";
    private const string PathStart = $"([A-Za-z0-9._~!$&'()*+,;=:@-]|{PercentEncoded})";
    private const string QueryCharacter = $"([A-Za-z0-9._~!$&'()*+,;=:@/?-]|{PercentEncoded})";
    private const string Authority = $@"(([A-Za-z0-9._~!$&'()*+,;=:-]|{PercentEncoded})*@)?([A-Za-z0-9._~!$&'()*+,;=-]|{PercentEncoded})*(:[0-9]{{1,5}})?";
    private const string Tail = $@"(\?{QueryCharacter}*)?(#{QueryCharacter}*)?";
    private const string Uri = $@"[A-Za-z][A-Za-z0-9+.-]*:(//{Authority}(/{PathCharacter}*)?|/({PathStart}{PathCharacter}*)?|{PathStart}{PathCharacter}*){Tail}";
    private const string RelativeStart = $"([A-Za-z0-9._~!$&'()*+,;=@-]|{PercentEncoded})";
    private const string UriReference = $@"({Uri}|(//{Authority}(/{PathCharacter}*)?|/({PathStart}{PathCharacter}*)?|{RelativeStart}+(/{PathCharacter}*)?)?{Tail})";

    private static readonly Dictionary<string, string> Patterns = new()
    {
        ["date"] = Date,
        ["time"] = $"{Clock}{Offset}",
        ["date-time"] = $"{Date}T{Clock}{Offset}",
        ["duration"] = $"P({N}W|{DateDuration}(T{TimeDuration})?|T{TimeDuration})",
        ["email"] = $@"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]+)*@{Labels}",
        ["hostname"] = Host,
        ["ipv4"] = IPv4,
        ["ipv6"] = IPv6,
        ["uuid"] = "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
        ["uri"] = Uri,
        ["uri-reference"] = UriReference,
        ["json-pointer"] = "(/([^/~]|~[01])*)*",
        ["relative-json-pointer"] = "(0|[1-9][0-9]{0,8})(#|(/([^/~]|~[01])*)*)",
    };

    /// <summary>Formats of the specification that have no regular expression here.</summary>
    private static readonly HashSet<string> Refused = ["idn-email", "idn-hostname", "iri", "iri-reference", "uri-template", "regex"];

    /// <summary>The pattern that a whole string of the format matches; null for a name that the specification does not know, which is an annotation.</summary>
    /// <exception cref="PatternException">The format is known and cannot be enforced.</exception>
    public static string? Pattern(string format) =>
        Refused.Contains(format) ? throw new PatternException($"format '{format}' is not supported") : Patterns.GetValueOrDefault(format);
}
