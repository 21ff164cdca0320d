using System.Globalization;

namespace DeepSeek.Backends.Cpu;

/// <summary>How many processors there are for this process.</summary>
internal static class ProcessorTopology
{
    /// <summary>
    /// Physical cores that the process may use: its affinity and its container's quota honoured (by <see cref="MachineLimits"/>), hardware threads of
    /// one core counted once where the system says which they are.
    /// </summary>
    public static int UsableCores()
    {
        int processors = MachineLimits.Here.Processors();
        return OperatingSystem.IsLinux() && LinuxCores() is int cores and > 0 ? Math.Min(processors, cores) : processors;
    }

    /// <summary>Distinct cores among the processors of the affinity mask; 0 where the system does not say.</summary>
    private static int LinuxCores()
    {
        try
        {
            string? allowed = File.ReadLines("/proc/self/status").FirstOrDefault(l => l.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal));
            if (allowed is null) return 0;
            HashSet<string> cores = [];
            foreach (int cpu in ParseList(allowed["Cpus_allowed_list:".Length..]))
            {
                string siblings = $"/sys/devices/system/cpu/cpu{cpu.ToString(CultureInfo.InvariantCulture)}/topology/thread_siblings_list";
                if (File.Exists(siblings)) cores.Add(File.ReadAllText(siblings).Trim());
            }
            return cores.Count;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }

    /// <summary>The numbers of a list such as <c>0-3,8,10-11</c>; what is malformed is left out.</summary>
    internal static IEnumerable<int> ParseList(string list)
    {
        foreach (string part in list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            string[] ends = part.Split('-');
            if (!int.TryParse(ends[0], NumberStyles.None, CultureInfo.InvariantCulture, out int first)
                || !int.TryParse(ends[^1], NumberStyles.None, CultureInfo.InvariantCulture, out int last)) continue;
            for (int i = first; i <= last && i - first < 65536; i++) yield return i;
        }
    }
}
