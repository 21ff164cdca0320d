using DeepSeek.Tensors;

namespace DeepSeek.Backends;

/// <summary>
/// A model in two places: each weight is prepared where the placement says, at construction, and an operation runs where its weights or its cache rows are. A tensor has a home on
/// both sides and is copied when an operation wants it where it is not: at the borders between layers, and nowhere else. Models do not know of it.
/// </summary>
internal sealed class SplitBackend : Backend
{
    private const int OffsetBits = 40;
    private const int MaxProjections = 16;

    private readonly Backend host, device;
    private readonly Placement placement;

    /// <summary>Weights that are on the device.</summary>
    private readonly HashSet<DeviceWeight> uploaded = [];

    /// <summary>Mixtures whose router and correction bias are where their experts are.</summary>
    private readonly Dictionary<ExpertWeights, ExpertWeights> mixtures = new(ReferenceEqualityComparer.Instance);
    private readonly Projection[] projected = new Projection[MaxProjections];
    private Slot[] slots = new Slot[64];
    private float[] staging = [];
    private int count;

    /// <summary>Rented memory: a tensor on each side, what was rented below it, and on which sides its numbers are valid.</summary>
    private struct Slot
    {
        public Tensor Host, Device;
        public long HostMark, DeviceMark;
        public bool OnHost, OnDevice;
    }

    /// <param name="host">The processor; owned.</param>
    /// <param name="device">The device; owned.</param>
    /// <param name="placement">What is on the device.</param>
    public SplitBackend(Backend host, Backend device, Placement placement) => (this.host, this.device, this.placement) = (host, device, placement);

    public override string Name => $"{device.Name}+{host.Name}";

    public override double OperationsPerSecond => Math.Min(device.OperationsPerSecond, host.OperationsPerSecond);

    public override string Description => $"{device.Name}: {device.Description}; {host.Name}: {host.Description}";

    public override CacheFormat PreferredCache => device.PreferredCache;

    /// <summary>Of the processor's memory.</summary>
    public override long PreparedBytes => host.PreparedBytes;

    /// <summary>Tensors copied between the sides so far.</summary>
    public long Crossings { get; private set; }

    public override DeviceWeight Prepare(Weight weight, WeightRole role)
    {
        if (!placement.Has(weight.Name, role)) return host.Prepare(weight, role);
        DeviceWeight prepared = device.Prepare(weight, role);
        uploaded.Add(prepared);
        return prepared;
    }

    public override void PrepareExperts(ExpertWeights experts)
    {
        bool side = Home(experts.Experts[0].Gate);
        On(side).PrepareExperts(Mixture(experts, side));
    }

    public override void PrepareLatent(LatentAttentionSettings attention) => On(Home(attention.KeyUp[0])).PrepareLatent(attention);

    public override void Upload(IProgress<double>? progress) => device.Upload(progress);

    public override CacheStorage CreateCache(IReadOnlyList<CacheStream> streams, CacheFormat format, int blockTokens, int blockCount)
        => new SplitCache(host, device, s => placement.HasLayer(s.Layer), streams, format, blockTokens, blockCount);

    // ---- memory: an address is a slot's number and an offset in bytes

    public override Tensor Rent(int rows, int columns)
    {
        if (count == slots.Length) Array.Resize(ref slots, 2 * count);
        slots[count] = new Slot { HostMark = host.Mark(), DeviceMark = device.Mark(), Host = host.Rent(rows, columns), Device = device.Rent(rows, columns) };
        return new Tensor((nint)((long)count++ << OffsetBits), rows, columns, columns);
    }

    public override long Mark() => count;

    public override void Release(long mark)
    {
        if (mark >= count) return;
        host.Release(slots[mark].HostMark);
        device.Release(slots[mark].DeviceMark);
        count = (int)mark;
    }

    public override void Read(Tensor x, Span<float> destination)
    {
        bool side = Where(x);
        On(side).Read(Get(x, side), destination);
    }

    public override bool TryReadLargest(Tensor row, Span<int> columns, Span<float> values)
    {
        bool side = Where(row);
        return On(side).TryReadLargest(Get(row, side), columns, values);
    }

    public override void Write(Tensor x, ReadOnlySpan<float> source)
    {
        // A whole tensor may as well begin where it is small work; parts go where the rest is.
        bool side = Where(x);
        On(side).Write(Set(x, side), source);
    }

    // ---- primitives

    public override void Embed(Tensor y, DeviceWeight table, ReadOnlySpan<int> tokens) => On(Home(table)).Embed(Set(y, Home(table)), table, tokens);

    public override void Gather(Tensor y, Tensor x, ReadOnlySpan<int> rows)
    {
        bool side = Where(x);
        Tensor from = Get(x, side);
        On(side).Gather(Set(y, side), from, rows);
    }

    public override void RmsNorm(Tensor y, Tensor x, DeviceWeight gain, float epsilon)
    {
        bool side = Home(gain);
        Tensor from = Get(x, side);
        On(side).RmsNorm(Set(y, side), from, gain, epsilon);
    }

    public override void MatMul(Tensor y, Tensor x, DeviceWeight weight, DeviceWeight? bias = null, bool accumulate = false)
    {
        bool side = Home(weight);
        Tensor from = Get(x, side);
        On(side).MatMul(accumulate ? Change(y, side) : Set(y, side), from, weight, bias, accumulate);
    }

    public override void Add(Tensor y, Tensor x)
    {
        bool side = Where(y);
        Tensor from = Get(x, side);
        On(side).Add(Change(y, side), from);
    }

    public override void SiluMultiply(Tensor gate, Tensor up)
    {
        bool side = Where(gate);
        Tensor from = Get(up, side);
        On(side).SiluMultiply(Change(gate, side), from);
    }

    /// <summary>Every layer wants them, and they are made of a few numbers: both sides make their own.</summary>
    public override void RotaryFactors(Tensor factors, RotarySettings rotary, StepLayout step)
    {
        host.RotaryFactors(Set(factors, false), rotary, step);
        device.RotaryFactors(Inner(factors, true), rotary, step);
        SlotOf(factors).OnDevice = true;
    }

    public override void Rotate(Tensor x, Tensor factors, RotarySettings rotary, int headSize, int offset)
    {
        bool side = Where(x);
        Tensor f = Get(factors, side);
        On(side).Rotate(Change(x, side), f, rotary, headSize, offset);
    }

    public override void Append(CacheStorage cache, int stream, Tensor rows, StepLayout step)
    {
        bool side = Side(cache, stream);
        On(side).Append(Part(cache, side), stream, Get(rows, side), step);
    }

    public override void RoutedExperts(Tensor y, Tensor x, ExpertWeights experts)
    {
        bool side = Home(experts.Experts[0].Gate);
        Tensor from = Get(x, side);
        if (Where(y) == side)
        {
            On(side).RoutedExperts(Change(y, side), from, Mixture(experts, side));
            return;
        }
        // y stays where it is: what the experts add crosses, once.
        long mark = Mark();
        Tensor sum = Rent(y.Rows, y.Columns);
        Span<float> zeros = Staging(y.Rows * y.Columns);
        zeros.Clear();
        On(side).Write(Set(sum, side), zeros);
        On(side).RoutedExperts(Change(sum, side), from, Mixture(experts, side));
        Add(y, sum);
        Release(mark);
    }

    public override void AttendCached(Tensor output, Tensor q, AttentionSettings attention, StepLayout step, CacheStorage cache)
    {
        bool side = Side(cache, attention.KeyStream);
        Tensor from = Get(q, side);
        On(side).AttendCached(Set(output, side), from, attention, step, Part(cache, side));
    }

    public override void AttendLatentCached(Tensor output, Tensor q, LatentAttentionSettings attention, StepLayout step, CacheStorage cache)
    {
        bool side = Side(cache, attention.Stream);
        Tensor from = Get(q, side);
        On(side).AttendLatentCached(Set(output, side), from, attention, step, Part(cache, side));
    }

    // ---- composites: whole, where their weights are

    public override void Project(Tensor x, DeviceWeight? norm, float epsilon, params ReadOnlySpan<Projection> projections)
    {
        bool side = Home(projections[0].Weight);
        Tensor from = Get(x, side);
        for (int i = 0; i < projections.Length; i++) projected[i] = projections[i] with { Output = Set(projections[i].Output, side) };
        On(side).Project(from, norm, epsilon, projected.AsSpan(0, projections.Length));
    }

    public override void GatedMlp(Tensor residual, DeviceWeight norm, float epsilon, GatedMlpWeights mlp) => On(Home(norm)).GatedMlp(Change(residual, Home(norm)), norm, epsilon, mlp);

    public override void Experts(Tensor residual, DeviceWeight norm, float epsilon, ExpertWeights experts)
    {
        bool side = Home(norm);
        if (Home(experts.Experts[0].Gate) == side) On(side).Experts(Change(residual, side), norm, epsilon, experts);
        else base.Experts(residual, norm, epsilon, experts);
    }

    public override void Attend(Tensor output, Tensor q, Tensor k, Tensor v, AttentionSettings attention, StepLayout step, CacheStorage cache)
    {
        bool side = Side(cache, attention.KeyStream);
        Tensor queries = Get(q, side), keys = Get(k, side), values = Get(v, side);
        On(side).Attend(Set(output, side), queries, keys, values, attention, step, Part(cache, side));
    }

    public override void AttendLatent(Tensor output, Tensor q, Tensor latents, LatentAttentionSettings attention, StepLayout step, CacheStorage cache)
    {
        bool side = Side(cache, attention.Stream);
        Tensor queries = Get(q, side), rows = Get(latents, side);
        On(side).AttendLatent(Set(output, side), queries, rows, attention, step, Part(cache, side));
    }

    public override void Head(Tensor logits, Tensor hidden, ReadOnlySpan<int> rows, DeviceWeight head)
    {
        bool side = Home(head);
        Tensor from = Get(hidden, side);
        On(side).Head(Set(logits, side), from, rows, head);
    }

    public override void Dispose()
    {
        device.Dispose();
        host.Dispose();
    }

    // ---- sides: true is the device

    private Backend On(bool side) => side ? device : host;

    private bool Home(DeviceWeight weight) => uploaded.Contains(weight);

    private static bool Side(CacheStorage cache, int stream) => ((SplitCache)cache).IsOnDevice(stream);

    private static CacheStorage Part(CacheStorage cache, bool side) => ((SplitCache)cache).Part(side);

    /// <summary>A layer's router and its bias are with the layer, but choosing and computing are one operation.</summary>
    private ExpertWeights Mixture(ExpertWeights experts, bool side)
    {
        if (Home(experts.Router) == side && (experts.CorrectionBias is null || Home(experts.CorrectionBias) == side)) return experts;
        if (!mixtures.TryGetValue(experts, out ExpertWeights? moved))
            mixtures.Add(experts, moved = experts with { Router = Move(experts.Router), CorrectionBias = experts.CorrectionBias is { } bias ? Move(bias) : null });
        return moved;
        DeviceWeight Move(DeviceWeight w) => On(side).Prepare(w.Source, w.Role);
    }

    private ref Slot SlotOf(Tensor x) => ref slots[(int)((long)x.Address >> OffsetBits)];

    /// <summary>Where its numbers are; the device where they are on both sides or on none.</summary>
    private bool Where(Tensor x) => SlotOf(x) is { OnDevice: true } or { OnHost: false };

    private Tensor Inner(Tensor x, bool side)
    {
        ref Slot slot = ref SlotOf(x);
        Tensor whole = side ? slot.Device : slot.Host;
        long number = ((long)x.Address & ((1L << OffsetBits) - 1)) / sizeof(float);
        return whole.TakeRows((int)(number / whole.Columns), x.Rows).TakeColumns((int)(number % whole.Columns), x.Columns);
    }

    /// <summary>To be read on a side: copied there where it is not.</summary>
    private Tensor Get(Tensor x, bool side)
    {
        ref Slot slot = ref SlotOf(x);
        if (side ? !slot.OnDevice && slot.OnHost : !slot.OnHost && slot.OnDevice) Cross(ref slot, side);
        return Inner(x, side);
    }

    /// <summary>To be read and written on a side.</summary>
    private Tensor Change(Tensor x, bool side)
    {
        Tensor inner = Get(x, side);
        ref Slot slot = ref SlotOf(x);
        (slot.OnHost, slot.OnDevice) = (!side, side);
        return inner;
    }

    /// <summary>To be written on a side; what surrounds it comes along where it is a part.</summary>
    private Tensor Set(Tensor x, bool side)
    {
        ref Slot slot = ref SlotOf(x);
        if (x.Rows != slot.Host.Rows || x.Columns != slot.Host.Columns) return Change(x, side);
        (slot.OnHost, slot.OnDevice) = (!side, side);
        return Inner(x, side);
    }

    private void Cross(ref Slot slot, bool side)
    {
        Span<float> numbers = Staging(slot.Host.Rows * slot.Host.Columns);
        On(!side).Read(side ? slot.Host : slot.Device, numbers);
        On(side).Write(side ? slot.Device : slot.Host, numbers);
        if (side) slot.OnDevice = true;
        else slot.OnHost = true;
        Crossings++;
    }

    private Span<float> Staging(int numbers)
    {
        if (staging.Length < numbers) staging = new float[numbers];
        return staging.AsSpan(0, numbers);
    }
}
