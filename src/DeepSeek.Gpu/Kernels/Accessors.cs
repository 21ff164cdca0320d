namespace DeepSeek.Gpu.Kernels;

/// <summary>
/// A buffer of the device as kernels see it. Indices count elements of the size that is read, from the buffer's start. An implementation is a small struct, so that a kernel
/// that is generic over it compiles to plain loads and stores.
/// </summary>
internal interface IMemory
{
    /// <summary>The i-th float32.</summary>
    float Float(long i);

    void SetFloat(long i, float value);

    /// <summary>The i-th 32 bits.</summary>
    uint Word(long i);

    void SetWord(long i, uint value);

    /// <summary>The i-th 128 bits: one wide load, where the device has it.</summary>
    Quad Quad(long i);

    /// <summary>The i-th 16 bits.</summary>
    uint Half(long i);

    /// <summary>Stores the low 16 bits.</summary>
    void SetHalf(long i, uint value);

    /// <summary>The i-th byte.</summary>
    uint Byte(long i);

    /// <summary>Stores the low 8 bits.</summary>
    void SetByte(long i, uint value);
}

/// <summary>
/// One item of a launch: its place in the grid, barriers and exchange within its group, and the instructions that C# has no word for. Grids have one dimension. A group is a whole
/// number of warps; shared memory is as many 32-bit words as the launch asked for, with anything in them at first.
/// </summary>
internal interface IThread
{
    /// <summary>Number of the group in the grid.</summary>
    int Group { get; }

    /// <summary>Number of the item in its group.</summary>
    int Item { get; }

    /// <summary>Items of a group.</summary>
    int Items { get; }

    /// <summary>Number of the item in its warp.</summary>
    int Lane { get; }

    /// <summary>Items of a warp.</summary>
    int Lanes { get; }

    /// <summary>Waits for all items of the group; what they wrote to shared memory and to buffers is seen by the group behind it. All of them come here, or none.</summary>
    void Barrier();

    /// <summary>The warp's sum, in every lane. All lanes come here, or none.</summary>
    float SumLanes(float value);

    /// <summary>The warp's maximum, in every lane. All lanes come here, or none.</summary>
    float MaxLanes(float value);

    float Shared(int i);

    void SetShared(int i, float value);

    /// <summary>The same memory as bits.</summary>
    uint SharedWord(int i);

    void SetSharedWord(int i, uint value);

    /// <summary>c + Σ aᵢ·bᵢ over four signed bytes (dp4a).</summary>
    int Dot4(uint a, uint b, int c);

    /// <summary>Byte i of the result is byte (selector &gt;&gt; 4i &amp; 7) of the eight bytes of a (0-3) and b (4-7) (prmt).</summary>
    uint Permute(uint a, uint b, uint selector);

    /// <summary>a·b + c, rounded once where the device can.</summary>
    float Fma(float a, float b, float c);

    float Sqrt(float x);

    float AsFloat(uint bits);

    uint AsWord(float x);
}

/// <summary>A kernel: a struct with its arguments and memories as fields, and what one item does.</summary>
internal interface IKernel<TThread> where TThread : struct, IThread
{
    void Run(TThread t);
}

/// <summary>128 bits.</summary>
internal readonly struct Quad(uint a, uint b, uint c, uint d)
{
    public readonly uint A = a, B = b, C = c, D = d;
}

/// <summary>Four numbers.</summary>
internal readonly struct Four(float a, float b, float c, float d)
{
    public readonly float A = a, B = b, C = c, D = d;
}

/// <summary>Four integers.</summary>
internal readonly struct FourInts(int a, int b, int c, int d)
{
    public readonly int A = a, B = b, C = c, D = d;
}
