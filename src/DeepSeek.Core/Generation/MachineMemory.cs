using System.Globalization;

namespace DeepSeek.Generation;

/// <summary>How much memory this process may use: the machine's, or its container's limit.</summary>
internal static class MachineMemory
{
    private const string CgroupRoot = "/sys/fs/cgroup";

    /// <summary>Bytes that can still be had: free ones, and those that only hold files' contents.</summary>
    public static long AvailableBytes()
    {
        GCMemoryInfo gc = GC.GetGCMemoryInfo();
        long available = Math.Max(gc.TotalAvailableMemoryBytes - (gc.MemoryLoadBytes > gc.TotalAvailableMemoryBytes ? 0 : gc.MemoryLoadBytes), 0);
        if (!OperatingSystem.IsLinux()) return available;
        try
        {
            if (MemInfo() is { } free) available = free;
            return Math.Min(available, CgroupAvailable());
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return available;
        }
    }

    private static long? MemInfo()
    {
        string? line = File.Exists("/proc/meminfo") ? File.ReadLines("/proc/meminfo").FirstOrDefault(l => l.StartsWith("MemAvailable:", StringComparison.Ordinal)) : null;
        string? kilobytes = line?.Split(' ', StringSplitOptions.RemoveEmptyEntries).ElementAtOrDefault(1);
        return long.TryParse(kilobytes, NumberStyles.None, CultureInfo.InvariantCulture, out long kb) ? kb * 1024 : null;
    }

    /// <summary>The tightest limit of the process's control group (version 2, then 1) and of those above it; no limit: <see cref="long.MaxValue"/>.</summary>
    private static long CgroupAvailable()
    {
        long least = long.MaxValue;
        string? entry = File.Exists("/proc/self/cgroup") ? File.ReadLines("/proc/self/cgroup").FirstOrDefault(l => l.StartsWith("0::", StringComparison.Ordinal)) : null;
        for (string group = entry is null ? "/" : entry[3..]; ; group = group[..Math.Max(group.LastIndexOf('/'), 0)])
        {
            string folder = CgroupRoot + group;
            if (Number(folder + "/memory.max") is { } max && Number(folder + "/memory.current") is { } used) least = Math.Min(least, max - used + FileBytes(folder + "/memory.stat"));
            if (group.Length <= 1) break;
        }
        if (Number(CgroupRoot + "/memory/memory.limit_in_bytes") is { } limit and < long.MaxValue / 2 && Number(CgroupRoot + "/memory/memory.usage_in_bytes") is { } usage)
            least = Math.Min(least, limit - usage + FileBytes(CgroupRoot + "/memory/memory.stat"));
        return Math.Max(least, 0);
    }

    /// <summary>Pages of files, which the system gives up when memory is wanted.</summary>
    private static long FileBytes(string path)
    {
        if (!File.Exists(path)) return 0;
        long total = 0;
        foreach (string line in File.ReadLines(path))
            if (line.StartsWith("inactive_file ", StringComparison.Ordinal) || line.StartsWith("active_file ", StringComparison.Ordinal))
                total += long.TryParse(line[(line.IndexOf(' ', StringComparison.Ordinal) + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out long bytes) ? bytes : 0;
        return total;
    }

    private static long? Number(string path)
        => File.Exists(path) && long.TryParse(File.ReadAllText(path).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long value) ? value : null;
}
