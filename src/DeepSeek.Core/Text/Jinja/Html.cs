using System.Text;
using System.Text.RegularExpressions;

namespace DeepSeek.Text.Jinja;

/// <summary>The few HTML operations that the language has built in.</summary>
internal static partial class Html
{
    public static Str Escape(Str s, Meter meter)
    {
        if (s.IsMarkup) return s;
        var text = new StrBuilder(meter);
        int start = 0;
        for (int i = 0; i < s.Value.Length; i++)
        {
            string? entity = s.Value[i] switch { '&' => "&amp;", '<' => "&lt;", '>' => "&gt;", '"' => "&#34;", '\'' => "&#39;", _ => null };
            if (entity is null) continue;
            text.Append(s.Cut(start, i)).Append(entity, s.Cut(i, i + 1).AllTrusted);
            start = i + 1;
        }
        return text.Append(s.Cut(start, s.Value.Length)).ToStr().AsMarkup();
    }

    public static string StripTags(string text)
    {
        for (int start; (start = text.IndexOf("<!--", StringComparison.Ordinal)) >= 0 && text.IndexOf("-->", start, StringComparison.Ordinal) is var end and >= 0;)
            text = text.Remove(start, end + 3 - start);
        var kept = new StringBuilder();
        for (int i = 0; i < text.Length;)
        {
            int open = text.IndexOf('<', i), close = open < 0 ? -1 : text.IndexOf('>', open);
            kept.Append(text, i, close < 0 ? text.Length - i : open - i);
            if (close < 0) break;
            i = close + 1;
        }
        string[] words = kept.ToString().Split(StringMethods.Whitespace.ToCharArray(), StringSplitOptions.RemoveEmptyEntries);
        return System.Net.WebUtility.HtmlDecode(string.Join(' ', words));
    }

    /// <summary>Percent encoding of UTF-8; letters, digits and _.-~ stay, and '/' unless <paramref name="query"/>, where a blank becomes '+'.</summary>
    public static string UrlQuote(string text, bool query)
    {
        var quoted = new StringBuilder();
        foreach (byte b in Encoding.UTF8.GetBytes(text))
        {
            char c = (char)b;
            if (char.IsAsciiLetterOrDigit(c) || c is '_' or '.' or '-' or '~' || c == '/' && !query) quoted.Append(c);
            else if (c == ' ' && query) quoted.Append('+');
            else quoted.Append($"%{b:X2}");
        }
        return quoted.ToString();
    }

    /// <summary>Links for what looks like an address.</summary>
    public static string Urlize(string text, int? limit, string rel, string? target)
    {
        string attributes = (rel.Length > 0 ? $" rel=\"{System.Net.WebUtility.HtmlEncode(rel)}\"" : "") + (target is null ? "" : $" target=\"{System.Net.WebUtility.HtmlEncode(target)}\"");
        string Trim(string s) => limit is { } n && s.Length > n ? s[..n] + "..." : s;
        string escaped = text.Replace("&", "&amp;", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal).Replace(">", "&gt;", StringComparison.Ordinal)
            .Replace("\"", "&#34;", StringComparison.Ordinal).Replace("'", "&#39;", StringComparison.Ordinal);
        return Word().Replace(escaped, m =>
        {
            string middle = m.Value, head = Head().Match(middle).Value;
            middle = middle[head.Length..];
            string tail = Tail().Match(middle).Value;
            middle = middle[..^tail.Length];
            foreach (var (open, close) in new[] { ("(", ")"), ("<", ">"), ("&lt;", "&gt;") })
            {
                int missing = Count(middle, open) - Count(middle, close);
                while (missing-- > 0 && tail.Contains(close, StringComparison.Ordinal))
                {
                    int end = tail.IndexOf(close, StringComparison.Ordinal) + close.Length;
                    (middle, tail) = (middle + tail[..end], tail[end..]);
                }
            }
            if (Web().IsMatch(middle))
                middle = $"<a href=\"{(middle.StartsWith("http://", StringComparison.Ordinal) || middle.StartsWith("https://", StringComparison.Ordinal) ? "" : "https://")}{middle}\"{attributes}>{Trim(middle)}</a>";
            else if (middle.StartsWith("mailto:", StringComparison.Ordinal) && Mail().IsMatch(middle[7..])) middle = $"<a href=\"{middle}\">{middle[7..]}</a>";
            else if (middle.Contains('@', StringComparison.Ordinal) && !middle.StartsWith("www.", StringComparison.Ordinal) && !middle.Contains(':', StringComparison.Ordinal) && Mail().IsMatch(middle))
                middle = $"<a href=\"mailto:{middle}\">{middle}</a>";
            return head + middle + tail;
        });
    }

    private static int Count(string text, string part) => (text.Length - text.Replace(part, "", StringComparison.Ordinal).Length) / part.Length;

    [GeneratedRegex(@"\S+")]
    private static partial Regex Word();

    [GeneratedRegex(@"^(?:[(<]|&lt;)*")]
    private static partial Regex Head();

    [GeneratedRegex(@"(?:[)>.,\n]|&gt;)*$")]
    private static partial Regex Tail();

    [GeneratedRegex(@"^(?:(?:https?://|www\.)(?:(?:[\w%-]+\.)+[a-z]{2,63}|localhost|\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\])(?::\d{1,5})?(?:[/?#]\S*)?|(?:[\w%-]+\.)+(?:com|net|int|edu|gov|org|info|mil)(?::\d{1,5})?(?:[/?#]\S*)?)$", RegexOptions.IgnoreCase, 1000)]
    private static partial Regex Web();

    [GeneratedRegex(@"^\S+@\w[\w.-]*\.\w+$", RegexOptions.None, 1000)]
    private static partial Regex Mail();
}
