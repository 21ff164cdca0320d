using System.Text;
using DeepSeek.Generation;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Core.Tests.Generation;

public class StopDetectorTests
{
    [Fact]
    public void TheResult_DoesNotDependOnTheCuts() => Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed =>
    {
        var random = new System.Random(seed);
        string text = Word(random.Next(40));
        string[] stops = [.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => Word(random.Next(1, 5)))];
        // The first to be complete counts; of those complete at the same place, the longest.
        (int Start, int End) = stops.Select(s => (Start: text.IndexOf(s, StringComparison.Ordinal), s.Length)).Where(m => m.Start >= 0).Select(m => (m.Start, End: m.Start + m.Length))
            .OrderBy(m => m.End).ThenBy(m => m.Start).FirstOrDefault((text.Length, -1));
        string want = text[..Start];
        var detector = new StopDetector(stops);
        var shown = new StringBuilder();
        for (int at = 0; at < text.Length;)
        {
            int n = Math.Min(random.Next(1, 6), text.Length - at);
            shown.Append(detector.Add(text.Substring(at, n)));
            Assert.StartsWith(shown.ToString(), want, StringComparison.Ordinal); // what was shown is never taken back
            at += n;
        }
        shown.Append(detector.Flush());
        var bytes = new ByteMatcher([.. stops.Select(Encoding.UTF8.GetBytes)]);
        int stopped = Array.FindIndex(Encoding.UTF8.GetBytes(text), bytes.Add);
        return shown.ToString() == want && detector.Stopped == (End >= 0) && stopped == (End >= 0 ? End - 1 : -1);

        string Word(int length) => string.Concat(Enumerable.Range(0, length).Select(_ => (char)('a' + random.Next(2))));
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(2000));
}
