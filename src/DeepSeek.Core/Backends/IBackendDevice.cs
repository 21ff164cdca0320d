using DeepSeek.Tensors;

namespace DeepSeek.Backends;

/// <summary>A <see cref="ComputeDevice"/> that makes its backend itself: a device of another package.</summary>
internal interface IBackendDevice
{
    /// <summary>Bytes of the device's memory that a model may take, or null where it shares the machine's and has no bound of its own. Asked once for each load or plan.</summary>
    /// <exception cref="DeviceException">The device is gone.</exception>
    long? AvailableBytes { get; }

    /// <summary>Bytes that a matrix takes in the device's memory, which may keep it in another form than the file.</summary>
    long BytesOf(DType type, long rows, int columns);

    /// <summary>A backend on this device; the caller owns it.</summary>
    /// <exception cref="DeviceException">The device is gone or refuses.</exception>
    Backend CreateBackend(LanguageModelOptions options);
}
