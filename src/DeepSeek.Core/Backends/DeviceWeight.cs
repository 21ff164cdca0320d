using DeepSeek.Tensors;

namespace DeepSeek.Backends;

/// <summary>What a weight is used for; decides how a backend keeps it.</summary>
internal enum WeightRole : byte
{
    /// <summary>A projection: y = W·x.</summary>
    Matrix,
    /// <summary>Rows are looked up by token id.</summary>
    Embedding,
    /// <summary>A projection onto the vocabulary, read once a token.</summary>
    Head,
    /// <summary>A projection of one expert, used for few tokens of a batch.</summary>
    Expert,
    /// <summary>A router: products and sums in float32, whatever the format.</summary>
    Router,
    /// <summary>A gain or a bias: read as float32.</summary>
    Vector,
}

/// <summary>A weight as a backend keeps it: mapped, repacked or uploaded. Made by <see cref="Backend.Prepare"/>, owned by the backend.</summary>
internal abstract class DeviceWeight(Weight source, WeightRole role)
{
    /// <summary>The weight as stored.</summary>
    public Weight Source { get; } = source;

    public WeightRole Role { get; } = role;

    public int Rows => Source.Rows;

    public int Columns => Source.Columns;
}
