using System.Runtime.InteropServices;
using DeepSeek.Backends;
using DeepSeek.Tensors;

namespace DeepSeek.Core.Tests.Backends;

/// <summary>
/// What an operation case works with: random inputs that depend on the seed and the order of calls only, so that two backends get the same, and a record of the outputs.
/// Tensors can lie inside wider ones whose other numbers are NaN: reading them shows in the outputs, writing them is found at the end.
/// </summary>
internal sealed unsafe class OperationBench(Backend backend, int seed) : IDisposable
{
    private readonly Random random = new(seed);
    private readonly List<nint> memory = [];
    private readonly List<(Tensor Whole, int First, int Count)> guarded = [];
    private readonly List<CacheStorage> caches = [];

    public Backend Backend { get; } = backend;

    /// <summary>What the case reported, in order.</summary>
    public List<(string Label, float[] Values)> Results { get; } = [];

    /// <summary>A normally distributed number.</summary>
    public float Normal() => (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));

    public int Next(int below) => random.Next(below);

    /// <summary>A tensor of random numbers; strided: some columns of a wider one.</summary>
    public Tensor Random(int rows, int columns, bool strided = false) => Tensor(rows, columns, strided, _ => Normal());

    /// <summary>A tensor of numbers that the function gives for each place.</summary>
    public Tensor Tensor(int rows, int columns, bool strided, Func<int, float> value)
    {
        const int before = 3, behind = 10;
        Tensor whole = Backend.Rent(rows, columns + (strided ? before + behind : 0));
        var numbers = new float[rows * whole.Columns];
        int first = strided ? before : 0;
        for (int t = 0; t < rows; t++)
            for (int i = 0; i < whole.Columns; i++) numbers[t * whole.Columns + i] = i >= first && i < first + columns ? value(t * columns + i - first) : float.NaN;
        Backend.Write(whole, numbers);
        if (strided) guarded.Add((whole, first, columns));
        return whole.TakeColumns(first, columns);
    }

    /// <summary>A weight of random numbers in a format; columns are whole blocks.</summary>
    public DeviceWeight Weight(DType type, int rows, int columns, WeightRole role) => Backend.Prepare(Weight(type, rows, columns), role);

    public Weight Weight(DType type, int rows, int columns)
    {
        DTypeInfo info = type.Info();
        Span<byte> data = Bytes((int)(type.RowBytes(columns) * rows));
        random.NextBytes(data);
        for (int i = 0; i < data.Length; i += info.BlockBytes) Sane(type, data.Slice(i, info.BlockBytes));
        nint address = memory[^1];
        BlockScales? scales = null;
        if (type == DType.F8E4M3)
        {
            int stride = (columns + 127) / 128, count = stride * ((rows + 127) / 128);
            Span<float> s = MemoryMarshal.Cast<byte, float>(Bytes(count * 4));
            for (int i = 0; i < count; i++) s[i] = 0.01f + 0.02f * random.NextSingle();
            scales = new BlockScales(memory[^1], DType.F32, 128, 128, stride);
        }
        return new Weight($"{info.Name}[{rows},{columns}]", type, rows, columns, address, scales);
    }

    /// <summary>A float32 weight of the numbers that the function gives.</summary>
    public DeviceWeight Weight(int rows, int columns, WeightRole role, Func<int, float> value)
    {
        Span<float> data = MemoryMarshal.Cast<byte, float>(Bytes(rows * columns * 4));
        for (int i = 0; i < data.Length; i++) data[i] = value(i);
        return Backend.Prepare(new Weight("numbers", DType.F32, rows, columns, memory[^1]), role);
    }

    /// <summary>A gain or bias.</summary>
    public DeviceWeight Vector(int columns, float mean = 0) => Weight(1, columns, WeightRole.Vector, _ => mean + 0.3f * Normal());

    public CacheStorage Cache(IReadOnlyList<CacheStream> streams, CacheFormat format, int blockTokens, int blocks)
    {
        caches.Add(Backend.CreateCache(streams, format, blockTokens, blocks));
        return caches[^1];
    }

    /// <summary>Records an output.</summary>
    public void Report(string label, Tensor x)
    {
        var values = new float[x.Rows * x.Columns];
        Backend.Read(x, values);
        Results.Add((label, values));
        foreach ((Tensor whole, int first, int count) in guarded)
        {
            var all = new float[whole.Rows * whole.Columns];
            Backend.Read(whole, all);
            for (int i = 0; i < all.Length; i++)
                if (i % whole.Columns is var c && (c < first || c >= first + count)) Assert.True(float.IsNaN(all[i]), $"{label}: a number outside the tensor was written");
        }
        guarded.Clear();
    }

    public void Dispose()
    {
        foreach (CacheStorage cache in caches) cache.Dispose();
        Backend.Release(0);
        Backend.Dispose();
        foreach (nint m in memory) NativeMemory.AlignedFree((void*)m);
    }

    private Span<byte> Bytes(int count)
    {
        memory.Add((nint)NativeMemory.AlignedAlloc((nuint)count, 64));
        return new Span<byte>((void*)memory[^1], count);
    }

    /// <summary>Turns random bytes of a block into one whose numbers are finite and of a trained weight's size.</summary>
    private void Sane(DType type, Span<byte> block)
    {
        float scale = (0.5f + random.NextSingle()) / 32;
        switch (type)
        {
            case DType.F32: BitConverter.TryWriteBytes(block, Normal() / 8); break;
            case DType.F16: Half(block, 0, Normal() / 8); break;
            case DType.BF16: BitConverter.TryWriteBytes(block, SmallFloats.ToBF16(Normal() / 8)); break;
            case DType.F8E4M3: if ((block[0] & 0x7F) > 0x70) block[0] ^= 0x10; break; // no NaN, and nothing that outweighs all else
            case DType.Q4_1 or DType.Q5_1: Half(block, 0, scale); Half(block, 2, -8 * scale); break;
            case DType.Q4_K or DType.Q5_K: Half(block, 0, scale / 32); Half(block, 2, scale / 4); break;
            case DType.Q2_K: Half(block, 80, scale / 8); Half(block, 82, scale / 8); break;
            case DType.Q3_K: Half(block, 108, scale / 16); break;
            case DType.Q6_K: Half(block, 208, scale / 64); break;
            case DType.Q8_0: Half(block, 0, scale / 16); break;
            case DType.MXFP4: block[0] = (byte)(120 + random.Next(4)); break;
            case DType.TQ1_0: Half(block, 52, scale); break;
            case DType.TQ2_0: Half(block, 64, scale); break;
            case DType.IQ4_XS: Half(block, 0, scale / 64); break;
            default: Half(block, 0, scale / 8); break;
        }
    }

    private static void Half(Span<byte> block, int at, float value) => BitConverter.TryWriteBytes(block[at..], SmallFloats.ToF16(value));
}
