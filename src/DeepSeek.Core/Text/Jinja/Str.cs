using System.Text;

namespace DeepSeek.Text.Jinja;

/// <summary>
/// A string that knows which of its characters the caller wrote: they keep that mark through every operation, and text that cannot be told apart is the caller's.
/// Lengths and indices of the language are code points; <see cref="Value"/> is UTF-16.
/// </summary>
internal sealed class Str(string value, TextRange[] untrusted, bool isMarkup = false)
{
    public static readonly Str Empty = new("", []);
    private int[]? offsets;
    private int length = -1;

    public string Value { get; } = value;

    /// <summary>The caller's characters, in UTF-16 units: ascending, disjoint, none empty.</summary>
    public TextRange[] Untrusted { get; } = untrusted;

    /// <summary>Counts as HTML that is already escaped.</summary>
    public bool IsMarkup { get; } = isMarkup;

    public bool AllTrusted => Untrusted.Length == 0;

    /// <summary>Length in code points.</summary>
    public int Length
    {
        get
        {
            if (length >= 0) return length;
            int pairs = 0;
            for (int i = Value.AsSpan().IndexOfAnyInRange('\uD800', '\uDBFF'); i >= 0 && i + 1 < Value.Length; i++)
                if (char.IsSurrogatePair(Value[i], Value[i + 1])) { pairs++; i++; }
            return length = Value.Length - pairs;
        }
    }

    public static Str Trusted(string value) => value.Length == 0 ? Empty : new(value, []);

    public static Str FromCaller(string value) => value.Length == 0 ? Empty : new(value, [new(0, value.Length)]);

    public static Str Of(string value, bool trusted) => trusted ? Trusted(value) : FromCaller(value);

    /// <summary>Text computed from this one: position by position where the length is the same, otherwise as a whole.</summary>
    public Str Derive(string text)
    {
        if (text.Length == 0) return Empty;
        return text.Length == Value.Length ? new(text, Untrusted, IsMarkup) : new(text, AllTrusted ? [] : [new(0, text.Length)], IsMarkup);
    }

    public Str AsMarkup() => IsMarkup ? this : new(Value, Untrusted, true);

    public Str AsPlain() => IsMarkup ? new(Value, Untrusted) : this;

    /// <summary>UTF-16 offset of a code point.</summary>
    public int Offset(int codePoint)
    {
        if (Length == Value.Length) return codePoint;
        if (offsets is null)
        {
            offsets = new int[Length + 1];
            for (int i = 0, n = 0; n <= Length; n++)
            {
                offsets[n] = i;
                if (n < Length) i += char.IsHighSurrogate(Value[i]) && i + 1 < Value.Length && char.IsLowSurrogate(Value[i + 1]) ? 2 : 1;
            }
        }
        return offsets[codePoint];
    }

    /// <summary>Code points in front of a UTF-16 offset.</summary>
    public int CodePoint(int offset)
    {
        if (offset < 0 || Length == Value.Length) return offset;
        Offset(0);
        int found = Array.BinarySearch(offsets!, offset);
        return found < 0 ? ~found : found;
    }

    /// <summary>The code points [start, end).</summary>
    public Str Slice(int start, int end) => start >= end ? Empty : Cut(Offset(start), Offset(end));

    /// <summary>The UTF-16 units [start, end).</summary>
    public Str Cut(int start, int end)
    {
        if (start >= end) return Empty;
        if (start == 0 && end == Value.Length) return this;
        string text = Value[start..end];
        if (AllTrusted) return new(text, [], IsMarkup);
        int count = 0;
        foreach (TextRange r in Untrusted)
            if (r.Start < end && r.End > start) count++;
        var kept = new TextRange[count];
        count = 0;
        foreach (TextRange r in Untrusted)
            if (r.Start < end && r.End > start) kept[count++] = new(Math.Max(r.Start, start) - start, Math.Min(r.End, end) - start);
        return new(text, kept, IsMarkup);
    }

    /// <summary>Each code point as a string of its own.</summary>
    public IEnumerable<Str> Characters()
    {
        for (int i = 0; i < Length; i++) yield return Slice(i, i + 1).AsPlain();
    }

    public override bool Equals(object? obj) => obj is Str other && Value == other.Value;

    public override int GetHashCode() => Value.GetHashCode();

    public override string ToString() => Value;
}

/// <summary>Builds a <see cref="Str"/>; what it writes is paid for.</summary>
internal sealed class StrBuilder(Meter meter)
{
    private readonly StringBuilder text = new();
    private readonly List<TextRange> untrusted = [];

    public int Length => text.Length;

    public StrBuilder Append(Str s)
    {
        meter.Write(s.Value.Length);
        foreach (TextRange r in s.Untrusted) Mark(text.Length + r.Start, text.Length + r.End);
        text.Append(s.Value);
        return this;
    }

    public StrBuilder Append(string s, bool trusted)
    {
        meter.Write(s.Length);
        if (!trusted && s.Length > 0) Mark(text.Length, text.Length + s.Length);
        text.Append(s);
        return this;
    }

    /// <summary>The same string <paramref name="count"/> times.</summary>
    public StrBuilder Repeat(Str s, long count)
    {
        if (count <= 0 || s.Value.Length == 0) return this;
        meter.Write(checked(s.Value.Length * Math.Min(count, Meter.MaxCharacters + 1)));
        int start = text.Length;
        text.Insert(start, s.Value, (int)count);
        if (s.Untrusted is [{ Start: 0 } all] && all.End == s.Value.Length) Mark(start, text.Length);
        else if (!s.AllTrusted)
        {
            meter.Step(count);
            for (int i = 0; i < count; i++)
                foreach (TextRange r in s.Untrusted) Mark(start + i * s.Value.Length + r.Start, start + i * s.Value.Length + r.End);
        }
        return this;
    }

    public Str ToStr() => text.Length == 0 ? Str.Empty : new(text.ToString(), [.. untrusted]);

    private void Mark(int start, int end)
    {
        if (untrusted.Count > 0 && untrusted[^1].End == start) untrusted[^1] = new(untrusted[^1].Start, end);
        else untrusted.Add(new(start, end));
    }
}
