using System.Text.RegularExpressions;

namespace DeepSeek.Text.Jinja;

/// <summary>Greedy wrapping by the rules of Python's textwrap.</summary>
internal static partial class WordWrapper
{
    public static List<string> Wrap(string text, int width, bool breakLongWords, bool breakOnHyphens)
    {
        var chunks = new Stack<string>((breakOnHyphens ? Hyphenated().Split(text) : Plain().Split(text)).Where(c => c.Length > 0).Reverse());
        List<string> lines = [];
        while (chunks.Count > 0)
        {
            List<string> line = [];
            int length = 0;
            if (lines.Count > 0 && IsBlank(chunks.Peek())) chunks.Pop();
            while (chunks.Count > 0 && length + chunks.Peek().Length <= width)
            {
                length += chunks.Peek().Length;
                line.Add(chunks.Pop());
            }
            if (chunks.Count > 0 && chunks.Peek().Length > width)
            {
                int room = width - length;
                if (breakLongWords)
                {
                    string chunk = chunks.Pop();
                    int end = room;
                    if (breakOnHyphens && room > 0 && chunk.Length > room && chunk.LastIndexOf('-', room - 1) is > 0 and var hyphen && chunk.AsSpan(0, hyphen).IndexOfAnyExcept('-') >= 0) end = hyphen + 1;
                    line.Add(chunk[..end]);
                    chunks.Push(chunk[end..]);
                }
                else if (line.Count == 0) line.Add(chunks.Pop());
            }
            if (line.Count > 0 && IsBlank(line[^1])) line.RemoveAt(line.Count - 1);
            if (line.Count > 0) lines.Add(string.Concat(line));
        }
        return lines;
    }

    private static bool IsBlank(string chunk) => chunk.All(c => c is ' ' or '\t' or '\n' or '\v' or '\f' or '\r');

    [GeneratedRegex(@"([\t\n\v\f\r ]+)")]
    private static partial Regex Plain();

    // Blanks; a run of hyphens between words; a word, which may end behind a hyphen between two letters.
    [GeneratedRegex(@"([\t\n\v\f\r ]+|(?<=[\w!""'&.,?])-{2,}(?=\w)|[^\t\n\v\f\r ]+?(?:-(?:(?<=[^\d\W]{2}-)|(?<=[^\d\W]-[^\d\W]-))(?=[^\d\W]-?[^\d\W])|(?=[\t\n\v\f\r ]|\z)|(?<=[\w!""'&.,?])(?=-{2,}\w)))", RegexOptions.None, 2000)]
    private static partial Regex Hyphenated();
}
