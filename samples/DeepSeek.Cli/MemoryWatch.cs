using System.Globalization;

namespace DeepSeek.Cli;

/// <summary>Looks every few milliseconds at how much memory the process holds of its own (anonymous) and of mapped files. Linux only; elsewhere both stay 0.</summary>
internal sealed class MemoryWatch : IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(20);
    private readonly Timer? timer;
    private long peak, mapped;

    public MemoryWatch()
    {
        if (OperatingSystem.IsLinux()) timer = new Timer(_ => Look(), null, TimeSpan.Zero, Interval);
    }

    /// <summary>Most anonymous memory that was seen.</summary>
    public long PeakBytes => Interlocked.Read(ref peak);

    /// <summary>Most mapped pages of files that were seen in memory.</summary>
    public long MappedBytes => Interlocked.Read(ref mapped);

    public void Dispose() => timer?.Dispose();

    private void Look()
    {
        foreach (string line in File.ReadLines("/proc/self/status"))
        {
            if (line.StartsWith("RssAnon:", StringComparison.Ordinal)) peak = Math.Max(peak, Bytes(line));
            else if (line.StartsWith("RssFile:", StringComparison.Ordinal)) mapped = Math.Max(mapped, Bytes(line));
        }
    }

    private static long Bytes(string line) => long.Parse(line.AsSpan(8, line.Length - 8 - 2), NumberStyles.AllowLeadingWhite | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture) * 1024;
}
