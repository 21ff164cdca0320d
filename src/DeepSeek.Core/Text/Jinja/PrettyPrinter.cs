namespace DeepSeek.Text.Jinja;

/// <summary>Python's pprint.pformat: one line where it fits 80 columns, otherwise an item a line. Dicts come sorted by key.</summary>
internal static class PrettyPrinter
{
    private const int Width = 80;

    public static Str Format(object? value, Meter meter)
    {
        Str plain = Printer.Repr(Sorted(value, meter), meter);
        return plain.Value.Length <= Width ? plain : Str.Of(Lines(Sorted(value, meter), 0, 0, meter), plain.AllTrusted);
    }

    private static object? Sorted(object? value, Meter meter)
    {
        meter.Step();
        Meter.CheckStack();
        switch (value)
        {
            case List<object?> list: return list.Select(i => Sorted(i, meter)).ToList();
            case object?[] tuple: return tuple.Select(i => Sorted(i, meter)).ToArray();
            case Dict dict:
                var sorted = new Dict();
                List<object?> keys = [.. dict.Keys];
                bool comparable = keys.All(k => k is Str) || keys.All(Numbers.IsNumber);
                foreach (object? key in comparable ? Comparison.Sort(keys, k => k, false, meter) : keys) sorted[key] = dict.TryGet(key, out object? v) ? Sorted(v, meter) : null;
                return sorted;
            default: return value;
        }
    }

    private static string Lines(object? value, int indent, int allowance, Meter meter)
    {
        meter.Step();
        Meter.CheckStack();
        string plain = Printer.Repr(value, meter).Value;
        if (plain.Length <= Width - indent - allowance) return plain;
        string Items(string open, IReadOnlyCollection<object?> items, string close)
        {
            int n = 0;
            return open + string.Join(",\n" + new string(' ', indent + 1), items.Select(i => Lines(i, indent + 1, ++n == items.Count ? allowance + close.Length : 1, meter))) + close;
        }
        switch (value)
        {
            case List<object?> { Count: > 0 } list: return Items("[", list, "]");
            case object?[] { Length: > 0 } tuple: return Items("(", tuple, tuple.Length == 1 ? ",)" : ")");
            case Dict { Count: > 0 } dict:
                int n = 0;
                return "{" + string.Join(",\n" + new string(' ', indent + 1), dict.Items.Select(p =>
                {
                    string key = Printer.Repr(p.Key, meter).Value + ": ";
                    return key + Lines(p.Value, indent + key.Length + 1, ++n == dict.Count ? allowance + 1 : 1, meter);
                })) + "}";
            default: return plain;
        }
    }
}
