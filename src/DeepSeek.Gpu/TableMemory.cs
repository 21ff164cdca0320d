using System.Runtime.InteropServices;
using DeepSeek.Backends;
using DeepSeek.Gpu.Kernels;

namespace DeepSeek.Gpu;

/// <summary>
/// Small tables of integers that a step works from: one copy for a step's positions and block tables, one for each list of rows or tokens. The buffer is used as a ring; copies and kernels
/// happen in order, so that a table may be overwritten as soon as the kernels that read it were asked for.
/// </summary>
internal sealed class TableMemory<TThread, TMemory>(GpuRuntime<TThread, TMemory> runtime) : IDisposable where TThread : struct, IThread where TMemory : struct, IMemory
{
    private GpuBuffer<TMemory> buffer = runtime.Allocate(sizeof(int) * 4096);
    private int[] staged = new int[1024];
    private long next;
    private StepLayout? layout;
    private long version;
    private StepTables tables;

    public TMemory Memory => buffer.Memory;

    /// <summary>Copies numbers to the device. Where they begin, in words; valid for the launches that follow at once.</summary>
    public long Copy(ReadOnlySpan<int> numbers)
    {
        int words = (numbers.Length + 3) / 4 * 4;
        if (words > Capacity / 2) Grow(4L * words);
        if (next + words > Capacity) // from the start again; what the step has there is lost
        {
            next = 0;
            layout = null;
        }
        buffer.Upload(next * sizeof(int), MemoryMarshal.AsBytes(numbers));
        next += words;
        return next - words;
    }

    /// <summary>A step's tables, copied when it is first asked for.</summary>
    public StepTables Of(StepLayout step)
    {
        if (ReferenceEquals(layout, step) && version == step.Version) return tables;
        int rows = step.TokenCount, blocks = step.BlockTables.Length;
        if (staged.Length < 2 * rows + blocks) staged = new int[2 * (2 * rows + blocks)];
        step.Positions.CopyTo(staged);
        foreach (SequenceSlice s in step.Sequences) staged.AsSpan(rows + s.FirstRow, s.RowCount).Fill(s.TableStart);
        step.BlockTables.CopyTo(staged.AsSpan(2 * rows));
        long at = Copy(staged.AsSpan(0, 2 * rows + blocks));
        (layout, version, tables) = (step, step.Version, new StepTables(at, at + rows, at + 2 * rows, step.BlockTokens));
        return tables;
    }

    public void Dispose() => buffer.Dispose();

    private long Capacity => buffer.Bytes / sizeof(int);

    private void Grow(long words)
    {
        runtime.Synchronise();
        buffer.Dispose();
        buffer = runtime.Allocate(words * sizeof(int));
        (next, layout) = (0, null);
    }
}
