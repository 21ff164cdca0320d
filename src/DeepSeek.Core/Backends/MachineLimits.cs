using System.Globalization;

namespace DeepSeek.Backends;

/// <summary>
/// What this process may use of the machine: memory and processors, the container's limits honoured. On Linux these are control groups (version 2, version 1, or both side by side), of which
/// the process's own and every one above it count: the tightest decides. Inside a container the group named by /proc is often not there, and the mounted root is the container's own.
/// </summary>
/// <param name="root">Where /proc and /sys lie; "/" but for tests.</param>
internal sealed class MachineLimits(string root = "/")
{
    /// <summary>Version 1 says "no limit" by a number near the largest.</summary>
    private const long Unlimited = long.MaxValue / 2;

    /// <summary>The machine that this process runs on.</summary>
    public static MachineLimits Here { get; } = new();

    /// <summary>Bytes that can still be had: free ones, and those that only hold files' contents.</summary>
    public long AvailableBytes()
    {
        GCMemoryInfo gc = GC.GetGCMemoryInfo();
        long available = Math.Max(gc.TotalAvailableMemoryBytes - (gc.MemoryLoadBytes > gc.TotalAvailableMemoryBytes ? 0 : gc.MemoryLoadBytes), 0);
        if (MemInfo() is { } free) available = free;
        foreach (string group in Groups("memory"))
        {
            (long? limit, long? used) = Exists(group, "memory.max") ? (Number(group, "memory.max"), Number(group, "memory.current")) : (Number(group, "memory.limit_in_bytes"), Number(group, "memory.usage_in_bytes"));
            if (limit is < Unlimited && used is not null) available = Math.Min(available, Math.Max(limit.Value - used.Value + FileBytes(group), 0));
        }
        return available;
    }

    /// <summary>Processors: the machine's, those of the affinity mask, or the container's quota rounded up. At least one.</summary>
    public int Processors()
    {
        int processors = Environment.ProcessorCount; // of the affinity mask; the runtime honours most quotas by itself
        foreach (string group in Groups("cpu"))
        {
            string[] max = Text(group, "cpu.max")?.Split(' ') ?? [];
            double quota = Number(group, "cpu.cfs_quota_us") ?? -1, period = Number(group, "cpu.cfs_period_us") ?? 0;
            if (max.Length == 2 && (!Whole(max[0], out quota) || !Whole(max[1], out period))) continue; // "max": no limit
            if (quota > 0 && period > 0) processors = Math.Min(processors, (int)Math.Clamp(Math.Ceiling(quota / period), 1, int.MaxValue));
        }
        return processors;

        static bool Whole(string text, out double value) => double.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);
    }

    /// <summary>Folders of the control groups of this process that may limit a resource, of both versions, the process's own first.</summary>
    private IEnumerable<string> Groups(string controller)
    {
        string mounts = Path.Combine(root, "sys", "fs", "cgroup");
        foreach (string line in Lines(Path.Combine(root, "proc", "self", "cgroup")))
        {
            // hierarchy:controllers:path; version 2 has number 0 and names no controllers.
            string[] parts = line.Split(':', 3);
            if (parts.Length < 3) continue;
            string[] folders = parts is ["0", "", _] ? [mounts, Path.Combine(mounts, "unified")]
                : parts[1].Split(',').Contains(controller) ? [Path.Combine(mounts, controller), Path.Combine(mounts, parts[1])] : [];
            foreach (string folder in folders.Distinct().Where(Directory.Exists))
                for (string group = parts[2].TrimEnd('/'); ; group = group[..Math.Max(group.LastIndexOf('/'), 0)])
                {
                    if (Directory.Exists(folder + group)) yield return folder + group;
                    if (group.Length == 0) break;
                }
        }
    }

    private long? MemInfo()
    {
        string? line = Lines(Path.Combine(root, "proc", "meminfo")).FirstOrDefault(l => l.StartsWith("MemAvailable:", StringComparison.Ordinal));
        string? kilobytes = line?.Split(' ', StringSplitOptions.RemoveEmptyEntries).ElementAtOrDefault(1);
        return long.TryParse(kilobytes, NumberStyles.None, CultureInfo.InvariantCulture, out long kb) ? kb * 1024 : null;
    }

    /// <summary>Pages of files, which the system gives up when memory is wanted. Version 1 counts those of the groups below under names of their own.</summary>
    private static long FileBytes(string group)
    {
        var counts = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (string line in Lines(Path.Combine(group, "memory.stat")))
            if (line.Split(' ') is [var name, var text] && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long bytes)) counts[name] = bytes;
        return Count("inactive_file") + Count("active_file");

        long Count(string name) => counts.TryGetValue("total_" + name, out long all) ? all : counts.GetValueOrDefault(name);
    }

    private static bool Exists(string group, string name) => File.Exists(Path.Combine(group, name));

    private static string? Text(string group, string name) => Lines(Path.Combine(group, name)).FirstOrDefault()?.Trim();

    /// <summary>The number in a file; null where there is none, or a word ("max").</summary>
    private static long? Number(string group, string name) => long.TryParse(Text(group, name), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value) ? value : null;

    /// <summary>A file's lines; none where it is missing or may not be read: then it limits nothing that we could know of.</summary>
    private static string[] Lines(string path)
    {
        try { return File.Exists(path) ? File.ReadAllLines(path) : []; }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { return []; }
    }
}
