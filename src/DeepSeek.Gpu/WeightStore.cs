using System.Runtime.InteropServices;
using DeepSeek.Backends;
using DeepSeek.Gpu.Kernels;
using DeepSeek.Gpu.Kernels.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Gpu;

/// <summary>Matrices of the same shape and format in device memory, one behind the other.</summary>
/// <param name="Buffer">The memory.</param>
/// <param name="Format">How they are stored.</param>
/// <param name="Place">The first one.</param>
/// <param name="Rows">Rows of each.</param>
internal sealed record PlacedMatrices<TMemory>(GpuBuffer<TMemory> Buffer, GpuFormat Format, MatrixPlace Place, int Rows) where TMemory : struct, IMemory;

/// <summary>A weight that this package keeps; in device memory when it is first used, or when all are uploaded.</summary>
internal sealed class GpuWeight<TMemory>(Weight source, WeightRole role) : DeviceWeight(source, role) where TMemory : struct, IMemory
{
    /// <summary>The form that it has on the device, unless it is part of something of mixed forms.</summary>
    public GpuFormat Format { get; } = GpuFormats.Of(source, role);

    /// <summary>Where it is; null before that.</summary>
    public PlacedMatrices<TMemory>? Placed { get; set; }

    /// <summary>Whether it is part of something that lies together, and has no place of its own.</summary>
    public bool IsPart { get; set; }
}

/// <summary>The device's memory for weights: slabs that are filled from the bottom; nothing is given back before the end.</summary>
internal sealed class WeightStore<TThread, TMemory>(GpuRuntime<TThread, TMemory> runtime) : IDisposable where TThread : struct, IThread where TMemory : struct, IMemory
{
    private const long FirstSlab = 1 << 20, LargestSlab = 64 << 20;
    private const int StagingBytes = 4 << 20;

    private readonly List<GpuBuffer<TMemory>> buffers = [];
    private readonly Dictionary<(nint Data, int Rows, int Columns, GpuFormat Format), PlacedMatrices<TMemory>> single = [];
    private readonly byte[] staging = new byte[StagingBytes];
    private GpuBuffer<TMemory>? slab;
    private long used, slabBytes = FirstSlab;

    /// <summary>Device memory taken.</summary>
    public long Bytes { get; private set; }

    /// <summary>Uploads a weight, if that has not happened, be it in another role: a tied head is the embedding's table.</summary>
    public PlacedMatrices<TMemory> Place(GpuWeight<TMemory> weight)
    {
        if (weight.Placed is { } placed) return placed;
        var key = (weight.Source.Data, weight.Rows, weight.Columns, weight.Format);
        if (!single.TryGetValue(key, out placed)) single.Add(key, placed = Together([weight.Source], weight.Role));
        return weight.Placed = placed;
    }

    /// <summary>Uploads matrices of one shape, one behind the other; where their formats differ, all as float32.</summary>
    public PlacedMatrices<TMemory> Together(IReadOnlyList<Weight> matrices, WeightRole role)
    {
        GpuFormat format = GpuFormats.Of(matrices[0], role);
        int shift = GpuFormats.ScaleShift(matrices[0]) ?? 0, rows = matrices[0].Rows, columns = matrices[0].Columns;
        if (matrices.Any(m => GpuFormats.Of(m, role) != format || (GpuFormats.ScaleShift(m) ?? 0) != shift)) format = GpuFormat.F32;
        long rowBytes = format.RowBytes(columns, shift);
        (GpuBuffer<TMemory> buffer, long start) = Allocate(matrices.Count * rows * rowBytes);
        long at = start;
        foreach (Weight m in matrices)
        {
            Upload(buffer, at, rows, rowBytes, (row, target) => RowPacking.Pack(m, row, format, target));
            at += rows * rowBytes;
        }
        return new PlacedMatrices<TMemory>(buffer, format, new MatrixPlace(start, rowBytes, columns, shift), rows);
    }

    /// <summary>
    /// Uploads the matrices of latent attention's heads. They are small and go with float32 activations, so block formats become float16 and float8 becomes float32; those that are stored the
    /// other way round are turned: [rows, columns] is how they are multiplied.
    /// </summary>
    public PlacedMatrices<TMemory> Heads(IReadOnlyList<Weight> heads, bool turn)
    {
        Weight first = heads[0];
        GpuFormat format = GpuFormats.Of(first, WeightRole.Matrix);
        if (format.IsBlock()) format = GpuFormat.F16;
        else if (format == GpuFormat.F8) format = GpuFormat.F32;
        (int rows, int columns) = turn ? (first.Columns, first.Rows) : (first.Rows, first.Columns);
        long rowBytes = format.RowBytes(columns, 0);
        (GpuBuffer<TMemory> buffer, long start) = Allocate(heads.Count * rows * rowBytes);
        long at = start;
        foreach (Weight head in heads)
        {
            float[][] numbers = ReferenceBackend.ReadMatrix(head);
            Upload(buffer, at, rows, rowBytes, (row, target) =>
            {
                target.Clear();
                for (int c = 0; c < columns; c++)
                {
                    float x = turn ? numbers[c][row] : numbers[row][c];
                    if (format == GpuFormat.F32) MemoryMarshal.Write(target[(4 * c)..], x);
                    else MemoryMarshal.Write(target[(2 * c)..], format == GpuFormat.F16 ? SmallFloats.ToF16(x) : SmallFloats.ToBF16(x));
                }
            });
            at += rows * rowBytes;
        }
        return new PlacedMatrices<TMemory>(buffer, format, new MatrixPlace(start, rowBytes, columns, 0), rows);
    }

    public void Dispose()
    {
        foreach (GpuBuffer<TMemory> buffer in buffers) buffer.Dispose();
        buffers.Clear();
    }

    private delegate void RowWriter(int row, Span<byte> target);

    private (GpuBuffer<TMemory> Buffer, long Start) Allocate(long bytes)
    {
        bytes = (bytes + 255) / 256 * 256;
        if (bytes > slabBytes / 2) return (New(bytes), 0);
        if (slab is null || used + bytes > slab.Bytes)
        {
            (slab, used) = (New(slabBytes), 0);
            slabBytes = Math.Min(2 * slabBytes, LargestSlab);
        }
        used += bytes;
        return (slab, used - bytes);
    }

    private GpuBuffer<TMemory> New(long bytes)
    {
        GpuBuffer<TMemory> buffer = runtime.Allocate(bytes);
        buffers.Add(buffer);
        Bytes += bytes;
        return buffer;
    }

    /// <summary>Packs rows on all processors, a stage at a time.</summary>
    private void Upload(GpuBuffer<TMemory> buffer, long at, int rows, long rowBytes, RowWriter write)
    {
        byte[] stage = rowBytes <= staging.Length ? staging : new byte[rowBytes];
        int batch = (int)Math.Max(1, stage.Length / rowBytes);
        for (int first = 0; first < rows; first += batch)
        {
            int count = Math.Min(batch, rows - first), begin = first;
            if (count * rowBytes < 1 << 16)
                for (int i = 0; i < count; i++) write(begin + i, stage.AsSpan((int)(i * rowBytes), (int)rowBytes));
            else Parallel.For(0, count, i => write(begin + i, stage.AsSpan((int)(i * rowBytes), (int)rowBytes)));
            buffer.Upload(at + first * rowBytes, stage.AsSpan(0, (int)(count * rowBytes)));
        }
    }
}
