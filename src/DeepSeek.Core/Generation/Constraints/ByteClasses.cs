namespace DeepSeek.Generation.Constraints;

/// <summary>Partitions of the 256 bytes into classes: [256] of class numbers, 0 up to count − 1 in order of appearance.</summary>
internal static class ByteClasses
{
    /// <summary>The coarsest partition in which each class lies inside one class of every given partition.</summary>
    public static byte[] Refine(IEnumerable<byte[]> maps, out int count)
    {
        var classes = new byte[256];
        var distinct = new HashSet<byte[]>(ReferenceEqualityComparer.Instance);
        var seen = new Dictionary<int, int>();
        count = 1;
        foreach (byte[] map in maps)
        {
            if (!distinct.Add(map)) continue;
            seen.Clear();
            for (int i = 0; i < 256; i++)
            {
                int pair = classes[i] << 8 | map[i];
                if (!seen.TryGetValue(pair, out int c)) seen[pair] = c = seen.Count;
                classes[i] = (byte)c;
            }
            count = seen.Count;
        }
        return classes;
    }

    /// <summary>One byte of each class.</summary>
    public static byte[] Representatives(byte[] classes, int count)
    {
        var bytes = new byte[count];
        for (int i = 255; i >= 0; i--) bytes[classes[i]] = (byte)i;
        return bytes;
    }
}
