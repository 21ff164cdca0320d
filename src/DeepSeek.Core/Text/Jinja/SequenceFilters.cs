namespace DeepSeek.Text.Jinja;

/// <summary>Filters over sequences.</summary>
internal static class SequenceFilters
{
    public static Lazy Batch(Evaluator e, object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("batch", "linecount", "fill_with?");
        int size = Numbers.Int(a[0]);
        return new(Run());

        IEnumerable<object?> Run()
        {
            List<object?> row = [];
            foreach (object? item in Operators.Iterate(value, e.Meter))
            {
                if (row.Count == size)
                {
                    yield return row;
                    row = [];
                }
                row.Add(item);
            }
            if (row.Count == 0) yield break;
            if (a[1] is not (Missing or null))
            {
                e.Meter.Step(Math.Max(0, size - row.Count));
                while (row.Count < size) row.Add(a[1]);
            }
            yield return row;
        }
    }

    public static Lazy Slice(Evaluator e, object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("slice", "slices", "fill_with?");
        int slices = Numbers.Int(a[0]);
        return new(Run());

        IEnumerable<object?> Run()
        {
            List<object?> items = Operators.ToList(value, e.Meter);
            if (slices == 0) throw Fail.DivisionByZero();
            int each = items.Count / Math.Abs(slices), extra = items.Count % Math.Abs(slices), start = 0;
            for (int n = 0; n < slices; n++)
            {
                e.Meter.Step();
                int count = each + (n < extra ? 1 : 0);
                List<object?> part = items.GetRange(start, count);
                start += count;
                if (a[1] is not (Missing or null) && n >= extra) part.Add(a[1]);
                yield return part;
            }
        }
    }

    public static IEnumerable<object?> Items(object? value)
    {
        if (value is Undefined) yield break;
        if (value is not Dict dict) throw Fail.Type("Can only get item pairs from a mapping.");
        foreach (object? pair in new DictView(dict, "items").Items()) yield return pair;
    }

    public static object? First(Evaluator e, object? value)
    {
        foreach (object? item in Operators.Iterate(value, e.Meter)) return item;
        return new Undefined("No first item, sequence was empty.");
    }

    public static object? Last(Evaluator e, object? value)
    {
        if (value is Lazy) throw Fail.Type("'generator' object is not reversible");
        List<object?> items = Operators.ToList(value, e.Meter);
        return items.Count > 0 ? items[^1] : new Undefined("No last item, sequence was empty.");
    }

    /// <summary>A template has no business with chance: the same conversation must give the same prompt. The first item is as random as any.</summary>
    public static object? Random(Evaluator e, object? value)
    {
        List<object?> items = Operators.ToList(value, e.Meter);
        return items.Count > 0 ? items[0] : new Undefined("No random item, sequence was empty.");
    }

    public static object? Reverse(Evaluator e, object? value)
    {
        if (value is Str s) return Lookup.Slice(s, null, null, -1L, e.Meter);
        List<object?> items = Operators.ToList(value, e.Meter);
        items.Reverse();
        return new Lazy(items);
    }

    private static object? IgnoreCase(object? value) => value is Str s ? Str.Trusted(Casing.Lower(s.Value)) : value;

    private static bool Flag(object? value) => value is not Missing && Operators.Truth(value);

    public static List<object?> DictSort(Evaluator e, object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("dictsort", "case_sensitive?", "by?", "reverse?");
        string by = a[1] is Missing ? "key" : (a[1] as Str)?.Value ?? "";
        if (by is not ("key" or "value")) throw Fail.Type("You can only sort by either \"key\" or \"value\"");
        if (value is Undefined u) throw u.Error();
        if (value is not Dict dict) throw Fail.Type($"'{Kind.Name(value)}' object has no attribute 'items'");
        return Comparison.Sort([.. new DictView(dict, "items").Items()], p =>
        {
            object? key = ((object?[])p!)[by == "key" ? 0 : 1];
            return Flag(a[0]) ? key : IgnoreCase(key);
        }, Flag(a[2]), e.Meter);
    }

    public static List<object?> Sort(Evaluator e, object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("sort", "reverse?", "case_sensitive?", "attribute?");
        object?[] paths = a[2] is Str s ? [.. s.Value.Split(',').Select(Str.Trusted)] : [a[2] is Missing ? null : a[2]];
        return Comparison.Sort(Operators.ToList(value, e.Meter), item => paths.Select(p =>
        {
            object? key = Lookup.Path(item, p);
            return Flag(a[1]) ? key : IgnoreCase(key);
        }).ToList(), Flag(a[0]), e.Meter);
    }

    public static Lazy Unique(Evaluator e, object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("unique", "case_sensitive?", "attribute?");
        return new(Run());

        IEnumerable<object?> Run()
        {
            var seen = new Dict();
            foreach (object? item in Operators.Iterate(value, e.Meter))
            {
                object? key = Lookup.Path(item, a[1] is Missing ? null : a[1]);
                if (!Flag(a[0])) key = IgnoreCase(key);
                if (seen.Contains(key)) continue;
                seen[key] = true;
                yield return item;
            }
        }
    }

    public static object? Extreme(Evaluator e, object? value, CallArguments arguments, string which)
    {
        object?[] a = arguments.Bind(which, "case_sensitive?", "attribute?");
        object? best = new Undefined("No aggregated item, sequence was empty."), bestKey = Missing.Value;
        foreach (object? item in Operators.Iterate(value, e.Meter))
        {
            e.Meter.Step();
            object? key = Lookup.Path(item, a[1] is Missing ? null : a[1]);
            if (!Flag(a[0])) key = IgnoreCase(key);
            if (bestKey is not Missing && !(which == "max" ? Comparison.Order(key, bestKey, ">") > 0 : Comparison.Order(key, bestKey) < 0)) continue;
            (best, bestKey) = (item, key);
        }
        return best;
    }

    public static object? Sum(Evaluator e, object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("sum", "attribute?", "start?");
        object? sum = a[1] is Missing ? 0L : a[1];
        if (sum is Str) throw Fail.Type("sum() can't sum strings [use ''.join(seq) instead]");
        foreach (object? item in Operators.Iterate(value, e.Meter)) sum = Operators.Binary("+", sum, a[0] is Missing or null ? item : Lookup.Path(item, a[0]), e.Meter);
        return sum;
    }

    public static List<object?> GroupBy(Evaluator e, object? value, CallArguments arguments)
    {
        object?[] a = arguments.Bind("groupby", "attribute", "default?", "case_sensitive?");
        object? Raw(object? item) => Lookup.Path(item, a[0]) is var found && found is Undefined && a[1] is not (Missing or null) ? a[1] : found;
        object? Key(object? item) => Flag(a[2]) ? Raw(item) : IgnoreCase(Raw(item));
        List<object?> groups = [];
        object? current = Missing.Value;
        foreach (object? item in Comparison.Sort(Operators.ToList(value, e.Meter), Key, false, e.Meter))
        {
            object? key = Key(item);
            if (current is Missing || !Comparison.AreEqual(current, key)) groups.Add(new Group(Raw(item), []));
            current = key;
            ((Group)groups[^1]!).Items.Add(item);
        }
        return groups;
    }

    public static Lazy Map(Evaluator e, object? value, CallArguments arguments)
    {
        return new(Run());

        IEnumerable<object?> Run()
        {
            if (!Operators.Truth(value) && value is not Lazy) yield break;
            Func<object?, object?> map;
            if (arguments.Positional.Count == 0 && arguments.Named.Exists(p => p.Key == "attribute"))
            {
                object?[] a = arguments.Bind("map", "attribute", "default?");
                map = item => Lookup.Path(item, a[0]) is var found && found is Undefined && a[1] is not (Missing or null) ? a[1] : found;
            }
            else
            {
                if (arguments.Positional is not [Str name, .. var rest]) throw Fail.Type("map requires a filter argument");
                map = item => Filters.Run(e, name.Value, item, new(rest, arguments.Named));
            }
            foreach (object? item in Operators.Iterate(value, e.Meter)) yield return map(item);
        }
    }

    public static Lazy Select(Evaluator e, object? value, CallArguments arguments, bool wanted, bool byAttribute)
    {
        return new(Run());

        IEnumerable<object?> Run()
        {
            if (!Operators.Truth(value) && value is not Lazy) yield break;
            List<object?> rest = arguments.Positional;
            object? path = null;
            if (byAttribute)
            {
                if (rest.Count == 0) throw Fail.Type("Missing parameter for attribute name");
                (path, rest) = (rest[0], rest[1..]);
            }
            Func<object?, bool> test = Operators.Truth;
            if (rest.Count > 0)
            {
                if (rest[0] is not Str name) throw Fail.Type("the name of a test must be a string");
                List<object?> more = rest[1..];
                test = item => Tests.Run(e, name.Value, item, new(more, arguments.Named));
            }
            foreach (object? item in Operators.Iterate(value, e.Meter))
                if (test(byAttribute ? Lookup.Path(item, path) : item) == wanted) yield return item;
        }
    }
}
