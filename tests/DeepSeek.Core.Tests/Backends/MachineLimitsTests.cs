using DeepSeek.Backends;

namespace DeepSeek.Core.Tests.Backends;

/// <summary>Limits of containers, read from files as the kernel lays them out.</summary>
public sealed class MachineLimitsTests : IDisposable
{
    private readonly TemporaryFolder root = new();

    public void Dispose() => root.Dispose();

    /// <summary>A machine of 8 GB whose process is in the named groups; files by their paths below the root.</summary>
    internal static MachineLimits Machine(TemporaryFolder root, string groups, params (string Path, string Text)[] files)
    {
        foreach ((string path, string text) in (IEnumerable<(string, string)>)[("proc/meminfo", "MemTotal:       16000000 kB\nMemFree:          100000 kB\nMemAvailable:    8000000 kB\n"), ("proc/self/cgroup", groups), .. files])
        {
            Directory.CreateDirectory(Path.GetDirectoryName(root.File(path))!);
            File.WriteAllText(root.File(path), text);
        }
        return new MachineLimits(root.Path);
    }

    private const string V2 = "sys/fs/cgroup/";

    [Fact]
    public void WithoutAContainer_ItIsWhatTheMachineHas()
    {
        MachineLimits machine = Machine(root, "0::/user.slice\n", (V2 + "user.slice/memory.max", "max\n"), (V2 + "user.slice/memory.current", "123\n"), (V2 + "user.slice/cpu.max", "max 100000\n"));
        Assert.Equal(8_000_000 * 1024L, machine.AvailableBytes());
        Assert.Equal(Environment.ProcessorCount, machine.Processors());
    }

    [Fact]
    public void Version2_IsHonoured_FilesPagesCountAsFree_AndTheTightestGroupDecides()
    {
        MachineLimits machine = Machine(root, "0::/pod/app\n",
            (V2 + "memory.max", "max\n"), (V2 + "memory.current", "1\n"),
            (V2 + "pod/memory.max", "3000000000\n"), (V2 + "pod/memory.current", "2900000000\n"), (V2 + "pod/memory.stat", "anon 5\ninactive_file 100000000\nactive_file 50000000\n"),
            (V2 + "pod/app/memory.max", "1000000000\n"), (V2 + "pod/app/memory.current", "400000000\n"), (V2 + "pod/app/memory.stat", "inactive_file 7\n"),
            (V2 + "pod/app/cpu.max", "50000 100000\n"));
        Assert.Equal(250_000_000, machine.AvailableBytes());
        Assert.Equal(1, machine.Processors());
    }

    [Fact]
    public void InsideAContainer_TheRootIsItsOwnGroup()
    {
        // The path is the host's and is not mounted here; what is mounted as root is the container's group.
        MachineLimits two = Machine(root, "0::/docker/0123abcd\n", (V2 + "memory.max", "1000000000\n"), (V2 + "memory.current", "600000000\n"), (V2 + "memory.stat", "active_file 100000000\n"), (V2 + "cpu.max", "100000 100000\n"));
        Assert.Equal((500_000_000, 1), (two.AvailableBytes(), two.Processors()));
    }

    [Fact]
    public void Version1_IsHonoured_BelowItsOwnMountPoints()
    {
        MachineLimits machine = Machine(root, "12:cpu,cpuacct:/docker/abc\n5:memory:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n",
            (V2 + "memory/memory.limit_in_bytes", "9223372036854771712\n"), (V2 + "memory/memory.usage_in_bytes", "5000000000\n"),
            (V2 + "memory/docker/abc/memory.limit_in_bytes", "1000000000\n"), (V2 + "memory/docker/abc/memory.usage_in_bytes", "700000000\n"),
            (V2 + "memory/docker/abc/memory.stat", "inactive_file 1\nactive_file 1\ntotal_inactive_file 100000000\ntotal_active_file 0\n"),
            (V2 + "cpu,cpuacct/cpu.cfs_quota_us", "-1\n"), (V2 + "cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            (V2 + "cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "20000\n"), (V2 + "cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n"));
        Assert.Equal((400_000_000, 1), (machine.AvailableBytes(), machine.Processors()));
    }

    [Fact]
    public void WhatCannotBeRead_LimitsNothing_AndAFullGroupHasNothing()
    {
        Assert.Equal(8_000_000 * 1024L, Machine(root, "no groups at all\n0::/x\n", (V2 + "x/memory.max", "plenty\n"), (V2 + "x/cpu.max", "0 0\n")).AvailableBytes());
        Assert.Equal(0, Machine(root, "0::/x\n", (V2 + "x/memory.max", "1000\n"), (V2 + "x/memory.current", "4000\n")).AvailableBytes());
    }
}
